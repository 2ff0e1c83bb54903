"""The user's own shards: there, whole and sound, or, when lenient, what is not set aside.

Takes the patterns of `corpus.sets`; gives manifest.json (path, samples, size and SHA-256 of every shard), index/ (where
their pairs lie) and, when lenient, quarantine.jsonl with a line for each sample that is set aside. The shards are never
written to.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence, Set
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cocu.config import Corpus as Section
from cocu.config import DataConfig
from cocu.data_sections import is_remote
from cocu.errors import DataError
from cocu.io import delete_others, file_sha256, write_json, write_text
from cocu.layout import Corpus, side_car
from cocu.log import RunCard, progress, say
from cocu.pairs.fetch import fetched
from cocu.pairs.index import write_index
from cocu.pairs.quarantine import Inspection, check_share, inspect_shard
from cocu.pairs.shards import ShardFile, ShardIndex, index_shard, manifest_entry
from cocu.stamp import Stamp, file_facts, stamp

HOW_TO_GET_CC3M = (
    "CC3M's images come with img2dataset, from the list of addresses and captions that its authors give out: "
    "`img2dataset --url_list cc3m.tsv --input_format tsv --url_col url --caption_col caption --output_folder data/cc3m "
    "--output_format webdataset --image_size 256 --resize_mode keep_ratio` writes 00000.tar, 00001.tar, ... "
    "with NAME.jpg and NAME.txt in them."
)

Counts = Counter[str]


def run(config: DataConfig, *, corpus: str, out: Corpus, copies: Path) -> None:
    """Write manifest and index of the shards that `corpus.sets` names to `out`, copies of remote ones to `copies`.

    Strict counts are from a pass over the tars' headers; a lenient pass decodes every image as well. Raises `DataError`
    for shards that are missing or damaged.
    """
    card, made_from, settings = RunCard("corpus", corpus=corpus), inputs(config), config.corpus
    files = shard_files(settings, copies)
    look = partial(_inspect, settings, config.clip.threads) if settings.lenient else _check
    shards, counts = look(files, out)
    delete_others(out.index, {side_car(out.index, shard["shard"]) for shard in shards})
    described = {"corpus": corpus, "shards": shards, "counts": dict(counts), "stamp": made_from, "card": card.card()}
    write_json(out.manifest, described)


def inputs(config: DataConfig) -> Stamp:
    """What a corpus is made from, known without reading the shards."""
    files = [address for address in config.corpus.addresses() if not is_remote(address)]
    return stamp("corpus", config, {"shards": file_facts(files)})


def shard_files(settings: Section, copies: Path) -> list[tuple[str, Path]]:
    """Name, SET/SHARD, and local path of every shard. Raises `DataError` when some are not there."""
    files = [
        (f"{one.name}/{name}", fetched(address, copies))
        for one in settings.sets
        for name, address in zip(one.shard_names(), one.addresses(), strict=True)
    ]
    if missing := [path for _, path in files if not path.is_file()]:
        raise DataError(
            f"{len(missing)} of {len(files)} shards of corpus.sets are missing, the first is {missing[0]}. Correct the "
            f"pattern ({', '.join(one.shards for one in settings.sets)}) or get the shards. {HOW_TO_GET_CC3M}"
        )
    return files


def _check(files: Sequence[tuple[str, Path]], out: Corpus) -> tuple[list[dict[str, Any]], Counts]:
    shards, counts = [], Counter(pairs=0, other_members=0)
    for shard, path in progress(files, total=len(files), what="verifying shards"):
        shards.append(_indexed(shard, path, frozenset(), out, counts))
    write_text(out.quarantine, "")
    return shards, counts


def _indexed(shard: str, path: Path, skipped: Set[str], out: Corpus, counts: Counts) -> dict[str, Any]:
    """Save the index of a shard; its entry in the manifest."""
    index, saved = index_shard(path, skipped), side_car(out.index, shard)
    write_index(saved, index)
    counts.update(pairs=len(index.names), other_members=index.other)
    file = ShardFile(path, shard, len(index.names), path.stat().st_size, file_sha256(path), saved)
    return manifest_entry(file, out.root)


def _inspect(
    settings: Section, threads: int, files: Sequence[tuple[str, Path]], out: Corpus
) -> tuple[list[dict[str, Any]], Counts]:
    shards, counts = [], Counter(pairs=0, other_members=0, bad_samples=0, bad_shards=0)
    found: list[Inspection] = []
    lines: list[dict[str, str | None]] = []
    for shard, path in progress(files, total=len(files), what="inspecting shards"):
        one = inspect_shard(path, shard, threads)
        found.append(one)
        lines += [{"shard": str(path), "sample": name, "reason": reason} for name, reason in one.broken.items()]
        if one.damage:
            lines.append({"shard": str(path), "sample": None, "reason": one.damage})
            counts.update(bad_shards=1)
            shards.append(_set_aside(shard, path, one.damage, out))
            continue
        counts.update(bad_samples=len(one.broken))
        shards.append(_indexed(shard, path, one.broken.keys(), out, counts))
    write_text(out.quarantine, "".join(json.dumps(line) + "\n" for line in lines))
    check_share(found, settings.max_bad, out.quarantine)
    if lines:
        say(
            f"{counts['bad_samples']:,} samples and {counts['bad_shards']:,} shards are set aside, see {out.quarantine}"
        )
    return shards, counts


def _set_aside(shard: str, path: Path, damage: str, out: Corpus) -> dict[str, Any]:
    """A damaged shard stays in the manifest, without pairs: what is made of the shards has a file for each."""
    saved = side_car(out.index, shard)
    write_index(saved, ShardIndex(pa.array([], pa.string()), np.zeros((0, 4), np.int64)))
    return manifest_entry(ShardFile(path, shard, 0, path.stat().st_size, file_sha256(path), saved), out.root, damage)
