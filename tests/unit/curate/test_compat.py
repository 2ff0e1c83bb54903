from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from cocu.curate.compat import contained, substrings
from cocu.curate.expand import expand
from cocu.curate.rank import FLOOR, RELEASED, rank, similarities
from tests.unit.curate import plain

NAMES = ["man", "woman", "car", "carpet", "pet", "woman car", "o", "tree"]


def rows(csr: tuple[np.ndarray, np.ndarray]) -> list[list[int]]:
    indptr, ids = csr
    return [ids[a:b].tolist() for a, b in pairwise(indptr)]


def test_substrings_are_those_of_python() -> None:
    assert rows(substrings(NAMES)) == [[c for c, name in enumerate(NAMES) if name in whole] for whole in NAMES]


def test_contained_is_the_substring_test_on_the_joined_list() -> None:
    captions = [[], [1, 3], [5], [7, 1]]
    indptr = np.array([0, 0, 2, 3, 5], np.int64)
    found = rows(
        contained((indptr, np.array([c for row in captions for c in row], np.uint16)), substrings(NAMES), len(NAMES))
    )
    for row, caption in zip(found, captions, strict=True):
        joined = ", ".join(NAMES[c] for c in caption)
        assert row == [c for c, name in enumerate(NAMES) if name in joined]


@pytest.mark.parametrize(
    ("anchor", "neighbour", "score"),
    [
        (0.2, 0.4, 0.2 / 0.4 + 0.2 / 0.3),
        (0.02, 0.01, 0.02 / 0.02 + 0.02 / 0.015),  # no floor under either
        (0.2, -0.2, 0.2 / 0.2 + 0.2 / FLOOR),  # a mean of zero counts as the floor
        (-0.2, -0.4, -0.2 / FLOOR - 0.2 / -0.3),  # so does the maximum, which begins at zero
    ],
)
def test_divisors_of_the_released_counting_by_hand(anchor: float, neighbour: float, score: float) -> None:
    one = (np.array([0, 1]), np.array([0], np.uint16))
    own, known = (np.array([value], np.float32) for value in (anchor, neighbour))
    _, scores = rank(np.array([-1]), np.array([[0]]), (*one, own), (*one, known), 1, RELEASED)
    assert scores.tolist() == [pytest.approx(score, rel=1e-6)]


@pytest.mark.parametrize("exclude_self", [False, True])
def test_equals_the_plain_loop_of_the_released_counting(exclude_self: bool) -> None:
    world = plain.make_world()
    names = [NAMES[c] if c < len(NAMES) else f"{NAMES[c % 8]} {c}" for c in range(len(world.vocabulary))]
    anchors = np.arange(len(world.images))
    near = [plain.neighbours(world, i, 8, exclude_self) for i in anchors.tolist()]
    indptr, ids = expand(np.array(near), *world.csr(), len(names))
    closed = contained(world.csr(), substrings(names), len(names))
    known = similarities(world.vocabulary, world.images, *closed)
    own = similarities(world.vocabulary, world.images, indptr, ids)
    ranked, scores = rank(anchors, np.array(near), (indptr, ids, own), (*closed, known), len(names), RELEASED)
    differs = 0
    for i in anchors.tolist():
        expected = plain.released(world, names, i, near[i])
        span = slice(indptr[i], indptr[i + 1])
        assert ranked[span].tolist() == [c for c, _ in expected], i
        assert np.allclose(scores[span], [s for _, s in expected], rtol=1e-5, atol=2e-6), i
        differs += [c for c, _ in expected] != [c for c, _ in plain.ranking(world, i, near[i])]
    assert differs > 10  # the two readings are not the same
