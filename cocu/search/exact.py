"""Exact inner-product search (design, equation 1): the k images of the pool with the largest <v_i, v_j>.

Takes queries and a pool, which may be memory-mapped in parts; gives scores and pool rows. Blocked float32 GEMM finds
candidates; each is scored again in float64, and only those scores decide. The margin covers the GEMM's rounding, so the
result is exact, and depends neither on the blocks nor on the threads. Equal scores: the smaller row first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cocu.errors import DataError, NumericsError
from cocu.jit import compiled

QUERY_ROWS, POOL_ROWS = 1024, 4096  # a block of scores is 16 MB

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Rows = NDArray[Any]  # float16 or float32 (n, d)


def search(queries: Rows, pool: Rows | Sequence[Rows], k: int, exclude: Ints | None) -> tuple[Floats, Ints]:
    """Scores float32 (q, k), falling, and pool rows int64 (q, k) of the k nearest of each query.

    `queries` (q, d) and `pool` (n, d), or the parts that make up its rows, are float16 or float32. `exclude` int64
    (q,) is the one row that a query must not find, or -1. Raises `DataError` when fewer than k rows remain, and
    `NumericsError` on widths that differ and on a row that is not finite.
    """
    parts = [pool] if isinstance(pool, np.ndarray) else list(pool)
    wanted, without = checked(queries, parts, k, exclude)
    total = sum(len(part) for part in parts)
    lengths = np.linalg.norm(wanted, axis=1)
    scores, rows = np.full((len(wanted), k), -np.inf, np.float32), np.full((len(wanted), k), total, np.int64)
    products = np.empty(QUERY_ROWS * POOL_ROWS, np.float32)
    first = 0
    for part in parts:
        for start in range(0, len(part), POOL_ROWS):
            block = _as_float32(part[start : start + POOL_ROWS], "pool", first)
            # |computed - true| <= d u / (1 - d u) |x| |y| for a product of d terms in any order; u = 2^-24
            slack = 2.0**-23 * (block.shape[1] + 4) * float(np.linalg.norm(block, axis=1).max())
            for at in range(0, len(wanted), QUERY_ROWS):
                span = slice(at, at + QUERY_ROWS)
                some = wanted[span]
                product = products[: len(some) * len(block)].reshape(len(some), len(block))
                np.matmul(some, block.T, out=product)
                _keep(product, first, some, block, slack * lengths[span], without[span], scores[span], rows[span])
            first += len(block)
    return scores, rows


def checked(queries: Rows, parts: Sequence[Rows], k: int, exclude: Ints | None) -> tuple[Floats, Ints]:
    """The queries as float32 and the excluded rows, -1 for none; raises what `search` raises, the pool's rows aside."""
    total = sum(len(part) for part in parts)
    without = np.full(len(queries), -1, np.int64) if exclude is None else np.asarray(exclude, np.int64)
    excluded = int((without >= 0).any())
    if k > total - excluded:
        raise DataError(
            f"{k} neighbours are asked for, and the pool has {total} images{', the anchor excluded' * excluded}. "
            "Lower curate.search.neighbours or use a larger pool."
        )
    wanted = _as_float32(queries, "query", 0)
    for part in parts:
        if part.shape[1] != wanted.shape[1]:
            raise NumericsError(f"The queries have {wanted.shape[1]} dimensions and the pool {part.shape[1]}.")
    return wanted, without


def _as_float32(rows: Rows, what: str, first: int) -> Floats:
    block = np.ascontiguousarray(rows, np.float32)
    finite = np.isfinite(block).all(axis=1)
    if not finite.all():
        row = first + int(np.argmin(finite))
        raise NumericsError(f"The {what} row {row} holds a value that is not finite. Run the embedding stage again.")
    return block


@compiled
def _keep(
    product: Floats,
    first: int,
    queries: Floats,
    block: Floats,
    slack: Floats,
    without: Ints,
    scores: Floats,
    rows: Ints,
) -> None:
    """Put the rows of a block among the k best of each query; `scores` and `rows` are sorted, and stay so."""
    k = scores.shape[1]
    for q in range(product.shape[0]):
        threshold = scores[q, k - 1] - slack[q]
        for b in range(product.shape[1]):
            if product[q, b] < threshold or first + b == without[q]:
                continue
            exact = 0.0  # in order, so that every machine gives the same sum
            for i in range(queries.shape[1]):
                exact += np.float64(queries[q, i]) * np.float64(block[b, i])
            score = np.float32(exact)
            at = k - 1
            if score < scores[q, at] or (score == scores[q, at] and first + b > rows[q, at]):
                continue
            while at > 0 and (
                score > scores[q, at - 1] or (score == scores[q, at - 1] and first + b < rows[q, at - 1])
            ):
                scores[q, at], rows[q, at] = scores[q, at - 1], rows[q, at - 1]
                at -= 1
            scores[q, at], rows[q, at] = score, first + b
            threshold = scores[q, k - 1] - slack[q]
