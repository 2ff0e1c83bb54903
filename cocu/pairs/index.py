"""The saved index of a shard, and reading by it: no stage after the first walks through a tar's headers.

Takes and gives `ShardIndex`, as one Parquet file a shard; reads a shard's captions without its images.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from cocu.errors import DataError
from cocu.pairs.shards import Pair, ShardFile, ShardIndex, decode_caption, read_span
from cocu.pairs.tables import read_table, write_table

SPANS = ("image_offset", "image_size", "text_offset", "text_size")
INDEX = pa.schema([("name", pa.string()), *((column, pa.int64()) for column in SPANS)])


def write_index(path: Path, index: ShardIndex) -> None:
    """Write the index as a Parquet file, atomically."""
    spans = {column: pa.array(index.spans[:, i]) for i, column in enumerate(SPANS)}
    write_table(path, INDEX, {"name": index.names, **spans})


def read_index(file: ShardFile) -> ShardIndex:
    """Where the pairs of a shard lie. Raises `DataError` for a tar or an index that is not the manifest's."""
    table = read_table(file.index, INDEX.names)
    if table.num_rows != file.samples:
        raise DataError(
            f"{file.index} lists {table.num_rows} pairs, and the manifest counts {file.samples}. Run the corpus stage "
            "again."
        )
    if file.samples:
        _check_size(file)
    spans = np.stack([table[column].to_numpy() for column in SPANS], axis=1)
    return ShardIndex(table["name"].combine_chunks(), spans)


def _check_size(file: ShardFile) -> None:
    try:
        size = file.path.stat().st_size
    except OSError as error:
        raise DataError(f"Cannot read the shard {file.path}: {error.strerror}. Put it back, or run again.") from error
    if size != file.size:
        raise DataError(
            f"The shard {file.path} has {size:,} bytes, and had {file.size:,} when it was looked over. Run the corpus "
            "stage again, or restore the shard."
        )


def read_captions(file: ShardFile) -> tuple[list[str], list[str]]:
    """Keys and captions of a shard in tar order; of its bytes, the texts alone are read.

    A caption that is not UTF-8 is a `DataError` that names its key.
    """
    index = read_index(file)
    keys = [file.key(name) for name in index.names.to_pylist()]
    if not keys:
        return [], []
    descriptor = os.open(file.path, os.O_RDONLY)
    try:
        spans = zip(keys, index.spans[:, 2:].tolist(), strict=True)
        texts = [decode_caption(read_span(descriptor, file.path, *span), file.path, key) for key, span in spans]
    finally:
        os.close(descriptor)
    return keys, texts


def read_pairs(file: ShardFile) -> Iterator[Pair]:
    """The pairs of a shard in tar order. Raises what `read_captions` does."""
    index = read_index(file)
    if not file.samples:
        return
    descriptor = os.open(file.path, os.O_RDONLY)
    try:
        for name, span in zip(index.names.to_pylist(), index.spans.tolist(), strict=True):
            key = file.key(name)
            image = read_span(descriptor, file.path, span[0], span[1])
            yield Pair(key, image, decode_caption(read_span(descriptor, file.path, span[2], span[3]), file.path, key))
    finally:
        os.close(descriptor)
