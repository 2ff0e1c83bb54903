"""Corpora for tests: shards, their indexes and the manifest, as the corpus stage writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from cocu.io import file_sha256, write_json
from cocu.layout import Corpus, side_car, tar
from cocu.pairs.index import write_index
from cocu.pairs.shards import ShardFile, ShardIndex, index_shard, manifest_entry, write_shard

Samples = Sequence[tuple[str, bytes, str]]  # name, image, caption
NONE = ShardIndex(pa.array([], pa.string()), np.zeros((0, 4), np.int64))


def write_corpus(corpus: Corpus, name: str, shards: Mapping[str, Samples | None]) -> None:
    """`shards` are SET/SHARD -> its samples, in the manifest's order; None is a damaged shard that is set aside."""
    entries = []
    for shard, samples in shards.items():
        path, index = tar(corpus.shards, shard), side_car(corpus.index, shard)
        if samples is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"cut")
            found = NONE
        else:
            write_shard(path, samples)
            found = index_shard(path)
        write_index(index, found)
        file = ShardFile(path.resolve(), shard, len(found.names), path.stat().st_size, file_sha256(path), index)
        entries.append(manifest_entry(file, corpus.root, "" if samples is not None else "it is cut"))
    write_json(corpus.manifest, {"corpus": name, "shards": entries, "counts": {}, "card": {}})
