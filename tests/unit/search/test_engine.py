from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import pytest
import torch

from cocu.config import Search
from cocu.device import CPU
from cocu.errors import DataError, EnvironmentFault, NumericsError
from cocu.search import device as device_search
from cocu.search import lists
from cocu.search.device import search_on
from cocu.search.engine import EXACT_ROWS, choose, lists_for, make_engine, recall
from cocu.search.exact import search
from tests.unit.curate.plain import unit

RNG = np.random.default_rng(8)
THEMES = RNG.normal(size=(30, 48))
POOL = unit(THEMES[RNG.integers(30, size=1500)] + 0.8 * RNG.normal(size=(1500, 48))).astype(np.float16)
POOL[700:720] = POOL[3]  # ties, more than k of them
PARTS = [POOL[:5], POOL[5:900], POOL[900:]]
QUERIES = unit(RNG.normal(size=(60, 48)) + THEMES[RNG.integers(30, size=60)]).astype(np.float32)
ANCHORS = np.arange(1500, dtype=np.int64)


def engine(index: Any, threads: int = 1, **settings: Any) -> Any:
    return make_engine(PARTS, Search(neighbours=6, index=index, **settings), CPU, threads)


@pytest.mark.parametrize(
    ("index", "pool", "device", "kind"),
    [
        ("auto", EXACT_ROWS, "cpu", "exact"),
        ("auto", EXACT_ROWS + 1, "cpu", "lists"),
        ("auto", EXACT_ROWS + 1, "cuda", "device"),
        ("auto", 29_000_000, "cuda", "device"),
        ("exact", 29_000_000, "cpu", "exact"),
        ("exact", 10, "cuda", "device"),
        ("ivf", 10, "cuda", "ivf"),
        ("flat", 10, "cpu", "flat"),
    ],
)
def test_sizes_choose(index: str, pool: int, device: str, kind: str) -> None:
    assert choose(index, pool, device) == kind


def test_number_of_lists() -> None:
    assert [lists_for(200_000, 0), lists_for(200_000, 77), lists_for(50, 77), lists_for(10**9, 0)] == [
        1789, 77, 50, 65_536
    ]  # fmt: skip


@pytest.mark.parametrize("exclude", [None, ANCHORS])
@pytest.mark.parametrize("index", ["flat", "ivf", "lists"])
def test_every_list_probed_equals_exact(index: str, exclude: np.ndarray | None) -> None:
    found = engine(index, nlist=20, nprobe=20).search(POOL, exclude)
    exact = search(POOL, PARTS, 6, exclude)
    np.testing.assert_array_equal(found[0], exact[0])
    # twenty equal rows are one tie, of which these return any at the last places
    untied = np.setdiff1d(ANCHORS, [3, *range(700, 720)])
    assert recall(found[1][untied], exact[1][untied]) > 0.999


def test_lists_and_faiss_find_the_same_where_both_probe_the_same() -> None:
    ours, theirs = (engine(index, nlist=200, nprobe=1) for index in ("lists", "ivf"))
    assert ours.facts["recall"] == pytest.approx(theirs.facts["recall"], abs=0.002)  # ties, as above
    assert 0.5 < ours.facts["recall"] < 0.999
    assert (ours.facts["nlist"], ours.facts["nprobe"], ours.facts["recall_queries"]) == (200, 1, 256)
    np.testing.assert_array_equal(ours.search(QUERIES, None)[0], theirs.search(QUERIES, None)[0])


@pytest.mark.parametrize("index", ["ivf", "lists"])
def test_too_few_in_the_lists_are_searched_exactly(index: str) -> None:
    found = engine(index, nlist=700, nprobe=1)
    exact = search(QUERIES, PARTS, 6, None)[1]
    rows = found.search(QUERIES, None)[1]
    assert rows.min() >= 0
    assert (rows == exact).all(1).sum() > 20  # lists of two rows have no six neighbours
    alone = found.search(POOL[:90], ANCHORS[:90])[1]
    exact = search(POOL[:90], PARTS, 6, ANCHORS[:90])[1]
    assert not (alone == ANCHORS[:90, None]).any()
    assert (alone == exact).all(1).sum() > 40


@pytest.mark.parametrize(("queries", "exclude"), [(QUERIES, None), (POOL[:60], ANCHORS[:60])])
def test_blocks_and_threads_change_no_row(
    monkeypatch: pytest.MonkeyPatch, queries: np.ndarray, exclude: np.ndarray | None
) -> None:
    whole = engine("lists", nlist=40, nprobe=4).search(queries, exclude)
    monkeypatch.setattr(lists, "QUERY_ROWS", 7)
    monkeypatch.setattr(lists, "POOL_ROWS", 64)
    for one, other in zip(whole, engine("lists", 2, nlist=40, nprobe=4).search(queries, exclude), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("exclude", [None, ANCHORS])
def test_device_search_equals_exact(monkeypatch: pytest.MonkeyPatch, exclude: np.ndarray | None) -> None:
    monkeypatch.setattr(device_search, "QUERY_ROWS", 400)
    monkeypatch.setattr(device_search, "POOL_ROWS", 130)
    found, exact = search_on(CPU, POOL, PARTS, 6, exclude), search(POOL, PARTS, 6, exclude)
    np.testing.assert_array_equal(found[0], exact[0])
    np.testing.assert_array_equal(found[1], exact[1])


@pytest.mark.parametrize("k", [6, 40])
def test_device_search_has_candidates_enough_for_any_k(k: int) -> None:
    found, exact = search_on(CPU, QUERIES, PARTS, k, None), search(QUERIES, PARTS, k, None)
    np.testing.assert_array_equal(found[0], exact[0])
    np.testing.assert_array_equal(found[1], exact[1])


def test_device_search_may_ask_for_all_rows_but_the_excluded_one() -> None:
    rows = search_on(CPU, POOL[:8], [POOL[:5], POOL[5:8]], 7, ANCHORS[:8])[1]
    assert [sorted(row) for row in rows.tolist()] == [[j for j in range(8) if j != i] for i in range(8)]


def test_errors_are_those_of_the_exact_search() -> None:
    bad = QUERIES.copy()
    bad[4, 1] = np.nan
    for find in (engine("ivf").search, engine("lists").search, lambda q, e: search_on(CPU, q, PARTS, 6, e)):
        with pytest.raises(NumericsError, match="query row 4"):
            find(bad, None)
        with pytest.raises(NumericsError, match="47 dimensions"):
            find(QUERIES[:, 1:], None)
    with pytest.raises(DataError, match="9 neighbours are asked for, and the pool has 8"):
        search_on(CPU, QUERIES, [POOL[:8]], 9, None)


def test_recall_by_hand() -> None:
    assert recall(np.array([[1, 2], [3, 4]]), np.array([[2, 5], [4, 3]])) == 0.75


class OnGpu:
    """A faiss index that says it is on a GPU, and counts what comes to it there."""

    def __init__(self, number: int, index: Any) -> None:
        self.number, self.index, self.before, self.added, self.asked = number, index, index.ntotal, 0, 0

    def add(self, rows: np.ndarray) -> None:
        self.added += len(rows)
        self.index.add(rows)

    def search(self, queries: np.ndarray, k: int) -> Any:
        self.asked += len(queries)
        return self.index.search(queries, k)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> list[OnGpu]:
    """faiss as where it has GPU support; the indices that it was asked to put on a GPU."""
    moved: list[OnGpu] = []

    def index_cpu_to_gpu(_: object, number: int, index: Any) -> OnGpu:
        moved.append(OnGpu(number, index))
        return moved[-1]

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 2)
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", index_cpu_to_gpu, raising=False)
    return moved


@pytest.mark.parametrize("index", ["flat", "ivf"])
def test_faiss_builds_and_searches_on_the_gpu_that_the_device_names(gpu: list[OnGpu], index: Any) -> None:
    settings = Search(neighbours=6, index=index, nlist=20, nprobe=700)
    found = make_engine(PARTS, settings, torch.device("cuda", 1), 1)
    one = gpu.pop()
    assert not gpu and found.index is one and found.facts["device"] == "cuda"
    assert (one.number, one.before, one.added, one.asked) == (1, 0, 1500, 256)
    assert index == "flat" or one.index.nprobe == 20
    on_cpu = engine(index, nlist=20, nprobe=700)
    assert on_cpu.facts == {**found.facts, "device": "cpu"} and not gpu
    for a, b in zip(found.search(POOL, ANCHORS), on_cpu.search(POOL, ANCHORS), strict=True):
        np.testing.assert_array_equal(a, b)


def test_faiss_stays_on_the_cpu_where_it_cannot_do_otherwise(
    gpu: list[OnGpu], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cuda = torch.device("cuda")
    assert [lists.faiss_device(cuda, k, nprobe) for k, nprobe in ((1023, 1), (8, 2048))] == [cuda, cuda]
    assert lists.faiss_device(CPU, 5000, 5000) == CPU
    assert capsys.readouterr().err == ""
    assert lists.faiss_device(cuda, 1024, 1) == CPU
    said = (
        "faiss searches on the CPU: on a GPU it finds at most 1,023 neighbours, and curate.search.neighbours is 1,024."
    )
    assert said in capsys.readouterr().err
    assert lists.faiss_device(cuda, 8, 2049) == CPU
    assert "at most 2,048 lists, and curate.search.nprobe is 2,049." in capsys.readouterr().err
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    assert make_engine(PARTS, Search(neighbours=6, index="flat"), cuda, 1).facts["device"] == "cpu"
    assert "the faiss that is installed uses no GPU; run `pip install 'cocu[gpu]'`" in capsys.readouterr().err
    assert not gpu


def test_a_pool_that_a_gpu_does_not_hold(gpu: list[OnGpu], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("Error in virtual void* faiss::gpu::allocMemory\nout of memory")

    monkeypatch.setattr(OnGpu, "add", fails)
    said = r"the pool's 1,500 vectors of 48 numbers on the GPU \(out of memory\)\. Set curate\.search\.index to lists"
    with pytest.raises(EnvironmentFault, match=said):
        make_engine(PARTS, Search(neighbours=6, index="flat"), torch.device("cuda"), 1)


@pytest.mark.skipif(not torch.cuda.is_available() or not faiss.get_num_gpus(), reason="faiss sees no GPU here")
@pytest.mark.parametrize("index", ["flat", "ivf"])
def test_faiss_on_a_gpu_equals_exact(index: Any) -> None:
    found = make_engine(PARTS, Search(neighbours=6, index=index, nlist=20, nprobe=20), torch.device("cuda", 0), 1)
    assert found.facts["device"] == "cuda"
    exact = search(POOL, PARTS, 6, ANCHORS)
    np.testing.assert_array_equal(found.search(POOL, ANCHORS)[0], exact[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_device_search_on_a_gpu() -> None:
    found, exact = search_on(torch.device("cuda"), POOL, PARTS, 6, ANCHORS), search(POOL, PARTS, 6, ANCHORS)
    np.testing.assert_array_equal(found[1], exact[1])
