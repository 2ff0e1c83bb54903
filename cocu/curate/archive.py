"""The archive stage: captions and embeddings in; for each shard, its Parquet file out: concepts, scores, clusters.

Equations 1 and 2 of the design and the clusters of equation 3, a shard at a time. The pool is the corpus itself, or
another one's curation. A shard that an interrupted run finished is kept; blocks of shards may be jobs of their own.
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

from cocu import layout
from cocu.config import Curate, DataConfig
from cocu.curate.cluster import cluster
from cocu.curate.compat import contained, substrings
from cocu.curate.expand import expand
from cocu.curate.rank import PAPER, RELEASED, rank, similarities
from cocu.device import pick_device
from cocu.errors import ConfigError, DataError
from cocu.io import delete_others, file_sha256, read_json, write_json
from cocu.layout import MANIFEST, block, blocks, side_car
from cocu.log import RunCard, progress
from cocu.pairs.tables import Archive, join, write_archive
from cocu.search.engine import Engine, make_engine
from cocu.search.kept import Neighbours
from cocu.search.pool import Curation, Part, check_corpus, load_vocabulary, open_curation
from cocu.stamp import Store, digest, stamp

Ints = NDArray[np.int64]
Ids = NDArray[np.uint16]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Pool:
    """What archives are drawn from, its rows numbered from 0.

    captions: concepts of the captions, as CSR. counted: the concepts that ranking counts an image for, with <t_c, v_j>,
    as CSR; the same ones, or more of them under `compat: released`. starts: a part's name -> its first row.
    """

    engine: Engine
    captions: tuple[Ints, Ids]
    counted: tuple[Ints, Ids, Floats]
    vocabulary: Floats  # (C, d)
    starts: dict[str, int]


def make_pool(parts: Sequence[Part], names: Sequence[str], vocabulary: Floats, engine: Engine, curate: Curate) -> Pool:
    """The pool of the parts' images in their order. `names` (C) and `vocabulary` float32 (C, d) are its concepts."""
    captions = join([(part.indptr, part.concepts) for part in parts])
    counted = captions
    if curate.compat == "released":
        counted = contained(captions, substrings(names), len(names))
    starts = np.cumsum([0, *(len(part.embeddings) for part in parts)]).tolist()
    known = np.empty(counted[1].size, np.float32)
    for part, start in zip(parts, starts[:-1], strict=True):  # one part's embeddings in memory at a time
        bounds = counted[0][start : start + len(part.embeddings) + 1]
        span = slice(bounds[0], bounds[-1])
        known[span] = similarities(vocabulary, part.embeddings.astype(np.float32), bounds - bounds[0], counted[1][span])
    first = {part.shard: start for part, start in zip(parts, starts[:-1], strict=True)}
    return Pool(engine, captions, (*counted, known), vocabulary, first)


def archives(pool: Pool, images: Floats, anchors: Ints, neighbours: Ints, settings: Curate) -> Archive:
    """The archives of the anchors (equations 1 and 2, and equation 3's clusters).

    `images` float32 (n, d) unit rows; `anchors` (n,) their rows in the pool, or -1 for an image outside it;
    `neighbours` (n, L) the rows of the pool that lend their concepts.
    """
    concepts = len(pool.vocabulary)
    indptr, ids = expand(neighbours, *pool.captions, concepts)
    own = similarities(pool.vocabulary, images, indptr, ids, (anchors, *pool.counted))
    counting = RELEASED if settings.compat == "released" else PAPER
    ranked, scores = rank(anchors, neighbours, (indptr, ids, own), pool.counted, concepts, counting)
    return Archive(indptr, ranked, scores, cluster(pool.vocabulary, indptr, ranked))


def run(
    config: DataConfig,
    *,
    corpus: Path,
    curation: layout.Curation,
    store: Store,
    neighbours: Path,
    number: int | None = None,
) -> None:
    """Write the archives of a corpus, and their manifest, into `curation.archive`.

    `corpus` is the corpus's manifest; `neighbours` a folder where those that were found stay for another time. With
    `number`, only the archives of that block of curate.shards_per_job shards, and the block's manifest. Raises
    `DataError` when captions and embeddings are not of one corpus or files have changed since their manifest,
    `NumericsError` for embeddings whose rows are not the samples or are no finite unit vectors, `ConfigError` for a
    block beyond the end.
    """
    card = RunCard("archive", block=number)
    ours = open_curation(curation)
    check_corpus(corpus, ours)
    theirs = _pool_of(config, ours)
    shards = list(ours.shards) if number is None else _block(ours, number, config.curate.shards_per_job)
    common = _pool_inputs(config, theirs)
    vocabulary = load_vocabulary(theirs)
    pool: Pool | None = None
    found: Neighbours | None = None
    entries = []
    with threadpool_limits(config.curate.threads):
        for shard in progress(shards, total=len(shards), what=f"archive of {ours.corpus}, shards"):
            out = side_car(curation.archive, shard["shard"])
            ours.verify(shard)
            own = [shard["sha256"], ours.embedded[shard["shard"]]["sha256"]]
            made_from = stamp("archive", config, {"pool": common, "shard": [shard["shard"], *own]})
            part = side_car(Path(), shard["shard"]).as_posix()
            entry = store.give(part, out, made_from)
            if entry is None:
                pool = pool or _open(config, theirs, vocabulary)
                found = found or _kept(neighbours, pool, theirs)
                entry = _write(pool, found, ours, shard, out, config.curate)
                store.keep(part, out, made_from, entry)
            entries.append(entry)
    store.forget_others([side_car(Path(), name).as_posix() for name in ours.names_of_shards()])
    if found:
        found.forget_others(ours.names_of_shards())
    described = {"entries": entries, "pool": common, "card": card.card()}
    if number is not None:
        write_json(block(curation.archive, number), described)
        return
    _finish(config, ours, theirs, entries, card)


def join_blocks(config: DataConfig, *, corpus: Path, curation: layout.Curation) -> None:
    """Write the manifest of an archive whose blocks are made. Raises `DataError` when they are not all there."""
    card, ours = RunCard("archive"), open_curation(curation)
    check_corpus(corpus, ours)
    theirs = _pool_of(config, ours)
    numbers = range(len(blocks(ours.names_of_shards(), config.curate.shards_per_job)))
    made = [read_json(block(curation.archive, number)) for number in numbers]
    entries = [entry for one in made for entry in one["entries"]]
    if [entry["shard"] for entry in entries] != ours.names_of_shards():
        raise DataError(f"The blocks of {curation.archive} are not of the shards of {corpus}. Run the blocks again.")
    if any(one["pool"] != _pool_inputs(config, theirs) for one in made):
        raise DataError(f"Some blocks of {curation.archive} were drawn from another pool. Run the blocks again.")
    _finish(config, ours, theirs, entries, card)


def _finish(
    config: DataConfig, ours: Curation, theirs: Curation, entries: Sequence[dict[str, Any]], card: RunCard
) -> None:
    """Write the manifest, and delete the archives of shards that the corpus has no more."""
    folder, counts = ours.at.archive, Counter[str]()
    for entry in entries:
        counts.update(entry["counts"])
    delete_others(folder, {side_car(folder, name) for name in ours.names_of_shards()})
    described = {
        "corpus": ours.corpus,
        "pool": {"corpus": theirs.corpus, "images": sum(int(shard["rows"]) for shard in theirs.shards)},
        "search": next((entry["search"] for entry in entries if entry["search"]), {}),
        "shards": [{name: entry[name] for name in ("shard", "rows", "sha256")} for entry in entries],
        "vocabulary_sha256": ours.vocabulary_sha256,
        "counts": dict(counts),
        "stamp": stamp("archive", config, {"corpus": digest(ours.inputs()), "pool": _pool_inputs(config, theirs)}),
        "card": card.card(),
    }
    write_json(folder / MANIFEST, described)


def _pool_of(config: DataConfig, ours: Curation) -> Curation:
    """The curation that concepts are retrieved from; another corpus's must speak of the same concepts."""
    if not config.curate.pool:
        return ours
    theirs = open_curation(layout.Curation(Path(config.curate.pool)))
    if theirs.vocabulary_sha256 != ours.vocabulary_sha256:
        raise DataError(
            f"The pool {config.curate.pool} has another vocabulary than {ours.at.captions}. "
            f"Set curate.vocabulary.file to {theirs.at.words} and run the captions stage again."
        )
    return theirs


def _pool_inputs(config: DataConfig, theirs: Curation) -> str:
    """An image is left out of its own neighbours, and not of those from a pool, which may be an equal copy."""
    return digest([bool(config.curate.pool), theirs.inputs()])


def _block(ours: Curation, number: int, size: int) -> list[dict[str, Any]]:
    parts = blocks(ours.names_of_shards(), size)
    if not 0 <= number < len(parts):
        raise ConfigError(
            f"{ours.corpus} has no block {number} of {size} shards (curate.shards_per_job): it ends before."
        )
    return [shard for shard in ours.shards if shard["shard"] in set(parts[number])]


def _open(config: DataConfig, theirs: Curation, vocabulary: Floats) -> Pool:
    parts = [part for shard in theirs.shards if len((part := theirs.part(shard)).keys)]
    device, threads = pick_device(config.device), config.curate.threads
    engine = make_engine([part.embeddings for part in parts], config.curate.search, device, threads)
    return make_pool(parts, theirs.names(), vocabulary, engine, config.curate)


def _kept(folder: Path, pool: Pool, theirs: Curation) -> Neighbours:
    """What finds neighbours in the pool, and keeps them in the folder."""
    return Neighbours(folder, pool.engine, list(pool.starts), [theirs.embedded[name]["sha256"] for name in pool.starts])


def _write(
    pool: Pool, found: Neighbours, ours: Curation, shard: dict[str, Any], path: Path, settings: Curate
) -> dict[str, Any]:
    """Write one shard's archive; what the manifest says of it."""
    part = ours.part(shard)
    if not len(part.keys):  # it is set aside
        none = np.zeros(0, np.uint16)
        write_archive(path, part.keys, Archive(np.zeros(1, np.int64), none, np.zeros(0, np.float32), none))
        counts = dict.fromkeys(("images", "images_without_concepts", "concepts"), 0)
        return {"shard": part.shard, "rows": 0, "sha256": file_sha256(path), "search": {}, "counts": counts}
    anchors = np.full(len(part.keys), -1, np.int64)
    if not settings.pool:
        anchors = pool.starts[part.shard] + np.arange(len(part.keys), dtype=np.int64)
    images, exclude = part.embeddings.astype(np.float32), anchors if settings.search.exclude_self else None
    near = found.find(part.shard, ours.embedded[part.shard]["sha256"], images, exclude)
    archive = archives(pool, images, anchors, near, settings)
    write_archive(path, part.keys, archive)
    counts = {
        "images": len(archive),
        "images_without_concepts": int((np.diff(archive.indptr) == 0).sum()),
        "concepts": len(archive.concepts),
    }
    facts = {"search": pool.engine.facts, "counts": counts}
    return {"shard": part.shard, "rows": len(archive), "sha256": file_sha256(path), **facts}
