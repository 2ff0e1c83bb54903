"""The archive stage: captions and embeddings in; for each shard, archive/STEM.parquet out: concepts, scores, clusters.

Equations 1 and 2 of the design and the clusters of equation 3, a shard at a time. The pool is the corpus itself, or
another one's curation. A shard that an interrupted run finished is kept when the STEM.made beside it says that it was
made from the same inputs, settings and code; blocks of shards may be jobs of their own.
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

from cocu.config import Config, Curate, digest
from cocu.curate.cluster import cluster
from cocu.curate.compat import contained, substrings
from cocu.curate.expand import expand
from cocu.curate.rank import PAPER, RELEASED, rank, similarities
from cocu.device import pick_device
from cocu.errors import ConfigError, DataError
from cocu.io import code_fingerprint, file_sha256, read_json, write_json
from cocu.layout import MANIFEST
from cocu.log import RunCard, progress
from cocu.pairs.tables import Archive, join, write_archive
from cocu.search.engine import Engine, make_engine
from cocu.search.pool import Curation, Part, check_corpus, load_vocabulary, open_curation

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
    first = {part.stem: start for part, start in zip(parts, starts[:-1], strict=True)}
    return Pool(engine, captions, (*counted, known), vocabulary, first)


def curate(pool: Pool, images: Floats, anchors: Ints, settings: Curate) -> Archive:
    """The archives of the anchors (equations 1 and 2, and equation 3's clusters).

    `images` float32 (n, d) unit rows; `anchors` (n,) their rows in the pool, or -1 for an image outside it.
    """
    exclude = anchors if settings.search.exclude_self else None
    _, neighbours = pool.engine.search(images, exclude)
    return archives(pool, images, anchors, neighbours, settings)


def archives(pool: Pool, images: Floats, anchors: Ints, neighbours: Ints, settings: Curate) -> Archive:
    """`curate` from given `neighbours` (n, L), rows of the pool."""
    concepts = len(pool.vocabulary)
    indptr, ids = expand(neighbours, *pool.captions, concepts)
    own = similarities(pool.vocabulary, images, indptr, ids, (anchors, *pool.counted))
    counting = RELEASED if settings.compat == "released" else PAPER
    ranked, scores = rank(anchors, neighbours, (indptr, ids, own), pool.counted, concepts, counting)
    return Archive(indptr, ranked, scores, cluster(pool.vocabulary, indptr, ranked))


def run(config: Config, *, corpus: Path, captions: Path, embeddings: Path, out: Path, block: int | None = None) -> None:
    """Write the archives of a corpus, and their manifest, into the folder `out`.

    `corpus` is the corpus's manifest or its folder; `captions` and `embeddings` are folders. With `block`, only the
    archives of that block of curate.shards_per_job shards, and blocks/BLOCK.json instead of the manifest. Raises
    `DataError` when they are not of one corpus or files have changed since their manifest, `NumericsError` for
    embeddings whose rows are not the samples or are no finite unit vectors, `ConfigError` for a block beyond the end.
    """
    card = RunCard("archive", block=block)
    ours = open_curation(captions, embeddings)
    check_corpus(corpus, ours)
    theirs = _pool_of(config, ours)
    shards = ours.shards if block is None else _block(ours, block, config.curate.shards_per_job)
    settings = config.curate.model_dump(mode="json", include={"search", "compat"})
    common = [settings, theirs.inputs(), code_fingerprint(__name__)]
    vocabulary = load_vocabulary(theirs)
    pool: Pool | None = None
    written, counts, search = [], Counter[str](), {}
    with threadpool_limits(config.curate.threads):
        for shard in progress(shards, total=len(shards), what=f"archive of {ours.corpus}, shards"):
            path = out / f"{shard['stem']}.parquet"
            made_from = digest([*common, shard["sha256"], ours.blocks.get(str(shard["stem"]))])
            ours.verify(shard)
            entry = _kept(path, made_from)
            if entry is None:
                pool = pool or _open(config, theirs, vocabulary)
                entry = _write(pool, ours, shard, path, config.curate)
                write_json(path.with_suffix(".made"), {"from": made_from, "entry": entry})
            counts.update(entry["counts"])
            written.append({name: entry[name] for name in ("stem", "rows", "sha256")})
            search = entry["search"]
    described = {
        "corpus": ours.corpus,
        "pool": {"corpus": theirs.corpus, "images": sum(int(shard["rows"]) for shard in theirs.shards)},
        "settings": settings,
        "search": search,
        "shards": written,
        "inputs": ours.inputs(),
        "counts": dict(counts),
        "card": card.card(),
    }
    if block is not None:
        write_json(out / "blocks" / f"{block}.json", described)
        return
    stems = {str(shard["stem"]) for shard in shards}
    for stale in (p for suffix in ("parquet", "made") for p in out.glob(f"*.{suffix}") if p.stem not in stems):
        stale.unlink()
    write_json(out / MANIFEST, described)


def _pool_of(config: Config, ours: Curation) -> Curation:
    """The curation that concepts are retrieved from; another corpus's must speak of the same concepts."""
    if not config.curate.pool:
        return ours
    folder = Path(config.curate.pool)
    theirs = open_curation(folder / "captions", folder / "embeddings")
    if theirs.vocabulary_sha256 != ours.vocabulary_sha256:
        raise DataError(
            f"The pool {folder} has another vocabulary than {ours.captions}. "
            f"Set curate.vocabulary.file to {folder / 'captions' / 'vocabulary.txt'} and run the captions stage again."
        )
    return theirs


def _block(ours: Curation, block: int, size: int) -> Sequence[dict[str, Any]]:
    shards = ours.shards[block * size : (block + 1) * size]
    if not shards or block < 0:
        raise ConfigError(
            f"{ours.corpus} has no block {block} of {size} shards (curate.shards_per_job): it ends before."
        )
    return shards


def _open(config: Config, theirs: Curation, vocabulary: Floats) -> Pool:
    parts = [theirs.part(shard) for shard in theirs.shards]
    device, threads = pick_device(config.device), config.curate.threads
    engine = make_engine([part.embeddings for part in parts], config.curate.search, device, threads)
    return make_pool(parts, theirs.names(), vocabulary, engine, config.curate)


def _write(pool: Pool, ours: Curation, shard: dict[str, Any], path: Path, settings: Curate) -> dict[str, Any]:
    """Write one shard's archive; what its .made and the manifest say of it."""
    part = ours.part(shard)
    anchors = np.full(len(part.keys), -1, np.int64)
    if not settings.pool:
        anchors = pool.starts[part.stem] + np.arange(len(part.keys), dtype=np.int64)
    archive = curate(pool, part.embeddings.astype(np.float32), anchors, settings)
    write_archive(path, part.keys, archive)
    counts = {
        "images": len(archive),
        "images_without_concepts": int((np.diff(archive.indptr) == 0).sum()),
        "concepts": len(archive.concepts),
    }
    facts = {"search": pool.engine.facts, "counts": counts}
    return {"stem": part.stem, "rows": len(archive), "sha256": file_sha256(path), **facts}


def _kept(path: Path, made_from: str) -> dict[str, Any] | None:
    """What an earlier run wrote of a shard, if it made the same from the same."""
    made = path.with_suffix(".made")
    if not (path.is_file() and made.is_file()):
        return None
    found = read_json(made)
    same = found["from"] == made_from and found["entry"]["sha256"] == file_sha256(path)
    return dict(found["entry"]) if same else None
