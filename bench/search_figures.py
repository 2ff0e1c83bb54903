"""The searches against each other: batches, lists, and bfloat16 candidates."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import faiss
import numpy as np
import torch

from bench.figure import Figure, alternate
from bench.world import unit
from cocu.device import CPU
from cocu.search import lists
from cocu.search.device import CANDIDATES, QUERY_ROWS, _candidates, search_on
from cocu.search.engine import lists_for, recall
from cocu.search.exact import search

NEIGHBOURS, NPROBE = 8, 32
GPU_ROWS, GPU_LISTS = 1_000_000, 1024  # of the pool; the fewer lists, the sooner the CPU has trained them
NEAR = 1e-3  # of the two recalls


def make_pool(n: int, d: int = 512, seed: int = 0) -> np.ndarray:
    """float16 (n, d) unit rows around n / 50 themes, which vary in two levels as photographs do."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(max(n // 2000, 4), d)).astype(np.float32)
    fine = coarse[rng.integers(len(coarse), size=max(n // 50, 8))] + rng.normal(size=(max(n // 50, 8), d))
    pool = np.empty((n, d), np.float16)
    for start in range(0, n, 20_000):
        size = min(20_000, n - start)
        pool[start : start + size] = unit(fine[rng.integers(len(fine), size=size)] + 2.5 * rng.normal(size=(size, d)))
    return pool


def batched_figure(pool: np.ndarray, some: int, many: int) -> Figure:
    """Exact: one query at a time by faiss, and batches."""
    flat = lists.faiss_flat([pool], CPU, 1)
    queries, found = pool.astype(np.float32), np.empty((some, NEIGHBOURS), np.int64)

    def theirs() -> None:
        for i in range(some):
            found[i] = flat.search(queries[i : i + 1], NEIGHBOURS)[1][0]

    ours, other = alternate(lambda: search(queries[:many], pool, NEIGHBOURS, None), theirs, 1)
    scores, rows = search(queries[:some], pool, NEIGHBOURS, None)
    differ = np.abs(np.einsum("qkd,qd->qk", queries[found], queries[:some]) - scores).max()
    note = f"{many / ours:,.0f} queries/s against {some / other:,.0f}; pool of {len(pool):,}"
    same = recall(found, rows) >= 0.999
    return Figure("exact search in batches", (many / ours) / (some / other), None, same, float(differ), note)


def lists_figure(pool: np.ndarray, many: int, some: int) -> Figure:
    """Inverted file, equal centroids and nprobe, self excluded: faiss's order, and list by list."""
    coarse = lists.quantiser([pool], lists_for(len(pool), 0), 1)
    index, ours_index = lists.faiss_ivf([pool], coarse, NPROBE, CPU, 1), lists.make_lists([pool], coarse, 1)
    queries, anchors = pool[:many].astype(np.float32), np.arange(many)
    ours, theirs = alternate(
        lambda: ours_index.search(queries, [pool], NEIGHBOURS, anchors, NPROBE),
        lambda: index.search(queries[:some], NEIGHBOURS + 1),
    )
    sample = slice(0, min(some, 512))
    exact = search(queries[sample], pool, NEIGHBOURS, anchors[sample])[1]
    found = index.search(queries[sample], NEIGHBOURS + 1)[1]
    other = recall(found[:, 1:] if (found[:, 0] == anchors[sample]).all() else found, exact)
    mine = recall(ours_index.search(queries[sample], [pool], NEIGHBOURS, anchors[sample], NPROBE)[1], exact)
    note = (
        f"{many / ours:,.0f} queries/s against faiss's {some / theirs:,.0f}, recall {mine:.4f} and {other:.4f}; "
        f"pool of {len(pool):,}, {coarse.ntotal} lists, nprobe {NPROBE}"
    )
    return Figure(
        "inverted file, list by list", (many / ours) / (some / theirs), 3.0, abs(mine - other) <= NEAR, None, note
    )


def device_figure(pool: np.ndarray, some: int) -> Figure:
    """bfloat16 candidates scored again, on torch's CPU device here: how many of the exact neighbours it finds."""
    queries, anchors = pool[:some], np.arange(some)
    exact = search(queries, pool, NEIGHBOURS, anchors)
    found = search_on(CPU, queries, [pool], NEIGHBOURS, anchors)
    share = recall(found[1], exact[1])
    diff = float(np.abs(found[0] - exact[0]).max())
    return Figure("bfloat16 and re-rank: recall", share, 0.9999, diff <= 1e-6, diff, f"of {some * NEIGHBOURS:,}")


def gpu_figures(quick: bool) -> Iterator[Figure]:
    """Our search on a GPU against the CPU's, and faiss's two indices there; a line that says what is missing."""
    if not torch.cuda.is_available():
        return print("there is no GPU here: the search on one is not compared", file=sys.stderr)
    pool, many, some = make_pool(6_000 if quick else GPU_ROWS), 3_000 if quick else 100_000, 512
    device, queries, anchors = torch.device("cuda", 0), pool[:many].astype(np.float32), np.arange(many)
    place, exact, found = f"pool of {len(pool):,}, {torch.cuda.get_device_name(device)}", [], []

    def on_gpu() -> None:
        found[:] = search_on(device, queries, [pool], NEIGHBOURS, anchors)

    def on_cpu() -> None:
        exact[:] = search(queries[:some], pool, NEIGHBOURS, anchors[:some])

    ours, other = alternate(on_gpu, on_cpu, 1 if quick else 2)
    mine = recall(found[1][:some], exact[1])
    differ = float(np.abs(found[0][:some] - exact[0]).max())
    block = slice(0, QUERY_ROWS)
    started = time.perf_counter()
    _candidates(device, queries[block], [pool], CANDIDATES, anchors[block])
    alone = len(queries[block]) / (time.perf_counter() - started)
    note = (
        f"{many / ours:,.0f} queries/s ({alone:,.0f} without the exact scores) against {some / other:,.0f}; "
        f"recall {mine:.5f}; {place}"
    )
    equal = mine >= 0.9999 and differ <= 1e-6
    yield Figure("on the GPU, against the CPU", (many / ours) / (some / other), None, equal, differ, note)
    if not faiss.get_num_gpus():
        return print("faiss on a GPU is not compared: it sees none (pip install 'cocu[gpu]')", file=sys.stderr)
    coarse = lists.quantiser([pool], min(GPU_LISTS, len(pool) // 50), 1)
    indices = (
        ("flat", lists.faiss_flat([pool], device, 1)),
        ("ivf", lists.faiss_ivf([pool], coarse, NPROBE, device, 1)),
    )
    for name, index in indices:

        def theirs(index: object = index) -> tuple[np.ndarray, np.ndarray]:
            return lists.search_faiss(index, queries, [pool], NEIGHBOURS, anchors)

        ours, other = alternate(on_gpu, theirs, 1 if quick else 2)
        share = recall(theirs()[1][:some], exact[1])
        note = f"{many / ours:,.0f} queries/s against {many / other:,.0f}, recall {mine:.4f} and {share:.4f}; {place}"
        yield Figure(f"on the GPU, against faiss's {name}", other / ours, None, mine >= 0.9999, None, note)


def figures(quick: bool) -> Iterator[Figure]:
    """Every figure; `quick` as in bench.curation."""
    faiss.omp_set_num_threads(1)
    small = make_pool(4_000 if quick else 50_000)
    yield batched_figure(small, 40 if quick else 200, 400 if quick else 4_096)
    yield device_figure(small, 200 if quick else 2_000)
    large = make_pool(6_000 if quick else 200_000)
    yield lists_figure(large, 3_000 if quick else 100_000, 500 if quick else 2_000)
