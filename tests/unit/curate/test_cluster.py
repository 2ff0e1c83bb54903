from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from cocu.curate.cluster import _ward, cluster
from tests.unit.curate.plain import inertia, unit

RNG = np.random.default_rng(3)
THEMES = RNG.normal(size=(40, 64))
# ten concepts a theme, as related words are: a poor start ends in a poor optimum here
VOCABULARY = unit(np.repeat(THEMES, 10, axis=0) + 0.5 * RNG.normal(size=(400, 64)) + 1.0).astype(np.float32)
# unrelated concepts: Ward's partition alone is often not the best
LOOSE = unit(RNG.normal(size=(400, 8))).astype(np.float32)


def rows(lengths: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Archives of concepts from a few themes."""
    rng = np.random.default_rng(len(lengths))
    ids = np.concatenate([rng.integers(37) * 10 + rng.choice(40, size=n, replace=False) for n in lengths])
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), ids.astype(np.uint16)


def test_number_of_clusters_and_first_occurrence() -> None:
    indptr, ids = rows(list(range(21)))
    labels = cluster(LOOSE, indptr, ids)
    for n in range(21):
        row = labels[indptr[n] : indptr[n + 1]].tolist()
        assert sorted(set(row)) == list(range((n + 1) // 2 if n > 2 else min(n, 1)))
        assert list(dict.fromkeys(row)) == sorted(set(row))


def test_inertia_against_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.cluster")
    indptr, ids = rows([*range(3, 18)] * 4)
    labels, ours, theirs = cluster(VOCABULARY, indptr, ids), 0.0, 0.0
    for start, end in pairwise(indptr):
        points = VOCABULARY[ids[start:end]].astype(np.float64)
        ours += inertia(points, labels[start:end])
        theirs += sklearn.KMeans((len(points) + 1) // 2, n_init=10, random_state=0).fit(points).inertia_
    assert ours <= 1.005 * theirs


@pytest.mark.parametrize("concepts", [LOOSE, VOCABULARY])
@pytest.mark.parametrize(("n", "k"), [(5, 3), (12, 6), (25, 4), (40, 2)])
def test_the_start_is_wards_partition(concepts: np.ndarray, n: int, k: int) -> None:
    hierarchy = pytest.importorskip("scipy.cluster.hierarchy")
    for seed in range(20):
        points = concepts[np.random.default_rng(seed).choice(400, n, replace=False)].astype(np.float64)
        label = np.empty(n, np.int64)
        _ward(points @ points.T, k, label)
        theirs = hierarchy.fcluster(hierarchy.linkage(points, "ward"), k, "maxclust")
        np.testing.assert_array_equal(label[:, None] == label, theirs[:, None] == theirs)


def assert_no_single_move_helps(points: np.ndarray, labels: np.ndarray) -> None:
    best, k = inertia(points, labels), len(set(labels.tolist()))
    for i in range(len(points)):
        for cluster_of_i in range(k):
            moved = labels.copy()
            moved[i] = cluster_of_i
            assert len(set(moved.tolist())) < k or inertia(points, moved) >= best - 1e-8


def test_no_single_move_helps() -> None:
    indptr, ids = rows([24] * 12)
    labels = cluster(LOOSE, indptr, ids)
    for start, end in pairwise(indptr):
        assert_no_single_move_helps(LOOSE[ids[start:end]].astype(np.float64), labels[start:end])


@pytest.mark.parametrize("seed", [938, 1186])
def test_a_move_that_gains_little_is_made(seed: int) -> None:
    # the last move lowers the inertia of these rows by less than 0.0001
    ids = np.random.default_rng(seed).choice(400, 12, replace=False).astype(np.uint16)
    labels = cluster(LOOSE, np.array([0, 12]), ids)
    assert_no_single_move_helps(LOOSE[ids].astype(np.float64), labels)


def test_a_row_does_not_depend_on_the_others() -> None:
    indptr, ids = rows([9, 5, 12])
    labels = cluster(VOCABULARY, indptr, ids)
    alone = cluster(VOCABULARY, np.array([0, 12]), ids[14:])
    np.testing.assert_array_equal(labels[14:], alone)


def test_equal_concepts_leave_no_cluster_empty() -> None:
    same = np.repeat(VOCABULARY[:1], 9, axis=0)
    labels = cluster(same, np.array([0, 9]), np.arange(9, dtype=np.uint16))
    assert set(labels.tolist()) == set(range(5))
