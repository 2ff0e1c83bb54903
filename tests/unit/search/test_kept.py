"""Neighbours that are kept: those of a search from nothing, whatever the pool was when the earlier ones were found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cocu.config import Search
from cocu.device import CPU
from cocu.search import engine, kept
from cocu.search.engine import make_engine
from cocu.search.kept import Neighbours
from tests.unit.curate.plain import unit

K = 6
RNG = np.random.default_rng(3)
THEMES = RNG.normal(size=(12, 32))
SIZES = {"a": 90, "b": 4, "c": 130, "d": 70}
PARTS = {
    name: unit(THEMES[RNG.integers(12, size=n)] + 0.7 * RNG.normal(size=(n, 32))).astype(np.float16)
    for name, n in SIZES.items()
}
for name in ("b", "c", "d"):
    PARTS[name][:3] = PARTS["a"][5]  # equal scores in every part


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of the pool that each exact search went through."""
    rows: list[int] = []
    whole = engine.search

    def counted(queries: Any, parts: Sequence[Any], k: int, exclude: Any) -> Any:
        rows.append(sum(map(len, parts)))
        return whole(queries, parts, k, exclude)

    monkeypatch.setattr(engine, "search", counted)
    return rows


def of(folder: Path, names: str, index: str = "exact", k: int = K, **sha256: str) -> Neighbours:
    """The pool of the parts with these one-letter names, in their order."""
    made = make_engine([PARTS[name] for name in names], Search(neighbours=k, index=index), CPU, 1)  # type: ignore[arg-type]
    return Neighbours(folder, made, list(names), [sha256.get(name, name) for name in names])


def find(found: Neighbours, shard: str, exclude: bool = True) -> np.ndarray:
    start = sum(SIZES[name] for name in found.names[: found.names.index(shard)])
    anchors = np.arange(start, start + SIZES[shard]) if exclude else None
    return found.find(shard, found.sha256[found.names.index(shard)], PARTS[shard].astype(np.float32), anchors)


@pytest.mark.parametrize("exclude", [True, False])
@pytest.mark.parametrize(
    ("before", "after"), [("ac", "acd"), ("cd", "acd"), ("ad", "abcd"), ("c", "abcd"), ("a", "ab")]
)
def test_a_pool_that_has_grown_is_searched_where_it_is_new(
    tmp_path: Path, searched: list[int], before: str, after: str, exclude: bool
) -> None:
    first = of(tmp_path / "kept", before)
    for shard in before:
        find(first, shard, exclude)
    searched.clear()
    grown, anew = of(tmp_path / "kept", after), of(tmp_path / "anew", after)
    fresh = sum(SIZES[name] for name in set(after) - set(before))
    for shard in before:
        assert np.array_equal(find(grown, shard, exclude), find(anew, shard, exclude)), shard
        assert searched == [fresh, sum(SIZES[name] for name in after)]
        searched.clear()
        assert np.array_equal(find(grown, shard, exclude), find(anew, shard, exclude))
        assert searched == []


@pytest.mark.parametrize("why", ["a part is gone", "a part changed", "the images changed", "k", "self", "code", "file"])
def test_what_decides_more_than_growth_is_searched_anew(
    tmp_path: Path, searched: list[int], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find(of(tmp_path, "acd"), "c")
    searched.clear()
    if why == "code":
        monkeypatch.setattr(kept, "code_fingerprint", lambda module: "another")
    elif why == "file":
        (tmp_path / "c.npz").write_bytes((tmp_path / "c.npz").read_bytes()[:200])
    now = {
        "a part is gone": lambda: of(tmp_path, "ac"),
        "a part changed": lambda: of(tmp_path, "acd", a="other"),
        "the images changed": lambda: of(tmp_path, "acd", c="other"),
        "k": lambda: of(tmp_path, "acd", k=K + 1),
    }.get(why, lambda: of(tmp_path, "acd"))()
    find(now, "c", exclude=why != "self")
    assert searched == [sum(SIZES[name] for name in now.names)]


def test_an_index_that_approximates_is_asked_each_time(tmp_path: Path) -> None:
    found = of(tmp_path, "acd", index="lists")
    assert np.array_equal(find(found, "c"), find(found, "c"))
    assert not list(tmp_path.iterdir())


def test_what_is_kept_of_other_shards_is_deleted(tmp_path: Path) -> None:
    found = of(tmp_path, "acd")
    for shard in "acd":
        find(found, shard)
    found.forget_others(["a", "d"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "d.npz"]
