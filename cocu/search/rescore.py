"""The last step of every search that is not exact by itself: candidates are scored again, and only those scores decide.

Takes queries, the pool's parts and candidate rows; gives the k best with the same sums, the same order and the same
ties as `cocu.search.exact.search`: float64 sums, rounded to float32; equal scores, the smaller row first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cocu.jit import compiled
from cocu.search.exact import Floats, Ints, Rows

QUERY_ROWS = 1024


def gather(parts: Sequence[Rows], rows: Ints) -> Floats:
    """float32 (n, d): the pool's `rows` (n,), wherever they lie; n > 0."""
    starts = np.cumsum([0, *(len(part) for part in parts)])
    out = np.empty((len(rows), parts[0].shape[1]), np.float32)
    home = np.searchsorted(starts, rows, side="right") - 1
    for p in np.unique(home):
        here = np.flatnonzero(home == p)
        out[here] = parts[p][rows[here] - starts[p]]
    return out


def rescore(queries: Floats, parts: Sequence[Rows], candidates: Ints, k: int) -> tuple[Floats, Ints]:
    """Scores float32 (q, k), falling, and rows int64 (q, k) of the best of `candidates` (q, m), which are distinct.

    A candidate of -1 is none; where fewer than k are left, the row is -1 and the score -inf.
    """
    scores, rows = np.full((len(queries), k), -np.inf, np.float32), np.full((len(queries), k), -1, np.int64)
    for start in range(0, len(queries), QUERY_ROWS):
        span = slice(start, start + QUERY_ROWS)
        distinct, place = np.unique(candidates[span], return_inverse=True)
        place = place.reshape(candidates[span].shape) - (distinct[0] < 0)
        known = distinct[distinct >= 0]
        if known.size:
            _best(queries[span], gather(parts, known), known, place, scores[span], rows[span])
    return scores, rows


@compiled
def _best(queries: Floats, vectors: Floats, known: Ints, place: Ints, scores: Floats, rows: Ints) -> None:
    k = scores.shape[1]
    for q in range(queries.shape[0]):
        found = 0
        for p in place[q]:
            if p < 0:
                continue
            exact = 0.0  # in order, so that every machine gives the same sum
            for i in range(queries.shape[1]):
                exact += np.float64(queries[q, i]) * np.float64(vectors[p, i])
            score, row = np.float32(exact), known[p]
            at = min(found, k - 1)
            if found >= k and (score < scores[q, at] or (score == scores[q, at] and row > rows[q, at])):
                continue
            while at > 0 and (score > scores[q, at - 1] or (score == scores[q, at - 1] and row < rows[q, at - 1])):
                scores[q, at], rows[q, at] = scores[q, at - 1], rows[q, at - 1]
                at -= 1
            scores[q, at], rows[q, at] = score, row
            found += 1
