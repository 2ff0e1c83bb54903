"""29 million pairs through curation behind the search: `python -m bench.scale [--pairs N] [--folder DIR]`.

Synthetic, memory-mapped data at the paper's size: embeddings float16 (N, 512), 30 GB on disk; captions' concepts;
expansion lists (N, 8). The stages are the pipeline's own functions, a shard at a time: <t_c, v_j> of the pool, then
for each shard expansion, ranking, clusters and its Parquet side-car. Prints the peak memory and pairs a second of each
stage; a JSON line a figure, exit code 1 beyond 16 GB. One thread.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from bench.world import make_captions, make_neighbours, make_world
from cocu.config import Curate
from cocu.curate.archive import Pool, archives
from cocu.curate.rank import similarities
from cocu.device import CPU
from cocu.layout import side_car
from cocu.pairs.tables import write_archive
from cocu.search.engine import make_engine

PAIRS, SHARD, CONCEPTS, WIDTH = 29_000_000, 10_000, 7_000, 512
LIMIT_GB = 16.0


def peak_gb() -> float:
    """Largest resident memory of this process so far, in 10^9 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def write_data(folder: Path, pairs: int) -> None:
    """embeddings.npy, neighbours.npy, indptr.npy and ids.npy, written in blocks; the rows of a block come again."""
    rng = np.random.default_rng(0)
    block = min(pairs, 500_000)
    np.lib.format.open_memmap(folder / "embeddings.npy", "w+", np.float16, (pairs, WIDTH))
    np.lib.format.open_memmap(folder / "neighbours.npy", "w+", np.int64, (pairs, 8))
    world = make_world(min(block, 50_000), CONCEPTS, WIDTH)
    np.save(folder / "vocabulary.npy", world.vocabulary)
    indptrs, ids = [np.zeros(1, np.int64)], []
    for start in range(0, pairs, block):
        size = min(block, pairs - start)
        images = np.lib.format.open_memmap(folder / "embeddings.npy", "r+")  # mapped anew: what is written leaves
        neighbours = np.lib.format.open_memmap(folder / "neighbours.npy", "r+")
        images[start : start + size] = np.resize(world.images, (size, WIDTH))
        themes, bounds, found = make_captions(size, CONCEPTS, rng)
        neighbours[start : start + size] = make_neighbours(themes, rng) + start
        indptrs.append(bounds[1:] + indptrs[-1][-1])
        ids.append(found)
        print(f"writing {start + size:,} of {pairs:,}", file=sys.stderr)
    np.save(folder / "indptr.npy", np.concatenate(indptrs))
    np.save(folder / "ids.npy", np.concatenate(ids))


def curate_all(folder: Path, out: Path) -> dict[str, float]:
    """Seconds of each stage, and the archive's size; every array but the captions' CSR stays memory-mapped.

    A shard's rows are mapped when it comes and unmapped after it, as the pipeline's one file a shard is.
    """

    def rows_of(name: str, start: int) -> np.ndarray:
        return np.array(np.load(folder / f"{name}.npy", mmap_mode="r")[start : start + SHARD])

    vocabulary, indptr, ids = (np.load(folder / f"{name}.npy") for name in ("vocabulary", "indptr", "ids"))
    settings = Curate()
    engine = make_engine([vocabulary.astype(np.float16)], settings.search, CPU, 1)  # not asked: neighbours are given
    pairs = len(indptr) - 1
    started = time.perf_counter()
    known = np.empty(ids.size, np.float32)
    for start in range(0, pairs, SHARD):
        bounds = indptr[start : min(start + SHARD, pairs) + 1]
        span = slice(bounds[0], bounds[-1])
        rows = rows_of("embeddings", start).astype(np.float32)
        known[span] = similarities(vocabulary, rows, bounds - bounds[0], ids[span])
    pool = Pool(engine, (indptr, ids), (indptr, ids, known), vocabulary, {})
    times = dict.fromkeys(("similarities of the pool", "archives", "writing", "concepts"), 0.0)
    times["similarities of the pool"] = time.perf_counter() - started
    for number, start in enumerate(range(0, pairs, SHARD)):
        rows, near = rows_of("embeddings", start).astype(np.float32), rows_of("neighbours", start)
        anchors = np.arange(start, start + len(rows))
        began = time.perf_counter()
        found = archives(pool, rows, anchors, near, settings)
        ended = time.perf_counter()
        shard = f"full/{number:05}"
        write_archive(side_car(out, shard), [f"{shard}/{i:09}" for i in anchors.tolist()], found)
        times["writing"] += time.perf_counter() - ended
        times["archives"] += ended - began
        times["concepts"] += len(found.concepts)
        if number % 100 == 99:
            print(f"{start + SHARD:,} of {pairs:,}, {peak_gb():.1f} GB", file=sys.stderr)
    return times


def main() -> None:
    """Write the data, run the stages, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--folder", type=Path, help="where the data goes (34 GB at full size); a temporary folder else")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name, threadpool_limits(1):
        folder = Path(name)
        write_data(folder, options.pairs)
        before = peak_gb()
        started = time.perf_counter()
        (folder / "archive").mkdir()
        times = curate_all(folder, folder / "archive")
        whole = time.perf_counter() - started
    peak = peak_gb()
    facts = {"ratio": round(LIMIT_GB / peak, 3), "target": 1.0, "equal": True, "max_abs_diff": None}
    print(json.dumps({"bench": f"memory at {options.pairs:,} pairs: {LIMIT_GB:g} GB / peak", **facts}))
    print(f"\npeak memory             {peak:6.1f} GB (at most {LIMIT_GB:g}; making the data took {before:.1f})")
    for stage in ("similarities of the pool", "archives", "writing"):
        print(f"{stage:24}{times[stage]:6.0f} s  {options.pairs / times[stage]:12,.0f} pairs/s")
    print(f"{'all':24}{whole:6.0f} s  {options.pairs / whole:12,.0f} pairs/s")
    print(f"concepts a pair         {times['concepts'] / options.pairs:6.1f}")
    if peak > LIMIT_GB:
        sys.exit(1)


if __name__ == "__main__":
    main()
