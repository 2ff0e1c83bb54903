"""Random access to the pairs of many shards, for training.

Takes the shards of a manifest; gives images, captions and keys by number, read where their index says they lie.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from cocu.pairs.index import read_index
from cocu.pairs.shards import ShardFile, ShardIndex, decode_caption, read_span

OPEN_SHARDS = 64  # file handles that one reader holds


class ShardReader:
    """Random access to the pairs of many shards, numbered in the order of `files`, and in tar order.

    `indexes` say where the pairs lie; those that are saved beside the manifest, where none are given. Copies sent to
    worker processes open their own files. Raises `DataError` as `read_index` does.
    """

    def __init__(self, files: Sequence[ShardFile], indexes: Sequence[ShardIndex] | None = None) -> None:
        self._files, indexes = list(files), indexes or [read_index(file) for file in files]
        self._names, spans = [index.names for index in indexes], [index.spans for index in indexes]
        self._starts = np.cumsum([0, *(len(names) for names in self._names)])
        self._spans = np.concatenate(spans) if spans else np.zeros((0, 4), np.int64)
        self._handles: OrderedDict[int, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._spans)

    def key(self, i: int) -> str:
        """`set/shard/name` of pair i."""
        shard = self._shard(i)
        return self._files[shard].key(self._names[shard][int(i - self._starts[shard])].as_py())

    def keys(self, shard: int) -> list[str]:
        """The keys of the shard with this number, in tar order."""
        return [self._files[shard].key(name) for name in self._names[shard].to_pylist()]

    def image(self, i: int) -> bytes:
        """The encoded image of pair i."""
        return self._bytes(i, 0)

    def caption(self, i: int) -> str:
        """The caption of pair i."""
        return decode_caption(self._bytes(i, 2), self._files[self._shard(i)].path, self.key(i))

    def close(self) -> None:
        """Close the files that are open; they are opened again when needed."""
        while self._handles:
            os.close(self._handles.popitem()[1])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handles": OrderedDict()}

    def __del__(self) -> None:
        if "_handles" in self.__dict__:
            self.close()

    def _shard(self, i: int) -> int:
        if not 0 <= i < len(self):
            raise IndexError(f"pair {i} of {len(self)}")
        return int(np.searchsorted(self._starts, i, side="right")) - 1

    def _bytes(self, i: int, column: int) -> bytes:
        shard = self._shard(i)
        handle = self._handles.pop(shard, None)
        if handle is None:
            if len(self._handles) >= OPEN_SHARDS:
                os.close(self._handles.popitem(last=False)[1])
            handle = os.open(self._files[shard].path, os.O_RDONLY)
        self._handles[shard] = handle  # most recently used last
        offset, size = self._spans[i, column : column + 2].tolist()
        return read_span(handle, self._files[shard].path, offset, size)
