"""Cluster-guided sampling (design, equation 3): the concepts of one training step, from one row of the archive.

Takes a row's concepts, scores and clusters; gives `count` concept ids, -1 where the archive has none to give and the
caption takes their place. Plain Python: rows have about ten entries, where a numpy call costs more than the arithmetic.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


def sample_concepts(
    concepts: NDArray[Any],
    scores: NDArray[Any],
    clusters: NDArray[Any],
    *,
    count: int,
    sampling: Literal["cluster", "top", "uniform"],
    temperature: float,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """int64 (count,) concept ids from one row of the archive, whose arrays (n,) are sorted by falling score.

    "cluster": for each of `count`, a cluster with probability softmax(mean score / temperature), with replacement, and
    in it a concept with softmax(score / temperature). "top": the first `count`. "uniform": `count` different ones,
    each set equally likely. The last two give -1 for what a short row lacks; an empty row gives -1 throughout.
    """
    out = np.full(count, -1, np.int64)
    size = len(concepts)
    if size == 0:
        return out
    if sampling == "top":
        out[:size] = concepts[:count]
    elif sampling == "uniform":
        out[:size] = concepts[rng.permutation(size)[:count]]
    else:
        out[:] = _by_cluster(concepts.tolist(), scores.tolist(), clusters.tolist(), temperature, rng.random(2 * count))
    return out


def _by_cluster(
    concepts: list[int], scores: list[float], clusters: list[int], temperature: float, draws: NDArray[np.float64]
) -> list[int]:
    members: dict[int, list[int]] = {}
    for place, label in enumerate(clusters):
        members.setdefault(label, []).append(place)
    groups = list(members.values())
    between = _cumulative([sum(scores[p] for p in group) / len(group) for group in groups], temperature)
    out = []
    uniform = draws.tolist()
    for u, v in zip(uniform[::2], uniform[1::2], strict=True):
        group = groups[_draw(between, u)]
        within = _cumulative([scores[p] for p in group], temperature)
        out.append(concepts[group[_draw(within, v)]])
    return out


def _cumulative(values: Sequence[float], temperature: float) -> list[float]:
    """Running sums of exp(value / temperature), scaled so that none overflows."""
    largest = max(values)
    return list(accumulate(math.exp((v - largest) / temperature) for v in values))


def _draw(cumulative: list[float], u: float) -> int:
    """The index whose share of [0, total) holds u * total; the bound covers a product rounded up to the total."""
    return min(bisect_right(cumulative, u * cumulative[-1]), len(cumulative) - 1)
