"""Approximate search with an inverted file: faiss's, and one that is searched list by list for self-joins.

Both share the coarse quantiser: nlist centroids by k-means (faiss, fixed seed), each pool row in its nearest
centroid's list, each query looking into nprobe lists. faiss goes query by query and reads every list again and again;
with many queries at once, grouped by list, each list is read once and is one matrix product. On a GPU the same
functions build and search faiss's own indices; `to_device` is the step that differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import torch
from numpy.typing import NDArray

from cocu.device import CPU
from cocu.errors import EnvironmentFault
from cocu.jit import compiled
from cocu.log import say
from cocu.search.exact import Floats, Ints, Rows
from cocu.search.rescore import gather, rescore

SEED = 0
TRAINING_ROWS = 64  # a list
ITERATIONS = 10
QUERY_ROWS, POOL_ROWS = 32_768, 65_536
CANDIDATES = 2  # times k, of which exact scores choose: a product's rounding then decides nothing
GPU_MOST = 2048  # rows a query, and lists a query, that faiss's kernels can choose


def quantiser(parts: Sequence[Rows], nlist: int, threads: int) -> Any:
    """faiss's index of nlist unit centroids, trained on evenly spaced rows of the pool."""
    faiss.omp_set_num_threads(threads)
    total = sum(len(part) for part in parts)
    rows = np.linspace(0, total - 1, min(total, TRAINING_ROWS * nlist)).astype(np.int64)
    d = parts[0].shape[1]
    kmeans = faiss.Kmeans(
        d, nlist, niter=ITERATIONS, seed=SEED, spherical=True, min_points_per_centroid=1, max_points_per_centroid=2**20
    )
    kmeans.train(gather(parts, rows))
    index = faiss.IndexFlatIP(d)
    index.add(np.asarray(kmeans.centroids))
    return index


def faiss_device(asked: torch.device, k: int, nprobe: int) -> torch.device:
    """Where faiss searches for k neighbours in nprobe lists (1 without lists): as asked, or the CPU, and says why."""
    if asked.type != "cuda":
        return CPU
    if not faiss.get_num_gpus():
        why = "the faiss that is installed uses no GPU; run `pip install 'cocu[gpu]'` (docs/curate.md)"
    elif CANDIDATES * k + 1 > GPU_MOST:
        most = (GPU_MOST - 1) // CANDIDATES
        why = f"on a GPU it finds at most {most:,} neighbours, and curate.search.neighbours is {k:,}"
    elif nprobe > GPU_MOST:
        why = f"on a GPU it looks into at most {GPU_MOST:,} lists, and curate.search.nprobe is {nprobe:,}"
    else:
        return asked
    say(f"faiss searches on the CPU: {why}.")
    return CPU


def to_device(index: Any, device: torch.device) -> Any:
    """A faiss index on a GPU, where it has the same methods; on the CPU, itself."""
    if device.type != "cuda":
        return index
    return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), device.index or 0, index)


def faiss_flat(parts: Sequence[Rows], device: torch.device, threads: int) -> Any:
    """faiss's exhaustive index of the pool: 4 d bytes a row in the device's memory.

    Raises `EnvironmentFault` where a GPU does not hold it.
    """
    faiss.omp_set_num_threads(threads)
    return _filled(faiss.IndexFlatIP(parts[0].shape[1]), parts, device)


def faiss_ivf(parts: Sequence[Rows], coarse: Any, nprobe: int, device: torch.device, threads: int) -> Any:
    """faiss's inverted file of the pool: 4 d + 8 bytes a row in the device's memory; raises as `faiss_flat`."""
    faiss.omp_set_num_threads(threads)
    index = faiss.IndexIVFFlat(coarse, parts[0].shape[1], coarse.ntotal, faiss.METRIC_INNER_PRODUCT)
    index.train(np.empty((0, parts[0].shape[1]), np.float32))  # the quantiser is trained
    index.nprobe = nprobe
    return _filled(index, parts, device)


def _filled(index: Any, parts: Sequence[Rows], device: torch.device) -> Any:
    """The empty index moves, and not the full one: the pool need not fit into this machine's memory as well."""
    try:
        index = to_device(index, device)
        for block in _blocks(parts):
            index.add(block)
    except RuntimeError as error:  # which all of faiss's are
        if device.type != "cuda":
            raise
        reason = (str(error).splitlines() or ["it did not say why"])[-1]
        raise EnvironmentFault(
            f"faiss cannot put the pool's {sum(map(len, parts)):,} vectors of {parts[0].shape[1]} numbers on the GPU "
            f"({reason}). Set curate.search.index to lists or exact, or device to cpu."
        ) from error
    return index


def search_faiss(index: Any, queries: Floats, parts: Sequence[Rows], k: int, exclude: Ints) -> tuple[Floats, Ints]:
    """Scores (q, k) and rows (q, k) from a faiss index; row -1 where it has fewer than k for a query."""
    _, rows = index.search(queries, CANDIDATES * k + 1)
    rows[rows == exclude[:, None]] = -1
    return rescore(queries, parts, rows, k)


@dataclass(frozen=True)
class Lists:
    """The pool in the order of its lists: 2 d + 8 bytes a row in memory.

    vectors float16 (n, d); rows int64 (n,), their places in the pool; list l is bounds[l]:bounds[l + 1].
    """

    coarse: Any
    vectors: NDArray[np.float16]
    rows: Ints
    bounds: Ints

    def search(self, queries: Floats, parts: Sequence[Rows], k: int, exclude: Ints, nprobe: int) -> tuple[Floats, Ints]:
        """Scores (q, k) and rows (q, k) of the k nearest in the nprobe lists; row -1 where these have fewer."""
        found = np.empty((len(queries), CANDIDATES * k), np.int64)
        for start in range(0, len(queries), QUERY_ROWS):
            span = slice(start, start + QUERY_ROWS)
            found[span] = self._candidates(queries[span], CANDIDATES * k, exclude[span], nprobe)
        return rescore(queries, parts, found, k)

    def _candidates(self, queries: Floats, keep: int, exclude: Ints, nprobe: int) -> Ints:
        _, probes = self.coarse.search(queries, nprobe)
        order = np.argsort(probes, axis=None, kind="stable")
        asking, ends = order // nprobe, np.cumsum(np.bincount(probes.ravel(), minlength=len(self.bounds) - 1))
        scores, rows = np.full((len(queries), keep), -np.inf, np.float32), np.full((len(queries), keep), -1, np.int64)
        start = 0
        for number, end in enumerate(ends.tolist()):
            span = slice(self.bounds[number], self.bounds[number + 1])
            if end > start and span.stop > span.start:
                some = asking[start:end]
                product = queries[some] @ self.vectors[span].astype(np.float32).T
                _keep(product, some, self.rows[span], exclude, scores, rows)
            start = end
        return rows


def make_lists(parts: Sequence[Rows], coarse: Any, threads: int) -> Lists:
    """The pool's rows in the order of the quantiser's lists; within a list, by row."""
    faiss.omp_set_num_threads(threads)
    home = np.concatenate([coarse.search(block, 1)[1][:, 0] for block in _blocks(parts)])
    rows = np.argsort(home, kind="stable")
    bounds = np.concatenate([[0], np.cumsum(np.bincount(home, minlength=coarse.ntotal))]).astype(np.int64)
    vectors, place = np.empty((len(rows), parts[0].shape[1]), np.float16), np.empty(len(rows), np.int64)
    place[rows] = np.arange(len(rows))
    first = 0
    for part in parts:
        vectors[place[first : first + len(part)]] = part
        first += len(part)
    return Lists(coarse, vectors, rows, bounds)


def _blocks(parts: Sequence[Rows]) -> Any:
    for part in parts:
        for start in range(0, len(part), POOL_ROWS):
            yield np.ascontiguousarray(part[start : start + POOL_ROWS], np.float32)


@compiled
def _keep(product: Floats, asking: Ints, pool_rows: Ints, exclude: Ints, scores: Floats, rows: Ints) -> None:
    """Put a list's rows among the best of the queries that ask for it; `scores` stays sorted."""
    keep = scores.shape[1]
    for i in range(asking.size):
        q = asking[i]
        for b in range(pool_rows.size):
            score = product[i, b]
            if score <= scores[q, keep - 1] or pool_rows[b] == exclude[q]:
                continue
            at = keep - 1
            while at > 0 and score > scores[q, at - 1]:
                scores[q, at], rows[q, at] = scores[q, at - 1], rows[q, at - 1]
                at -= 1
            scores[q, at], rows[q, at] = score, pool_rows[b]
