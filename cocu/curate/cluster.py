"""Clusters of an archive's concepts (design, equation 3): k-means of t_c with k = ceil(|A_i| / 2), when |A_i| > 2.

Takes the archives (CSR) and the vocabulary's embeddings; gives a cluster for each entry. All the work after the dot
products is in the Gram matrix of A_i. Nothing is drawn: Ward's merging gives the start, and single moves (Hartigan)
lower the inertia until none helps; every such end is one of Lloyd's too, and no cluster can become empty.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cocu.jit import compiled, compiled_sum

TOLERANCE = 1e-9  # a move must lower the inertia by more, or rounding could move a concept for ever
SWEEPS = 100  # at most so many passes over the concepts; a handful is usual

Ints = NDArray[np.int64]
Ids = NDArray[np.uint16]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


def cluster(vocabulary: Floats, indptr: Ints, ids: Ids) -> Ids:
    """The cluster of each entry of `ids`, 0..k-1 numbered by first occurrence in its row; 0 in rows of one or two.

    `vocabulary` (C, d) float32; row i of the archive is `ids[indptr[i]:indptr[i + 1]]`. The partition depends on the
    row alone, not on the other rows.
    """
    labels = np.zeros(ids.size, np.uint16)
    _cluster_rows(vocabulary, indptr, ids, labels)
    return labels


@compiled_sum
def _dot(x: Floats, y: Floats) -> float:
    total = 0.0
    for i in range(x.size):
        total += np.float64(x[i]) * np.float64(y[i])
    return total


@compiled
def _ward(gram: Doubles, k: int, label: Ints) -> None:
    """Merge single concepts into k clusters, each time the two whose union raises the inertia least (Ward 1963)."""
    n = gram.shape[0]
    cost, size, alive, nearest = np.empty((n, n)), np.ones(n), np.ones(n, np.bool_), np.full(n, -1)
    for i in range(n):
        label[i] = i
        for j in range(n):
            cost[i, j] = 0.5 * (gram[i, i] + gram[j, j]) - gram[i, j]
    stale = np.ones(n, np.bool_)  # whose nearest cluster (among the later ones) must be looked for again
    for _ in range(n - k):
        p = -1
        for i in range(n):
            if alive[i] and stale[i]:
                nearest[i], stale[i] = -1, False
                for j in range(i + 1, n):
                    if alive[j] and (nearest[i] < 0 or cost[i, j] < cost[i, nearest[i]]):
                        nearest[i] = j
            if alive[i] and nearest[i] >= 0 and (p < 0 or cost[i, nearest[i]] < cost[p, nearest[p]]):
                p = i
        q = nearest[p]
        alive[q], between = False, cost[p, q]
        for j in range(n):
            if label[j] == q:
                label[j] = p
            if alive[j] and j != p:  # Lance and Williams' update
                joined = (size[p] + size[j]) * cost[p, j] + (size[q] + size[j]) * cost[q, j] - size[j] * between
                cost[p, j] = cost[j, p] = joined / (size[p] + size[q] + size[j])
                if nearest[j] == p or nearest[j] == q:
                    stale[j] = True
                elif j < p and cost[j, p] < cost[j, nearest[j]]:
                    nearest[j] = p
        size[p] += size[q]
        stale[p] = True


@compiled
def _renumber(label: Ints) -> None:
    """Labels by first occurrence."""
    new, count = np.full(label.size, -1), 0
    for i in range(label.size):
        if new[label[i]] < 0:
            new[label[i]] = count
            count += 1
        label[i] = new[label[i]]


@compiled
def _descend(gram: Doubles, k: int, label: Ints) -> None:
    """Move single concepts between clusters while that lowers the inertia (Hartigan 1975, with exact gains)."""
    n = gram.shape[0]
    to_cluster, within, size = np.zeros((n, k)), np.zeros(k), np.zeros(k)
    for x in range(n):
        size[label[x]] += 1
        for y in range(n):
            to_cluster[x, label[y]] += gram[x, y]
    for x in range(n):
        within[label[x]] += to_cluster[x, label[x]]
    x = quiet = 0
    for _ in range(SWEEPS * n):
        p, q = label[x], -1
        if size[p] > 1:
            # n/(n-1) d(x, mean)^2 is what leaving saves, n/(n+1) d(x, mean)^2 what joining costs
            apart = gram[x, x] - 2 * to_cluster[x, p] / size[p] + within[p] / size[p] ** 2
            best = apart * size[p] / (size[p] - 1) - TOLERANCE
            for c in range(k):
                if c != p:
                    apart = gram[x, x] - 2 * to_cluster[x, c] / size[c] + within[c] / size[c] ** 2
                    if apart * size[c] / (size[c] + 1) < best:
                        best, q = apart * size[c] / (size[c] + 1), c
        quiet += 1
        if q >= 0:
            within[p] -= 2 * to_cluster[x, p] - gram[x, x]
            within[q] += 2 * to_cluster[x, q] + gram[x, x]
            for y in range(n):
                to_cluster[y, p] -= gram[y, x]
                to_cluster[y, q] += gram[y, x]
            size[p] -= 1
            size[q] += 1
            label[x], quiet = q, 0
        if quiet >= n:
            break
        x = (x + 1) % n


@compiled
def _cluster_rows(vocabulary: Floats, indptr: Ints, ids: Ids, labels: Ids) -> None:
    for i in range(indptr.size - 1):
        start, n = indptr[i], indptr[i + 1] - indptr[i]
        if n <= 2:
            continue
        gram = np.empty((n, n))
        for x in range(n):
            for y in range(x + 1):
                gram[x, y] = gram[y, x] = _dot(vocabulary[ids[start + x]], vocabulary[ids[start + y]])
        k = (n + 1) // 2
        label = np.empty(n, np.int64)
        _ward(gram, k, label)
        _renumber(label)
        _descend(gram, k, label)
        _renumber(label)
        for x in range(n):
            labels[start + x] = label[x]
