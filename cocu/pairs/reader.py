"""Random access to the pairs of many shards, for training.

Takes the shards of a manifest; gives images, captions and keys by number, read where the tars' headers say they lie.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cocu.errors import DataError
from cocu.pairs.shards import ShardFile, check_stems, decode_caption, index_shard, read_span

OPEN_SHARDS = 64  # file handles that one reader holds


class ShardReader:
    """Random access to the pairs of many shards, numbered in manifest and tar order.

    The tars are indexed once, here; images are read by position when asked for. Copies sent to worker processes open
    their own files. Raises `DataError` as `index_shard` does, and when a shard's count differs from its manifest's.
    """

    def __init__(self, files: Sequence[ShardFile], corpus: str) -> None:
        check_stems(file.path for file in files)
        self._corpus, self._paths = corpus, [file.path for file in files]
        self._names: list[NDArray[np.str_]] = []
        spans = []
        for file in files:
            index = index_shard(file.path, file.skipped)
            if len(index.names) != file.samples:
                raise DataError(
                    f"{file.path} holds {len(index.names)} pairs, its manifest says {file.samples}. "
                    "Run the corpus stage again, or restore the shard."
                )
            self._names.append(np.array(index.names))  # packed: millions of str objects would fill the memory
            spans.append(index.spans)
        self._starts = np.cumsum([0, *(len(names) for names in self._names)])
        self._spans = np.concatenate(spans) if spans else np.zeros((0, 4), np.int64)
        self._handles: OrderedDict[int, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._spans)

    def key(self, i: int) -> str:
        """`corpus/shard/name` of pair i."""
        shard = self._shard(i)
        return f"{self._corpus}/{self._paths[shard].stem}/{self._names[shard][i - self._starts[shard]]}"

    def keys(self, shard: int) -> list[str]:
        """The keys of the shard with this number, in tar order."""
        stem = self._paths[shard].stem
        return [f"{self._corpus}/{stem}/{name}" for name in self._names[shard]]

    def image(self, i: int) -> bytes:
        """The encoded image of pair i."""
        return self._bytes(i, 0)

    def caption(self, i: int) -> str:
        """The caption of pair i."""
        return decode_caption(self._bytes(i, 2), self._paths[self._shard(i)], self.key(i))

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
            handle = os.open(self._paths[shard], os.O_RDONLY)
        self._handles[shard] = handle  # most recently used last
        offset, size = self._spans[i, column : column + 2].tolist()
        return read_span(handle, self._paths[shard], offset, size)
