from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from cocu.curate.sample import sample
from cocu.pairs.tables import Archive

CONCEPTS = np.array([40, 7, 12, 3, 65_000], np.uint16)
SCORES = np.array([2.0, 1.5, 1.0, 0.5, -1.0], np.float32)
CLUSTERS = np.array([0, 1, 0, 2, 1], np.uint16)


def draw(
    sampling: Any,
    count: int = 3,
    *,
    n: int = 1,
    size: int = 5,
    temperature: float = 1.0,
    replacement: bool = True,
    seed: int = 0,
) -> np.ndarray:
    """(n, count) from a row with the first `size` of the concepts, which is the second row of an archive."""
    columns = (np.append(column[:1], column[:size]) for column in (CONCEPTS, SCORES, CLUSTERS))
    archive = Archive(np.array([0, 1, 1 + size]), *columns)
    draws = np.random.default_rng(seed).random((n, 2 * count))
    found = sample(
        archive, np.ones(n, np.int64), draws, sampling=sampling, temperature=temperature, replacement=replacement
    )
    assert found.dtype == np.int64
    return found


def softmax(values: np.ndarray, temperature: float) -> np.ndarray:
    weights = np.exp(values.astype(float) / temperature)
    return weights / weights.sum()


def assert_shares(found: np.ndarray, expected: dict[int, float]) -> None:
    seen, n = Counter(found.ravel().tolist()), found.size
    assert seen.keys() <= expected.keys()
    for concept, p in expected.items():
        assert seen[concept] / n == pytest.approx(p, abs=4.5 * np.sqrt(p * (1 - p) / n)), concept


def test_cluster_probabilities() -> None:
    temperature, expected = 0.5, {}
    between = softmax(np.array([1.5, 0.25, 0.5]), temperature)
    for k in range(3):
        within = softmax(SCORES[k == CLUSTERS], temperature)
        expected |= {int(c): between[k] * w for c, w in zip(CONCEPTS[k == CLUSTERS], within, strict=True)}
    assert_shares(draw("cluster", n=7_000, temperature=temperature), expected)


def test_softmax_and_uniform_probabilities() -> None:
    expected = dict(zip(CONCEPTS.tolist(), softmax(SCORES, 0.7), strict=True))
    assert_shares(draw("softmax", n=7_000, temperature=0.7), expected)
    assert_shares(draw("uniform", n=7_000), dict.fromkeys(CONCEPTS.tolist(), 0.2))


@pytest.mark.parametrize("sampling", ["cluster", "softmax", "uniform"])
def test_without_replacement_none_comes_twice(sampling: str) -> None:
    for row in draw(sampling, 5, n=50, replacement=False).tolist():
        assert sorted(row) == sorted(CONCEPTS.tolist())
    assert sorted(draw(sampling, 4, size=2, replacement=False)[0].tolist()) == [-1, -1, 7, 40]


def test_the_second_draw_is_from_what_is_left() -> None:
    found = draw("softmax", 2, n=20_000, size=3, replacement=False)
    after_the_first = found[found[:, 0] == 40, 1]
    left = softmax(SCORES[1:3], 1.0)
    assert_shares(after_the_first, {7: left[0], 12: left[1]})


def test_top_is_the_first_and_pads() -> None:
    assert draw("top").tolist() == [[40, 7, 12]]
    assert draw("top", size=2).tolist() == [[40, 7, -1]]


@pytest.mark.parametrize("sampling", ["cluster", "top", "softmax", "uniform"])
def test_empty_and_single_rows(sampling: str) -> None:
    assert draw(sampling, size=0).tolist() == [[-1, -1, -1]]
    assert draw(sampling, size=1, replacement=False).tolist() == [[40, -1, -1]]


def test_a_cold_temperature_takes_the_best_without_overflow() -> None:
    assert draw("cluster", temperature=1e-4).tolist() == [[40, 40, 40]]
    assert draw("softmax", 5, temperature=1e-4, replacement=False).tolist() == [CONCEPTS.tolist()]


def test_a_row_does_not_depend_on_its_batch() -> None:
    together, first = draw("cluster", n=40, seed=3), draw("cluster", n=10, seed=3)
    np.testing.assert_array_equal(together[:10], first)
