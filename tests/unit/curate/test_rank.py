from __future__ import annotations

import numpy as np
import pytest

from cocu.curate.rank import FLOOR, rank, similarities
from cocu.errors import NumericsError
from tests.unit.curate import plain


def ranked(world: plain.World, near: list[list[int]], anchors: list[int]) -> list[list[tuple[int, float]]]:
    from cocu.curate.expand import expand

    captions, neighbours = world.csr(), np.array(near, np.int64)
    rows = np.array(anchors, np.int64)
    indptr, ids = expand(neighbours, *captions, len(world.vocabulary))
    own = similarities(world.vocabulary, world.images[rows], indptr, ids)
    known = similarities(world.vocabulary, world.images, *captions)
    ids, scores = rank(rows, neighbours, (indptr, ids, own), (*captions, known), len(world.vocabulary))
    assert scores.dtype == np.float32
    pairs = list(zip(ids.tolist(), scores.tolist(), strict=True))
    return [pairs[indptr[i] : indptr[i + 1]] for i in range(len(rows))]


@pytest.mark.parametrize("exclude_self", [True, False])
def test_equals_the_plain_loop(exclude_self: bool) -> None:
    world = plain.make_world()
    anchors = list(range(len(world.images)))
    near = [plain.neighbours(world, i, 8, exclude_self) for i in anchors]
    for i, found in enumerate(ranked(world, near, anchors)):
        expected = plain.ranking(world, i, near[i])
        assert [c for c, _ in found] == [c for c, _ in expected], i
        assert np.allclose([s for _, s in found], [s for _, s in expected], rtol=0, atol=2e-6), i


def small(similarity: list[list[float]], captions: list[list[int]]) -> plain.World:
    """A world with given <t_c, v_j>: image j's row is column j of `similarity` (C, n), concepts are unit axes."""
    return plain.World(np.array(similarity, np.float32).T.copy(), np.eye(len(similarity), dtype=np.float32), captions)


def test_the_equation_by_hand() -> None:
    # two concepts; neighbours 1 and 2 of anchor 0; caption 1 names both concepts, caption 2 the second
    world = small([[0.2, 0.4, 0.9], [0.3, 0.1, 0.5]], [[], [0, 1], [1]])
    ((first, second),) = ranked(world, [[1, 2]], [0])
    assert first == (1, pytest.approx(0.3 / ((0.3 + 0.1 + 0.5) / 3) + 0.3 / 0.5, abs=1e-6))
    assert second == (0, pytest.approx(0.2 / ((0.2 + 0.4) / 2) + 0.2 / 0.5, abs=1e-6))


def test_the_anchor_counts_once_though_it_is_its_own_neighbour() -> None:
    world = small([[0.2, 0.4]], [[0], [0]])
    (((_, score),),) = ranked(world, [[0, 1]], [0])
    assert score == pytest.approx(0.2 / 0.3 + 0.2 / 0.4, abs=1e-6)


def test_denominators_near_zero_and_below_it() -> None:
    world = small([[0.1, -0.3], [-0.2, -0.3], [0.02, -0.01]], [[], [0, 1, 2]])
    (found,) = ranked(world, [[1]], [0])
    assert found == [
        (0, pytest.approx(0.1 / FLOOR + 0.1 / 0.1, abs=1e-5)),
        (2, pytest.approx(0.02 / FLOOR + 0.02 / 0.1, abs=1e-5)),
        (1, pytest.approx(-0.2 / FLOOR - 0.2 / 0.1, abs=1e-5)),
    ]


def test_a_maximum_below_the_floor_counts_as_it() -> None:
    world = small([[0.02, -0.01], [0.01, 0.04]], [[], [0, 1]])
    (found,) = ranked(world, [[1]], [0])
    assert found == [
        (0, pytest.approx(0.02 / FLOOR + 0.02 / FLOOR, abs=1e-5)),
        (1, pytest.approx(0.01 / FLOOR + 0.01 / FLOOR, abs=1e-5)),
    ]


def test_what_is_known_of_an_image_is_taken_over() -> None:
    world = plain.make_world()
    indptr, ids = world.csr()
    known = np.full(ids.size, 7, np.float32)  # nothing that a product of unit rows could give
    named = int(np.flatnonzero(np.diff(indptr))[3])
    images, every = world.images[[named, 5]], np.arange(len(world.vocabulary), dtype=np.uint16)
    lists = np.array([0, every.size, 2 * every.size])
    found = similarities(
        world.vocabulary, images, lists, np.tile(every, 2), (np.array([named, -1]), indptr, ids, known)
    )
    inside, outside = found.reshape(2, -1)
    assert set(np.flatnonzero(inside == 7).tolist()) == set(ids[indptr[named] : indptr[named + 1]].tolist())
    assert (inside == 7).any() and not (outside == 7).any()
    expected = world.vocabulary @ images.T
    assert np.allclose(inside[inside != 7], expected[inside != 7, 0], rtol=0, atol=1e-6)
    assert np.allclose(outside, expected[:, 1], rtol=0, atol=1e-6)


def test_the_first_image_of_the_pool_is_known_as_well() -> None:
    world = small([[0.2, 0.4]], [[0], [0]])
    known, one = np.array([7, 9], np.float32), (np.array([0, 1]), np.array([0], np.uint16))
    for row, expected in ((0, 7), (1, 9), (-1, 0.2)):
        found = similarities(world.vocabulary, world.images[:1], *one, (np.array([row]), *world.csr(), known))
        assert found.tolist() == [np.float32(expected)]


def test_similarities_are_summed_in_float64() -> None:
    rng = np.random.default_rng(4)
    vocabulary, images = (plain.unit(rng.normal(size=(n, 512))).astype(np.float32) for n in (50, 40))
    exact = (np.float64(images) @ np.float64(vocabulary).T).astype(np.float32)
    lists = np.arange(0, 50 * 41, 50)
    found = similarities(vocabulary, images, lists, np.tile(np.arange(50, dtype=np.uint16), 40)).reshape(40, 50)
    assert (found == exact).mean() > 0.999  # a sum in another order may round the other way


def test_equal_scores_by_rising_id() -> None:
    world = plain.make_world()
    same = plain.World(world.images, np.repeat(world.vocabulary[:1], 30, axis=0), [[9, 4, 25, 1]] * 120)
    (found,) = ranked(same, [[3, 4]], [8])
    assert [c for c, _ in found] == [1, 4, 9, 25]


def test_thousands_of_concepts_and_none() -> None:
    rng = np.random.default_rng(0)
    vocabulary = plain.unit(rng.normal(size=(2_000, 16)) + 0.5).astype(np.float32)
    images = plain.unit(rng.normal(size=(3, 16)) + 0.5).astype(np.float32)
    world = plain.World(images, vocabulary, [[], list(range(2_000)), []])
    many, none = ranked(world, [[1, 2], [0, 2]], [0, 1])
    assert none == []
    scores = [s for _, s in many]
    assert sorted(c for c, _ in many) == list(range(2_000))
    assert scores == sorted(scores, reverse=True)


def test_widths_must_agree() -> None:
    rows = np.ones((2, 3), np.float32)
    with pytest.raises(NumericsError, match="3 dimensions and the images in 2"):
        similarities(rows, np.ones((1, 2), np.float32), np.array([0, 1]), np.array([0], np.uint16))
