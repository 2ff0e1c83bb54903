from __future__ import annotations

import time
from collections import Counter
from typing import Any

import numpy as np
import pytest

from cocu.curate.sample import sample_concepts

CONCEPTS = np.array([40, 7, 12, 3, 65_000], np.uint16)
SCORES = np.array([2.0, 1.5, 1.0, 0.5, -1.0], np.float32)
CLUSTERS = np.array([0, 1, 0, 2, 1], np.uint16)


def draw(sampling: Any, count: int = 3, seed: int = 0, temperature: float = 1.0, rows: int = 5) -> list[int]:
    rng = np.random.default_rng(seed)
    found = sample_concepts(
        *(column[:rows] for column in (CONCEPTS, SCORES, CLUSTERS)),
        count=count,
        sampling=sampling,
        temperature=temperature,
        rng=rng,
    )
    assert found.dtype == np.int64
    return found.tolist()


def test_cluster_probabilities() -> None:
    temperature = 0.5
    means = np.array([1.5, 0.25, 0.5])
    between = np.exp(means / temperature) / np.exp(means / temperature).sum()
    expected = {}
    for k in range(3):
        weights = np.exp(SCORES[k == CLUSTERS].astype(float) / temperature)
        for c, w in zip(CONCEPTS[k == CLUSTERS].tolist(), weights / weights.sum(), strict=True):
            expected[c] = between[k] * w
    n = 20_000
    seen = Counter(draw("cluster", count=n, temperature=temperature))
    for c, p in expected.items():
        assert seen[c] / n == pytest.approx(p, abs=4.5 * np.sqrt(p * (1 - p) / n)), c


def test_top_is_the_first_and_pads() -> None:
    found, short = draw("top"), draw("top", rows=2)
    assert (found, short) == ([40, 7, 12], [40, 7, -1])


def test_uniform_is_without_replacement_and_even() -> None:
    seen: Counter[int] = Counter()
    for seed in range(2_000):
        found = draw("uniform", seed=seed)
        assert len(set(found)) == 3
        seen.update(found)
    assert all(abs(n - 1_200) < 110 for n in seen.values()) and len(seen) == 5
    assert sorted(draw("uniform", rows=2)) == [-1, 7, 40]


@pytest.mark.parametrize("sampling", ["cluster", "top", "uniform"])
def test_empty_rows_single_rows_and_seeds(sampling: str) -> None:
    assert draw(sampling, rows=0) == [-1, -1, -1]
    assert set(draw(sampling, rows=1)) <= {40, -1}
    assert draw(sampling, seed=4) == draw(sampling, seed=4)


def test_a_cold_temperature_takes_the_best_without_overflow() -> None:
    assert draw("cluster", temperature=1e-4) == [40, 40, 40]


def test_a_row_of_ten_takes_microseconds() -> None:
    concepts, scores = np.arange(10, dtype=np.uint16), np.linspace(2, 0, 10, dtype=np.float32)
    clusters, rng = np.arange(10, dtype=np.uint16) % 5, np.random.default_rng(0)
    best = np.inf
    for _ in range(20):
        started = time.process_time()
        for _ in range(200):
            sample_concepts(concepts, scores, clusters, count=3, sampling="cluster", temperature=1.0, rng=rng)
        best = min(best, (time.process_time() - started) / 200)
    assert best < 100e-6  # 15 us on the machine it was written on
