"""What an archive found: `cocu archive show` for one pair, `cocu archive stats` for all of them.

Takes the archive and captions folders of one curation; gives text, or numbers. Shards are read one after the other, and
counted with arrays, so that millions of pairs fit.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cocu.concepts.benchmark_names import benchmark_names
from cocu.concepts.matcher import tokens
from cocu.concepts.vocabulary import forms
from cocu.errors import DataError
from cocu.io import read_json
from cocu.layout import MANIFEST, WORDS, side_car
from cocu.pairs.tables import ARCHIVE, CAPTIONS, Archive, Ints, csr, read_table

MOST_ADDED = 20
EXAMPLES = 5


@dataclass(frozen=True)
class Shard:
    """One shard: keys and captions (Arrow), the captions' concepts as CSR, the archives."""

    keys: Any
    captions: Any
    said: tuple[Ints, NDArray[np.uint16]]
    archive: Archive


def show(archive: Path, captions: Path, key: str) -> str:
    """A pair's caption, its concepts, and its archive as aligned lines; `+` marks what the caption leaves out.

    Raises `DataError` for a key that is not there, with the nearest ones.
    """
    names = vocabulary(captions)
    name = "/".join(key.split("/")[:2]) if key.count("/") >= 2 else ""
    known = [str(shard["shard"]) for shard in read_json(captions / MANIFEST)["shards"]]
    if name not in known:
        raise DataError(f"No pair {key} in {archive}: a key is set/shard/sample, and the shards are {_some(known)}.")
    shard = _read(archive, captions, name)
    keys: list[str] = shard.keys.to_pylist()
    if key not in keys:
        near = difflib.get_close_matches(key, keys, n=3)
        raise DataError(f"No pair {key} in {archive}. Keys of the shard {name}: {_some(near or keys)}.")
    i = keys.index(key)
    said = shard.said[1][shard.said[0][i] : shard.said[0][i + 1]].tolist()
    lines = [
        key,
        f"caption: {shard.captions[i].as_py()}",
        f"its concepts: {', '.join(names[c] for c in said) or '-'}",
        "",
    ]
    concepts, scores, clusters = (column.tolist() for column in shard.archive.row(i))
    width = max([7, *(len(names[c]) for c in concepts)])
    lines.append(f"  {'concept':{width}}   score  cluster")
    for c, score, label in zip(concepts, scores, clusters, strict=True):
        lines.append(f"{' ' if c in said else '+'} {names[c]:{width}}  {score:6.3f}  {label:7}")
    return "\n".join(lines)


def stats(archive: Path, captions: Path) -> dict[str, Any]:
    """Numbers of the whole archive.

    pairs; concepts a pair in captions, archives and both together; pairs_without_concepts in captions and archives;
    most_added: (concept, pairs whose archive has it and whose caption does not); benchmarks: class names that occur in
    captions and in archives, of how many; examples.
    """
    names = vocabulary(captions)
    pairs = said = found = both = bare_said = bare_found = 0
    added, in_captions, in_archives = (np.zeros(len(names), np.int64) for _ in range(3))
    examples: list[dict[str, Any]] = []
    for shard in shards(archive, captions):
        own, given = _pairs(shard.said, len(names)), _pairs((shard.archive.indptr, shard.archive.concepts), len(names))
        new = np.setdiff1d(given, own, assume_unique=True)
        pairs, said, found, both = (
            pairs + len(shard.keys),
            said + own.size,
            found + given.size,
            both + own.size + new.size,
        )
        bare_said += int((np.diff(shard.said[0]) == 0).sum())
        bare_found += int((np.diff(shard.archive.indptr) == 0).sum())
        for total, entries in ((added, new), (in_captions, own), (in_archives, given)):
            total += np.bincount(entries % len(names), minlength=len(names))
        if len(examples) < EXAMPLES and new.size:
            examples.append(_example(shard, int(new[0]) // len(names), names))
    order = np.lexsort((np.arange(len(names)), -added))[:MOST_ADDED]
    return {
        "pairs": pairs,
        "concepts_a_pair": {"caption": said / pairs, "archive": found / pairs, "both": both / pairs},
        "pairs_without_concepts": {"caption": bare_said, "archive": bare_found},
        "most_added": [[names[c], int(added[c])] for c in order if added[c]],
        "benchmarks": _coverage(names, in_captions, in_archives),
        "examples": examples,
    }


def format_stats(found: dict[str, Any]) -> str:
    """The numbers of `stats` as aligned lines."""
    each, without = found["concepts_a_pair"], found["pairs_without_concepts"]
    lines = [
        f"{found['pairs']:,} pairs",
        f"concepts a pair: {each['caption']:.2f} in captions, {each['archive']:.2f} in archives, "
        f"{each['both']:.2f} together",
        f"pairs without a concept: {without['caption']:,} by caption, {without['archive']:,} by archive",
        "",
        f"{'most added':24}{'pairs':>12}",
        *(f"{name:24}{count:12,}" for name, count in found["most_added"]),
        "",
        f"{'benchmark':16}{'names':>7}{'in captions':>13}{'in archives':>13}",
    ]
    for benchmark, row in found["benchmarks"].items():
        lines.append(f"{benchmark:16}{row['names']:7}{row['captions']:13}{row['archives']:13}")
    for example in found["examples"]:
        lines += ["", example["key"], f"  caption: {example['caption']}", f"  added:   {', '.join(example['added'])}"]
    return "\n".join(lines)


def vocabulary(captions: Path) -> list[str]:
    """The concepts' names in the order of their ids."""
    path = captions / WORDS
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}. Name the folder that the curation wrote.") from error


def shards(archive: Path, captions: Path) -> Iterator[Shard]:
    """The shards of a curation in order, with their captions. Raises `DataError` where the two are of other pairs."""
    for shard in read_json(captions / MANIFEST)["shards"]:
        yield _read(archive, captions, str(shard["shard"]))


def _read(archive: Path, captions: Path, name: str) -> Shard:
    path = side_car(archive, name)
    ours, texts = read_table(path, ARCHIVE.names), read_table(side_car(captions, name), CAPTIONS.names)
    if not ours["key"].equals(texts["key"]):
        raise DataError(f"{path} and the captions have other keys. Run the archive stage again.")
    indptr, concepts = csr(ours, "concepts")
    found = Archive(indptr, concepts, csr(ours, "scores")[1], csr(ours, "clusters")[1])
    return Shard(texts["key"], texts["caption"], csr(texts, "concepts"), found)


def _pairs(rows: tuple[Ints, NDArray[np.uint16]], concepts: int) -> Ints:
    """row * concepts + concept of every entry; distinct, as the rows' entries are."""
    indptr, ids = rows
    return np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)) * concepts + ids


def _example(shard: Shard, i: int, names: Sequence[str]) -> dict[str, Any]:
    said = set(shard.said[1][shard.said[0][i] : shard.said[0][i + 1]].tolist())
    added = [names[c] for c in shard.archive.row(i)[0].tolist() if c not in said]
    return {"key": shard.keys[i].as_py(), "caption": shard.captions[i].as_py(), "added": added}


def _coverage(names: Sequence[str], in_captions: Ints, in_archives: Ints) -> dict[str, dict[str, int]]:
    """Benchmark -> classes, and how many of their names occur in a caption and in an archive."""
    occurring = []
    for counts in (in_captions, in_archives):
        occurring.append({form for c in np.flatnonzero(counts).tolist() for form in forms(tokens(names[c]))})
    out = {}
    for benchmark, classes in benchmark_names().items():
        wanted = [{form for name in readings for form in forms(tokens(name))} for readings in classes]
        met = [sum(bool(forms_ & known) for forms_ in wanted) for known in occurring]
        out[benchmark] = {"names": len(classes), "captions": met[0], "archives": met[1]}
    return out


def _some(words: Sequence[str]) -> str:
    return ", ".join(words[:3]) + (", ..." if len(words) > 3 else "")
