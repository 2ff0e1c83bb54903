"""Exact search on any torch device: candidates by blocked bfloat16 products, the k best of them by exact scores.

Takes queries and the pool's parts, which may be memory-mapped; gives what `cocu.search.exact.search` gives. bfloat16
alone would lose one neighbour in twelve; with the best 32 scored again none was lost in a million. The pool passes
through the device once a block of queries.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cocu.search.exact import Floats, Ints, Rows, checked
from cocu.search.rescore import rescore

QUERY_ROWS, POOL_ROWS = 16_384, 65_536  # products of a block: 2 GB in bfloat16
CANDIDATES = 32  # or four times k


def search_on(
    device: torch.device, queries: Rows, parts: Sequence[Rows], k: int, exclude: Ints | None
) -> tuple[Floats, Ints]:
    """Scores float32 (q, k), falling, and pool rows int64 (q, k) of the k nearest of each query.

    As `cocu.search.exact.search`, with its errors; a neighbour is missed only where bfloat16 puts it behind
    max(32, 4 k) others.
    """
    wanted, without = checked(queries, parts, k, exclude)
    total = sum(len(part) for part in parts)
    keep = min(max(CANDIDATES, 4 * k), total)
    candidates = np.empty((len(wanted), keep), np.int64)
    for start in range(0, len(wanted), QUERY_ROWS):
        span = slice(start, start + QUERY_ROWS)
        candidates[span] = _candidates(device, wanted[span], parts, keep, without[span])
    return rescore(wanted, parts, candidates, k)


def _candidates(device: torch.device, queries: Floats, parts: Sequence[Rows], keep: int, without: Ints) -> Ints:
    """(q, keep) rows by bfloat16 scores; -1 for the excluded one."""
    block = torch.from_numpy(queries).to(device, torch.bfloat16)
    excluded = torch.from_numpy(without).to(device)
    scores = torch.full((len(queries), keep), -torch.inf, device=device, dtype=torch.bfloat16)
    rows = torch.full((len(queries), keep), -1, device=device, dtype=torch.int64)
    first = 0
    for part in parts:
        for at in range(0, len(part), POOL_ROWS):
            pool = _to(device, part[at : at + POOL_ROWS])
            product = block @ pool.T
            inside = (excluded >= first) & (excluded < first + len(pool))
            product[inside, excluded[inside] - first] = -torch.inf
            best, place = product.topk(min(keep, len(pool)), dim=1)
            scores, rows = torch.cat([scores, best], 1), torch.cat([rows, place + first], 1)
            scores, place = scores.topk(keep, dim=1)
            rows = rows.gather(1, place)
            first += len(pool)
    rows[scores == -torch.inf] = -1
    found: Ints = rows.cpu().numpy()
    return found


def _to(device: torch.device, rows: Rows) -> Tensor:
    block = torch.from_numpy(np.ascontiguousarray(rows))
    if device.type == "cuda":
        block = block.pin_memory()
    return block.to(device, non_blocking=True).to(torch.bfloat16)
