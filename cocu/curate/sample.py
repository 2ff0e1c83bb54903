"""Sampling from the archive (design, equation 3): the concepts of one training step, for many rows at once.

Takes an archive, the rows that are asked for, and uniform random numbers; gives `count` concept ids a row, -1 where the
archive has none to give and the caption takes their place. The caller draws the random numbers, so that a row's
concepts depend neither on its batch nor on the process that loads it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cocu.config import Sampling
from cocu.jit import compiled
from cocu.pairs.tables import Archive

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]


def sample(
    archive: Archive, rows: Ints, draws: Doubles, *, sampling: Sampling, temperature: float, replacement: bool
) -> Ints:
    """int64 (n, count) concept ids for the n `rows`, from `draws` in [0, 1) of shape (n, 2 * count).

    "cluster" (the paper's): a cluster with probability softmax(mean score / temperature), in it a concept with
    softmax(score / temperature). "softmax": a concept with softmax(score / temperature) over the row. "uniform": each
    alike. "top": the first ones, nothing drawn. Without replacement a concept is drawn once; a cluster of which nothing
    is left is not drawn, and keeps the mean of all its concepts until then.
    """
    out = np.full((len(rows), draws.shape[1] // 2), -1, np.int64)
    if sampling == "top":
        _top(archive.indptr, archive.concepts, rows, out)
    else:
        columns = (archive.indptr, archive.concepts, archive.scores, archive.clusters)
        _draw(*columns, rows, draws, sampling == "cluster", sampling == "uniform", temperature, replacement, out)
    return out


@compiled
def _top(indptr: Ints, concepts: NDArray[np.uint16], rows: Ints, out: Ints) -> None:
    for i in range(rows.size):
        start = indptr[rows[i]]
        for m in range(min(out.shape[1], indptr[rows[i] + 1] - start)):
            out[i, m] = concepts[start + m]


@compiled
def _pick(values: Doubles, open_: Flags, temperature: float, u: float) -> int:
    """The open place whose share of [0, 1) under softmax(values / temperature) holds u; -1 when none is open."""
    largest = -np.inf
    for p in range(values.size):
        if open_[p]:
            largest = max(largest, values[p])
    total = 0.0
    for p in range(values.size):
        if open_[p]:
            total += np.exp((values[p] - largest) / temperature)
    running, last = 0.0, -1
    for p in range(values.size):
        if open_[p]:
            running += np.exp((values[p] - largest) / temperature)
            last = p
            if running > u * total:
                return last
    return last  # a product that was rounded up to the total


@compiled
def _draw(
    indptr: Ints,
    concepts: NDArray[np.uint16],
    scores: Floats,
    clusters: NDArray[np.uint16],
    rows: Ints,
    draws: Doubles,
    clustered: bool,
    even: bool,
    temperature: float,
    replacement: bool,
    out: Ints,
) -> None:
    for i in range(rows.size):
        start, end = indptr[rows[i]], indptr[rows[i] + 1]
        size = end - start
        if size == 0:
            continue
        values, label = scores[start:end].astype(np.float64), np.zeros(size, np.int64)
        if even:
            values[:] = 0.0
        if clustered:
            label[:] = clusters[start:end]
        k = label.max() + 1
        mean, left = np.zeros(k), np.zeros(k, np.int64)
        for p in range(size):
            mean[label[p]] += values[p]
            left[label[p]] += 1
        mean /= left
        taken = np.zeros(size, np.bool_)
        for m in range(out.shape[1]):
            group = _pick(mean, left > 0, temperature, draws[i, 2 * m])
            if group < 0:
                break
            place = _pick(values, (label == group) & ~taken, temperature, draws[i, 2 * m + 1])
            out[i, m] = concepts[start + place]
            if not replacement:
                taken[place] = True
                left[group] -= 1
