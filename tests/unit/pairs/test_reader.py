"""Random access to shards: the same pairs as the strict reader's, by number."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from cocu.errors import DataError
from cocu.pairs import reader, shards

SAMPLES = [(f"{i:07d}", bytes([i]) * (300 + 400 * i), f"a photo of étoile {i}") for i in range(4)]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "00003.tar"
    shards.write_shard(path, SAMPLES)
    return path


def test_pairs_across_shards_survive_pickling(shard: Path, tmp_path: Path) -> None:
    other = tmp_path / "00004.tar"
    shards.write_shard(other, [("z", b"last", "the end")])
    third = tmp_path / "00005.tar"
    shards.write_shard(third, [("x", b"after it", "more"), ("y", b"and on", "still more")])
    files = [shards.ShardFile(path, path.stem, n) for path, n in ((shard, 4), (other, 1), (third, 2))]
    pairs = reader.ShardReader(files, "web")
    expected = [p for f in files for p in shards.read_pairs(f.path, "web")]
    assert pairs.image(4) == b"last"
    assert pairs.keys(0) + pairs.keys(1) + pairs.keys(2) == [pair.key for pair in expected]
    copy = pickle.loads(pickle.dumps(pairs))
    assert [shards.Pair(copy.key(i), copy.image(i), copy.caption(i)) for i in range(len(copy))] == expected
    for i in (-1, 7):
        with pytest.raises(IndexError):
            pairs.key(i)


def test_few_files_are_held_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "OPEN_SHARDS", 2)
    files = []
    for i in range(4):
        shards.write_shard(tmp_path / f"{i}.tar", [("a", bytes([i]), "t")])
        files.append(shards.ShardFile(tmp_path / f"{i}.tar", str(i), 1))
    pairs = reader.ShardReader(files, "c")
    assert [pairs.image(i) for i in (0, 1, 2, 0, 3, 1)] == [bytes([i]) for i in (0, 1, 2, 0, 3, 1)]
    assert len(pairs._handles) == 2


def test_counts_that_differ_and_clashing_names_are_refused(shard: Path) -> None:
    with pytest.raises(DataError, match=r"00003\.tar holds 4 pairs, its manifest says 5"):
        reader.ShardReader([shards.ShardFile(shard, "00003", 5)], "web")
    with pytest.raises(DataError, match="same name"):
        reader.ShardReader([shards.ShardFile(shard, "00003", 4)] * 2, "web")
