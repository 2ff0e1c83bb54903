"""The archive stage: captions and embeddings in; for each shard, archive/STEM.parquet out: concepts, scores, clusters.

The pool is the corpus itself. Equations 1 and 2 of the design and the clusters of equation 3, a shard at a time;
embeddings stay memory-mapped. Pool rows are numbered by shard name, so that the order in which a manifest lists the
shards changes no byte. Whatever does not belong together is refused before the first search.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from cocu.config import Config, Search
from cocu.corpus.shards import manifest_shards
from cocu.curate.cluster import cluster
from cocu.curate.expand import expand
from cocu.curate.index import search
from cocu.curate.rank import rank, similarities
from cocu.curate.tables import Archive, csr, join, keys_sha256, read_table, write_archive
from cocu.errors import DataError, NumericsError
from cocu.io import atomic_path, file_sha256, read_json, write_json
from cocu.log import RunCard, progress

UNIT = 1e-2  # a unit vector in float16 is closer than this to length 1
CHECK_ROWS = 65_536

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Part:
    """One shard's share of the pool: keys (n), concepts of the captions as CSR, embeddings float16 (n, d)."""

    stem: str
    keys: Any  # Arrow strings: a tenth of the memory of str objects
    indptr: Ints
    concepts: NDArray[np.uint16]
    embeddings: NDArray[np.float16]


@dataclass(frozen=True)
class Pool:
    """What archives are drawn from: embeddings (parts of (n, d)), the captions' concepts with <t_c, v_j>, as CSR."""

    embeddings: Sequence[NDArray[np.float16]]
    captions: tuple[Ints, NDArray[np.uint16], Floats]
    vocabulary: Floats  # (C, d)


def make_pool(parts: Sequence[Part], vocabulary: Floats) -> Pool:
    """The pool of the parts' images in their order, numbered from 0. `vocabulary` float32 (C, d)."""
    known = [similarities(vocabulary, p.embeddings.astype(np.float32), p.indptr, p.concepts) for p in parts]
    indptr, concepts = join([(part.indptr, part.concepts) for part in parts])
    return Pool([part.embeddings for part in parts], (indptr, concepts, np.concatenate(known)), vocabulary)


def curate(pool: Pool, images: Floats, anchors: Ints, settings: Search) -> Archive:
    """The archives of the anchors (equations 1 and 2, and equation 3's clusters).

    `images` float32 (n, d) unit rows; `anchors` (n,) their rows in the pool, or -1 for an image outside it.
    """
    concepts = len(pool.vocabulary)
    exclude = anchors if settings.exclude_self else None
    _, neighbours = search(images, pool.embeddings, settings.neighbours, exclude)
    indptr, ids = expand(neighbours, *pool.captions[:2], concepts)
    own = similarities(pool.vocabulary, images, indptr, ids)
    ranked, scores = rank(anchors, neighbours, (indptr, ids, own), pool.captions, concepts)
    return Archive(indptr, ranked, scores, cluster(pool.vocabulary, indptr, ranked))


def run(config: Config, *, corpus: Path, captions: Path, embeddings: Path, out: Path) -> None:
    """Write the archives of a corpus, and their manifest, into the folder `out`.

    `corpus` is the corpus's manifest or its folder; `captions` and `embeddings` are folders. Raises `DataError` when
    they are not of one corpus or files have changed since their manifest, and `NumericsError` for embeddings whose
    rows are not the samples, or are not finite unit vectors.
    """
    card = RunCard("archive")
    described = read_json(captions / "manifest.json")
    _check_corpus(corpus, captions, described)
    blocks = _embedded(embeddings)
    shards = sorted(described["shards"], key=lambda shard: str(shard["stem"]))
    parts = [_load(captions, embeddings, shard, blocks) for shard in shards]
    vocabulary = _load_vocabulary(captions, embeddings, described, parts[0].embeddings.shape[1])
    settings = config.curate.search
    counts: Counter[str] = Counter()
    written = []
    with threadpool_limits(config.curate.threads), atomic_path(out) as temporary:
        temporary.mkdir()
        pool = make_pool(parts, vocabulary)
        for part in progress(parts, total=len(parts), what="archive"):
            anchors = np.arange(len(part.keys), dtype=np.int64) + counts["images"]
            archive = curate(pool, part.embeddings.astype(np.float32), anchors, settings)
            path = temporary / f"{part.stem}.parquet"
            write_archive(path, part.keys, archive)
            written.append({"stem": part.stem, "rows": len(archive), "sha256": file_sha256(path)})
            counts["images"] += len(archive)
            counts["images_without_concepts"] += int((np.diff(archive.indptr) == 0).sum())
            counts["concepts"] += len(archive.concepts)
        manifest = {
            "corpus": described["corpus"],
            "pool": {"corpus": described["corpus"], "images": counts["images"]},
            "neighbours": settings.neighbours,
            "exclude_self": settings.exclude_self,
            "shards": written,
            "inputs": {
                "captions": {shard["stem"]: shard["sha256"] for shard in shards},
                "embeddings": {shard["stem"]: blocks[shard["stem"]]["sha256"] for shard in shards},
                "vocabulary.txt": described["vocabulary"]["sha256"],
                "vocabulary.npy": file_sha256(embeddings / "vocabulary.npy"),
            },
            "counts": dict(counts),
            "card": card.card(),
        }
        write_json(temporary / "manifest.json", manifest)


def _check_corpus(corpus: Path, captions: Path, described: dict[str, Any]) -> None:
    """The captions are of exactly the shards that the corpus has now."""
    manifest = corpus / "manifest.json" if corpus.is_dir() else corpus
    ours = {shard.stem: (shard.samples, shard.sha256) for shard in manifest_shards(manifest)}
    theirs = {str(s["stem"]): (s["rows"], s["shard_sha256"]) for s in described["shards"]}
    if read_json(manifest)["corpus"] != described["corpus"] or ours != theirs:
        odd = sorted(stem for stem in ours.keys() | theirs.keys() if ours.get(stem) != theirs.get(stem))
        raise DataError(
            f"The captions in {captions} were not made from the shards of {manifest}"
            f"{f' (shard {odd[0]} differs)' if odd else ''}. Run the captions stage again."
        )


def _embedded(folder: Path) -> dict[str, dict[str, Any]]:
    """What the block manifests say of each shard. Two blocks may name a shard only if they say the same."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.json")):
        value = read_json(path)
        for shard in value.get("shards", ()) if "block" in value else ():
            facts = {name: shard[name] for name in ("rows", "keys_sha256", "sha256")}
            if found.setdefault(str(shard["stem"]), facts) != facts:
                raise DataError(
                    f"{path} and another block manifest in {folder} both describe shard {shard['stem']}, differently. "
                    "Delete the folder and run the embedding stage again."
                )
    return found


def _load(captions: Path, embeddings: Path, shard: dict[str, Any], blocks: dict[str, dict[str, Any]]) -> Part:
    stem = str(shard["stem"])
    side_car, path = captions / f"{stem}.parquet", embeddings / f"{stem}.npy"
    if file_sha256(_existing(side_car)) != shard["sha256"]:
        raise DataError(f"{side_car} has changed since its manifest was written. Run the captions stage again.")
    table = read_table(side_car, ("key", "concepts"))
    keys: list[str] = table["key"].to_pylist()
    if stem not in blocks:
        raise DataError(f"No block manifest in {embeddings} names shard {stem}. Run the embedding stage for it.")
    if file_sha256(_existing(path)) != blocks[stem]["sha256"]:
        raise DataError(f"{path} is not the file that its block manifest describes. Run the embedding stage again.")
    rows = np.load(path, mmap_mode="r")
    if rows.ndim != 2 or len(rows) != len(keys):
        raise NumericsError(
            f"{path} has the shape {rows.shape}, and shard {stem} has {len(keys)} captions. "
            "Run the embedding stage again."
        )
    if blocks[stem]["keys_sha256"] != keys_sha256(keys):
        raise NumericsError(
            f"The rows of {path} are not those of {side_car}: their keys differ. Run both stages again."
        )
    for start in range(0, len(rows), CHECK_ROWS):
        _check_unit(rows[start : start + CHECK_ROWS], path, keys[start : start + CHECK_ROWS])
    return Part(stem, table["key"].combine_chunks(), *csr(table, "concepts"), rows)


def _load_vocabulary(captions: Path, embeddings: Path, described: dict[str, Any], width: int) -> Floats:
    text, path = captions / "vocabulary.txt", embeddings / "vocabulary.npy"
    if file_sha256(_existing(text)) != described["vocabulary"]["sha256"]:
        raise DataError(f"{text} has changed since its manifest was written. Run the captions stage again.")
    names = text.read_text(encoding="utf-8").splitlines()
    try:
        rows: Floats = np.load(_existing(path)).astype(np.float32)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}). Delete it and embed the vocabulary again.") from error
    if rows.shape != (len(names), width):
        raise NumericsError(
            f"{path} has the shape {rows.shape}; {len(names)} concepts and images of {width} dimensions need "
            f"{(len(names), width)}. Embed the vocabulary again, with the CLIP of the images."
        )
    _check_unit(rows, path, names)
    return rows


def _check_unit(rows: NDArray[Any], path: Path, names: list[str]) -> None:
    lengths = np.linalg.norm(rows.astype(np.float32), axis=1)
    good = np.abs(lengths - 1) <= UNIT  # false for a length that is not a number, too
    if not good.all():
        row = int(np.argmin(good))
        raise NumericsError(
            f"{path}: the embedding of '{names[row]}' has the length {lengths[row]:.4g} where 1 is needed. "
            "Run the embedding stage again; if it comes back, look at that sample."
        )


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise DataError(f"{path} is missing. Run the stage that writes it.")
    return path
