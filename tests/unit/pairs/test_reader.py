"""Random access to shards: the same pairs as those read in order, by number."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from cocu.errors import DataError
from cocu.pairs import reader, shards
from cocu.pairs.index import read_pairs
from tests.unit.pairs.conftest import indexed

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
    files = [indexed(path, f"web/{path.stem}") for path in (shard, other, third)]
    pairs = reader.ShardReader(files)
    expected = [pair for file in files for pair in read_pairs(file)]
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
        files.append(indexed(tmp_path / f"{i}.tar", f"c/{i}"))
    pairs = reader.ShardReader(files)
    assert [pairs.image(i) for i in (0, 1, 2, 0, 3, 1)] == [bytes([i]) for i in (0, 1, 2, 0, 3, 1)]
    assert len(pairs._handles) == 2


def test_shards_of_one_name_in_two_sets_have_keys_of_their_own(tmp_path: Path) -> None:
    files = []
    for name in ("cc3m", "cc12m"):
        shards.write_shard(tmp_path / name / "00000.tar", [("a", name.encode(), f"of {name}")])
        files.append(indexed(tmp_path / name / "00000.tar", f"{name}/00000"))
    pairs = reader.ShardReader(files)
    found = [(pairs.key(i), pairs.image(i), pairs.caption(i)) for i in range(2)]
    assert found == [("cc3m/00000/a", b"cc3m", "of cc3m"), ("cc12m/00000/a", b"cc12m", "of cc12m")]


def test_a_shard_that_became_shorter_while_it_was_in_use_is_named(shard: Path) -> None:
    pairs = reader.ShardReader([indexed(shard, "web/00003")])
    shard.write_bytes(shard.read_bytes()[:600])
    with pytest.raises(DataError, match=r"00003\.tar is not a whole tar file: it became shorter"):
        pairs.image(0)
