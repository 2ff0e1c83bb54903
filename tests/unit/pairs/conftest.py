"""Shards with the index that a manifest has of them, and data sets for the stage that looks them over."""

from collections.abc import Mapping, Set
from pathlib import Path

from cocu.config import DataConfig, validate_part
from cocu.io import file_sha256
from cocu.pairs.index import write_index
from cocu.pairs.shards import ShardFile, index_shard


def indexed(path: Path, shard: str, skipped: Set[str] = frozenset()) -> ShardFile:
    """A tar as a manifest has it; its index is written beside it."""
    index, saved = index_shard(path, skipped), path.with_suffix(".parquet")
    write_index(saved, index)
    return ShardFile(path, shard, len(index.names), path.stat().st_size, file_sha256(path), saved)


def data_sets(sets: Mapping[str, str], *, lenient: bool = False, max_bad: float = 0.05) -> DataConfig:
    """A configuration of data sets, given as name -> pattern of the shards."""
    listed = [{"name": name, "shards": pattern} for name, pattern in sets.items()]
    corpus = {"kind": "shards", "name": "c", "sets": listed, "lenient": lenient, "max_bad": max_bad}
    return validate_part(DataConfig, {"corpus": corpus, "clip": {"model": "ViT-B-16", "pretrained": "openai"}})
