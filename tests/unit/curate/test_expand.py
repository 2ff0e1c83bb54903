from __future__ import annotations

import numpy as np

from cocu.curate.expand import expand
from tests.unit.curate.plain import expansion, make_world


def test_union_of_the_neighbours_captions() -> None:
    world = make_world()
    near = np.random.default_rng(1).integers(0, 120, size=(50, 8))
    indptr, ids = expand(near, *world.csr(), 30)
    for i in range(50):
        assert ids[indptr[i] : indptr[i + 1]].tolist() == sorted(expansion(world, near[i]))


def test_neighbours_without_concepts_give_an_empty_row() -> None:
    indptr, ids = expand(np.array([[0, 1], [2, 2], [1, 0]]), np.array([0, 0, 0, 2]), np.array([5, 3], np.uint16), 6)
    assert indptr.tolist() == [0, 0, 2, 2]
    assert ids.tolist() == [3, 5]
    assert ids.dtype == np.uint16
