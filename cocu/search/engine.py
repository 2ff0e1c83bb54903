"""Which search finds the neighbours: chosen by sizes alone, made once, asked a shard at a time.

Takes the pool's parts and `curate.search`; gives scores and pool rows. An engine that is not exact says how many of the
true neighbours it finds, and what it finds too few for is searched exactly: no row of -1 leaves this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from cocu.config import Search
from cocu.search import lists
from cocu.search.device import search_on
from cocu.search.exact import Floats, Ints, Rows, checked, search
from cocu.search.rescore import gather

EXACT_ROWS = 4_000_000  # of the pool, searched exactly on a CPU: hours on 16 cores, not days
EXACT_ROWS_CUDA = 50_000_000
RECALL_QUERIES = 256


def choose(index: str, pool_rows: int, device_type: str) -> str:
    """The kind of search: `exact`, `device` (exact, on a GPU), `flat`, `ivf` or `lists`. Sizes decide, never timing."""
    if index == "auto":
        limit = EXACT_ROWS_CUDA if device_type == "cuda" else EXACT_ROWS
        index = "exact" if pool_rows <= limit else "lists"
    return "device" if index == "exact" and device_type == "cuda" else index


def lists_for(pool_rows: int, nlist: int) -> int:
    """The number of lists: as asked, or four times the square root of the pool's size, at most 65,536."""
    return min(nlist or min(round(4 * pool_rows**0.5), 65_536), pool_rows)


def recall(found: Ints, exact: Ints) -> float:
    """The share of the exact neighbours (q, k) that are among those found (q, k)."""
    return float((found[:, :, None] == exact[:, None, :]).any(1).mean())


@dataclass(frozen=True)
class Engine:
    """A search over one pool; `facts` goes into the manifest."""

    kind: str
    parts: Sequence[Rows]
    settings: Search
    device: torch.device
    index: Any = None  # faiss's index, or lists.Lists
    facts: dict[str, Any] = field(default_factory=dict)

    def search(self, queries: Rows, exclude: Ints | None) -> tuple[Floats, Ints]:
        """Scores float32 (q, k), falling, and pool rows int64 (q, k); `exclude` (q,) as in `cocu.search.exact`."""
        k = self.settings.neighbours
        if self.kind == "exact":
            return search(queries, self.parts, k, exclude)
        if self.kind == "device":
            return search_on(self.device, queries, self.parts, k, exclude)
        wanted, without = checked(queries, self.parts, k, exclude)
        if self.kind == "lists":
            nprobe = min(self.settings.nprobe, self.index.coarse.ntotal)
            scores, rows = self.index.search(wanted, self.parts, k, without, nprobe)
        else:
            scores, rows = lists.search_faiss(self.index, wanted, self.parts, k, without)
        short = np.flatnonzero((rows < 0).any(1))
        if short.size:
            scores[short], rows[short] = search(wanted[short], self.parts, k, without[short])
        return scores, rows


def make_engine(parts: Sequence[Rows], settings: Search, device: torch.device, threads: int) -> Engine:
    """The engine that the settings and sizes ask for; what memory its index takes, `cocu.search.lists` says."""
    pool_rows = sum(len(part) for part in parts)
    kind = choose(settings.index, pool_rows, device.type)
    if kind == "exact":
        return Engine(kind, parts, settings, device, None, {"index": "exact"})
    index: Any = None
    facts: dict[str, Any] = {"index": kind}
    if kind in ("ivf", "lists"):
        coarse = lists.quantiser(parts, lists_for(pool_rows, settings.nlist), threads)
        facts |= {"nlist": coarse.ntotal, "nprobe": settings.nprobe}
        if kind == "lists":
            index = lists.make_lists(parts, coarse, threads)
        else:
            nprobe = min(settings.nprobe, coarse.ntotal)
            place = lists.faiss_device(device, settings.neighbours, nprobe)
            index = lists.faiss_ivf(parts, coarse, nprobe, place, threads)
            facts["device"] = place.type
    elif kind == "flat":
        place = lists.faiss_device(device, settings.neighbours, 1)
        index = lists.faiss_flat(parts, place, threads)
        facts["device"] = place.type
    engine = Engine(kind, parts, settings, device, index, facts)
    rows = np.linspace(0, pool_rows - 1, min(pool_rows, RECALL_QUERIES)).astype(np.int64)
    queries = gather(parts, rows)
    exclude = rows if settings.exclude_self else None
    exact = search(queries, parts, settings.neighbours, exclude)[1]
    facts |= {"recall": recall(engine.search(queries, exclude)[1], exact), "recall_queries": len(rows)}
    return engine
