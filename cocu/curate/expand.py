"""Vision-driven expansion (design, equation 1): the archive A_i is the union of C_j over the anchor's neighbours.

Takes the neighbours of each anchor and the captions' concepts as CSR; gives the archives as CSR: row i of a CSR
(`indptr`, `ids`) is `ids[indptr[i]:indptr[i + 1]]`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cocu.jit import compiled

Ints = NDArray[np.int64]
Ids = NDArray[np.uint16]


def expand(neighbours: Ints, caption_indptr: Ints, caption_ids: Ids, concepts: int) -> tuple[Ints, Ids]:
    """Archives of n anchors, each row ascending and distinct.

    `neighbours` (n, L) are rows of the captions' CSR; `concepts` is the vocabulary's length. An anchor whose
    neighbours have no concept has an empty row.
    """
    ids = np.empty(_entries(neighbours, caption_indptr), np.uint16)  # as many as if all were distinct
    indptr = np.zeros(len(neighbours) + 1, np.int64)
    _union(neighbours, caption_indptr, caption_ids, np.full(concepts, -1, np.int32), indptr, ids)
    return indptr, ids[: indptr[-1]].copy()


@compiled
def _entries(neighbours: Ints, caption_indptr: Ints) -> int:
    total = 0
    for i in range(neighbours.shape[0]):
        for j in neighbours[i]:
            total += caption_indptr[j + 1] - caption_indptr[j]
    return total


@compiled
def _union(
    neighbours: Ints, caption_indptr: Ints, caption_ids: Ids, last: NDArray[np.int32], indptr: Ints, ids: Ids
) -> None:
    end = 0
    for i in range(neighbours.shape[0]):
        start = end
        for j in neighbours[i]:
            for e in range(caption_indptr[j], caption_indptr[j + 1]):
                c = caption_ids[e]
                if last[c] == i:  # the last anchor whose archive took c
                    continue
                last[c] = i
                at = end  # an insertion: for a dozen concepts a general sort costs more than the whole union
                while at > start and ids[at - 1] > c:
                    ids[at] = ids[at - 1]
                    at -= 1
                ids[at] = c
                end += 1
        indptr[i + 1] = end
