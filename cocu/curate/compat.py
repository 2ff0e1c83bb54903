"""`curate.compat: released`: what the authors' published code counts where the paper's equations say otherwise.

There an image shares a concept when the concept's name is a *substring* of the image's concepts joined by ", ": "man"
is in "woman". Here that becomes a CSR again, so that one ranking serves both readings. An anchor that is its own
neighbour counts twice, and the maximum begins at 0 (`cocu.curate.rank.RELEASED`). Equal scores go by concept id: the
published order of these depends on the hash seed of the process.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cocu.jit import compiled

Ints = NDArray[np.int64]
Ids = NDArray[np.uint16]
Csr = tuple[Ints, Ids]


def substrings(vocabulary: Sequence[str]) -> Csr:
    """CSR over the concepts: row b lists, ascending, every concept whose name is a substring of name b (b too).

    No concept's name holds ", ", so that a name in the joined list is a name in one of its entries.
    """
    ids: dict[str, list[int]] = {}
    for concept, name in enumerate(vocabulary):
        ids.setdefault(name, []).append(concept)
    rows = []
    for name in vocabulary:
        pieces = {name[i:j] for i in range(len(name)) for j in range(i + 1, len(name) + 1)}
        rows.append(sorted(c for piece in pieces for c in ids.get(piece, ())))
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return indptr, np.array([c for row in rows for c in row], np.uint16)


def contained(captions: Csr, parts: Csr, concepts: int) -> Csr:
    """The captions' CSR with, in each row, every concept that a name of the row contains; distinct, ascending.

    `parts` is `substrings` of the vocabulary, `concepts` its length.
    """
    indptr, ids = captions
    sizes = parts[0][ids.astype(np.int64) + 1] - parts[0][ids.astype(np.int64)]
    bounds, out = np.zeros(indptr.size, np.int64), np.empty(int(sizes.sum()), np.uint16)
    _close(indptr, ids, *parts, np.full(concepts, -1, np.int64), bounds, out)
    return bounds, out[: bounds[-1]].copy()


@compiled
def _close(indptr: Ints, ids: Ids, part_indptr: Ints, part_ids: Ids, last: Ints, bounds: Ints, out: Ids) -> None:
    end = 0
    for i in range(indptr.size - 1):
        start = end
        for e in range(indptr[i], indptr[i + 1]):
            for c in part_ids[part_indptr[ids[e]] : part_indptr[ids[e] + 1]]:
                if last[c] != i:  # the last row that took c
                    last[c] = i
                    out[end] = c
                    end += 1
        out[start:end].sort()
        bounds[i + 1] = end
