from __future__ import annotations

import numpy as np
import pytest

from cocu.errors import DataError, NumericsError
from cocu.search import exact as module
from cocu.search.exact import search
from tests.unit.curate.plain import unit

RNG = np.random.default_rng(5)
POOL = unit(RNG.normal(size=(700, 48))).astype(np.float16)
QUERIES = unit(RNG.normal(size=(90, 48))).astype(np.float32)


def test_equals_faiss() -> None:
    faiss = pytest.importorskip("faiss")
    flat = faiss.IndexFlatIP(48)
    flat.add(POOL.astype(np.float32))
    expected_scores, expected = flat.search(QUERIES, 8)
    scores, rows = search(QUERIES, POOL, 8, None)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-6)


def test_blocks_and_parts_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = search(QUERIES, POOL, 8, None)
    monkeypatch.setattr(module, "QUERY_ROWS", 7)
    monkeypatch.setattr(module, "POOL_ROWS", 13)
    parts = search(QUERIES, [POOL[:5], POOL[5:400], POOL[400:]], 8, None)
    np.testing.assert_array_equal(whole[0], parts[0])
    np.testing.assert_array_equal(whole[1], parts[1])


def test_equal_scores_give_the_smaller_rows() -> None:
    pool = np.repeat(POOL[:3], 100, axis=0)[RNG.permutation(300)]
    scores, rows = search(pool[:20], pool, 30, None)
    for i in range(20):
        same = np.flatnonzero((pool == pool[i]).all(axis=1))
        np.testing.assert_array_equal(rows[i], same[:30])
        assert (scores[i] == scores[i, 0]).all()


def test_nearly_equal_scores_are_in_exact_order() -> None:
    # the float32 products of these rows differ from the exact ones by more than the rows differ from each other
    base = unit(RNG.normal(size=(1, 2000)))
    pool = (base + 3e-8 * RNG.normal(size=(400, 2000))).astype(np.float32)
    query = base.astype(np.float32)
    exact = (np.float64(pool) @ np.float64(query[0])).astype(np.float32)
    expected = np.lexsort((np.arange(400), -exact))[:10]
    np.testing.assert_array_equal(search(query, pool, 10, None)[1][0], expected)


@pytest.mark.parametrize(("query_length", "row_length"), [(1.0, 1.0), (2.0**20, 1.0), (1.0, 2.0**20)])
def test_the_margin_covers_rounding_whatever_the_lengths(query_length: float, row_length: float) -> None:
    # rows orthogonal to the query: their products are of the size of the GEMM's rounding, which hides their order
    query = unit(RNG.normal(size=(1, 300))).astype(np.float32)
    pool = RNG.normal(size=(600, 300))
    pool = unit(pool - (pool @ query[0].astype(np.float64))[:, None] * query).astype(np.float32)
    query, pool = query * np.float32(query_length), pool * np.float32(row_length)
    exact = (np.float64(pool) @ np.float64(query[0])).astype(np.float32)
    scores, rows = search(query, pool, 10, None)
    np.testing.assert_array_equal(rows[0], np.lexsort((np.arange(600), -exact))[:10])
    np.testing.assert_allclose(scores[0], exact[rows[0]], rtol=1e-6)


def test_the_excluded_row_is_not_found() -> None:
    anchors = np.arange(90, dtype=np.int64)
    anchors[4] = -1
    _, rows = search(POOL[:90], POOL, 3, anchors)
    found_itself = (rows == np.arange(90)[:, None]).any(axis=1)
    assert np.flatnonzero(found_itself).tolist() == [4]


def test_all_rows_may_be_asked_for_and_no_more() -> None:
    _, rows = search(QUERIES[:2], POOL[:4], 3, np.array([0, 3]))
    assert [sorted(r) for r in rows.tolist()] == [[1, 2, 3], [0, 1, 2]]
    with pytest.raises(DataError, match=r"4 neighbours.*4 images, the anchor excluded"):
        search(QUERIES[:2], POOL[:4], 4, np.array([0, 3]))
    with pytest.raises(DataError, match=r"5 neighbours.*4 images\."):
        search(QUERIES[:2], POOL[:4], 5, None)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_row_that_is_not_finite_is_named(value: float) -> None:
    bad = POOL.astype(np.float32)
    bad[600, 3] = value
    with pytest.raises(NumericsError, match="pool row 600"):
        search(QUERIES, bad, 2, None)
    with pytest.raises(NumericsError, match="query row 600"):
        search(bad, POOL, 2, None)


def test_widths_must_agree() -> None:
    with pytest.raises(NumericsError, match="48 dimensions and the pool 47"):
        search(QUERIES, POOL[:, 1:], 2, None)
