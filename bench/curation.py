"""Curation against the plain per-image loop: `python -m bench.curation`.

Each figure has both sides in one process, in turn, one thread; a JSON line a figure, then a table; exit code 1 when a
target is missed or the two sides differ. Data: synthetic, of CC3M's shape (bench/world.py). Figures of a GPU, where
there is one, come last; `--gpu` takes them alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from bench import search_figures
from bench.figure import Figure, alternate, report
from bench.plain import NgramLookup, cluster_image, rank_image
from bench.world import World, make_texts, make_world
from cocu.concepts.matcher import Matcher
from cocu.config import Search
from cocu.curate.cluster import cluster
from cocu.curate.expand import expand
from cocu.curate.rank import rank, similarities
from cocu.device import CPU, pick_device
from cocu.search.engine import make_engine

TOLERANCE = 2e-6
INERTIA = 1.005  # of scikit-learn's, on average


def ranked(world: World, neighbours: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(indptr, concepts, scores) of the first anchors, one a row of `neighbours`; includes the pool's similarities."""
    captions, concepts = (world.indptr, world.ids), len(world.vocabulary)
    known = similarities(world.vocabulary, world.images, *captions)
    indptr, ids = expand(neighbours, *captions, concepts)
    anchors = np.arange(len(neighbours))
    own = similarities(world.vocabulary, world.images[: len(anchors)], indptr, ids, (anchors, *captions, known))
    return (indptr, *rank(anchors, neighbours, (indptr, ids, own), (*captions, known), concepts))


def compare(world: World, plain: list, ours: tuple[np.ndarray, np.ndarray, np.ndarray]) -> tuple[bool, float]:
    """(same concepts in the same order, largest difference of a score), equal to `TOLERANCE` counting as a tie."""
    indptr, ids, scores = ours
    same, largest = True, 0.0
    for i, expected in enumerate(plain):
        span = slice(indptr[i], indptr[i + 1])
        by_concept = dict(zip(ids[span].tolist(), scores[span].tolist(), strict=True))
        if by_concept.keys() != dict(expected).keys():
            return False, np.inf
        largest = max([largest, *(abs(by_concept[c] - s) for c, s in expected)])
        wanted = [s for _, s in expected]
        same &= all(
            a == b or abs(wanted[p] - by_concept[a]) <= TOLERANCE
            for p, (a, (b, _)) in enumerate(zip(ids[span].tolist(), expected, strict=True))
        )
    return same, largest


def rank_figure(world: World, some: int) -> Figure:
    """Neighbours given."""
    n, captions = len(world.images), world.lists()
    near = world.neighbours.tolist()
    plain: list = []

    def theirs() -> None:
        plain[:] = [rank_image(i, near[i], world.images, world.vocabulary, captions) for i in range(some)]

    ours, other = alternate(
        lambda: ranked(world, world.neighbours), theirs, 9
    )  # each is a tenth of a second: a median of three still moves by some percent
    same, diff = compare(world, plain, ranked(world, world.neighbours))
    note = f"{n / ours:,.0f} images/s against {some / other:,.0f}"
    return Figure("rank", (n / ours) / (some / other), 50.0, same and diff <= TOLERANCE, diff, note)


def cluster_figure(world: World, some: int) -> Iterator[Figure]:
    """Neighbours given, and k-means of every archive."""
    n, captions = len(world.images), world.lists()
    near, labels, plain = world.neighbours.tolist(), [], []

    def ours() -> np.ndarray:
        indptr, ids, _ = ranked(world, world.neighbours)
        return cluster(world.vocabulary, indptr, ids)

    def theirs() -> None:
        plain[:] = [rank_image(i, near[i], world.images, world.vocabulary, captions) for i in range(some)]
        labels[:] = [cluster_image(found, world.vocabulary) for found in plain]

    fast, slow = alternate(ours, theirs)
    indptr, ids, _ = ranked(world, world.neighbours)
    mine, note = cluster(world.vocabulary, indptr, ids), f"{n / fast:,.0f} images/s against {some / slow:,.0f}"
    ratio = [
        _inertia(world.vocabulary[ids[a:b]], mine[a:b]) / _inertia(world.vocabulary[[c for c, _ in found]], label)
        for found, label, a, b in zip(plain, labels, indptr, indptr[1 : some + 1], strict=False)
        if len(found) > 2
    ]
    mean = float(np.mean(ratio))
    yield Figure("rank and k-means", (n / fast) / (some / slow), 200.0, mean <= INERTIA, None, note)
    yield Figure("inertia, scikit-learn's / ours", 1 / mean, 1 / INERTIA, True, None, f"{mean:.4f} of scikit-learn's")


def _inertia(points: np.ndarray, labels: np.ndarray) -> float:
    points = points.astype(np.float64)
    return float(
        sum(((points[labels == k] - points[labels == k].mean(axis=0)) ** 2).sum() for k in set(labels.tolist()))
    )


def search_figure(world: World, some: int, many: int, device: torch.device = CPU) -> Figure:
    """The whole of curation with exact search on a device, the plain side one query at a time by faiss."""
    import faiss

    faiss.omp_set_num_threads(1)
    flat = faiss.IndexFlatIP(world.images.shape[1])
    flat.add(world.images)
    captions = world.lists()
    engine = make_engine([world.images.astype(np.float16)], Search(neighbours=8, index="exact"), device, 1)
    found: list = []

    def near(i: int) -> list[int]:
        rows = flat.search(world.images[i : i + 1], 9)[1][0].tolist()
        return [j for j in rows if j != i][:8]

    def theirs() -> None:
        found[:] = [rank_image(i, near(i), world.images, world.vocabulary, captions) for i in range(some)]
        for archive in found:
            cluster_image(archive, world.vocabulary)

    def ours() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows = np.arange(many)
        _, neighbours = engine.search(world.images[rows], rows)
        result = ranked(world, neighbours)
        cluster(world.vocabulary, *result[:2])
        return result

    fast, slow = alternate(ours, theirs, 1)
    indptr, ids, _ = ours()
    sets = [set(ids[a:b].tolist()) == {c for c, _ in f} for f, a, b in zip(found, indptr, indptr[1:], strict=False)]
    note = f"{many / fast:,.0f} images/s against {some / slow:,.0f}; pool of {len(world.images):,}"
    # the pool is float16 here and float32 there: a few neighbours at the eighth place differ
    bench = "with exact search" if device == CPU else "on the GPU, with exact search"
    return Figure(bench, (many / fast) / (some / slow), 6.0, float(np.mean(sets)) >= 0.98, None, note)


def concepts_figure(n: int, some: int) -> Figure:
    """Concepts of captions, by a look-up of every n-gram and by the token trie."""
    names, captions = make_texts(n)
    matcher, lookup, found = Matcher(names), NgramLookup(names), []

    def theirs() -> None:
        found[:] = [lookup(caption) for caption in captions[:some]]

    ours, other = alternate(lambda: matcher.batch(captions), theirs)
    equal = found == [matcher(caption) for caption in captions[:some]]
    note = f"{n / ours:,.0f} captions/s against {some / other:,.0f}"
    return Figure("concepts of captions", (n / ours) / (some / other), 12.0, equal, None, note)


def figures(quick: bool) -> Iterator[Figure]:
    """Every figure; `quick` is for the tests: toy sizes, whose ratios mean nothing."""
    n, some = (3_000, 30) if quick else (50_000, 1_000)
    world = make_world(n, concepts=700 if quick else 7_000)
    yield concepts_figure(1_000 if quick else 60_000, 300 if quick else 6_000)
    yield rank_figure(world, some)
    yield from cluster_figure(world, some // 5)
    yield search_figure(world, some // 10, n // 25)
    yield from search_figures.figures(quick)
    yield from gpu_figures(quick)


def gpu_figures(quick: bool) -> Iterator[Figure]:
    """Of a GPU, where there is one: all images find their neighbours there."""
    if torch.cuda.is_available():
        n = 3_000 if quick else 50_000
        world = make_world(n, concepts=700 if quick else 7_000)
        yield search_figure(world, 3 if quick else 100, n, pick_device("auto"))
    yield from search_figures.gpu_figures(quick)


if __name__ == "__main__":
    with threadpool_limits(1):
        report((gpu_figures if "--gpu" in sys.argv[1:] else figures)("--quick" in sys.argv[1:]))
