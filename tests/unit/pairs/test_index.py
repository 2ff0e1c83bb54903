"""The saved index of a shard: what was found once is read back, and no tar is walked through again."""

from __future__ import annotations

import dataclasses
import os
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from cocu.errors import DataError
from cocu.pairs import shards
from cocu.pairs.index import read_captions, read_index, read_pairs, write_index
from cocu.pairs.reader import ShardReader
from cocu.pairs.shards import Pair, ShardFile, ShardIndex, index_shard, write_shard
from cocu.pairs.tables import write_table
from tests.unit.pairs.conftest import indexed

SAMPLES = [(f"{i:07d}", bytes([i]) * (3000 + 400 * i), f"a photo of étoile {i}") for i in range(4)]
KEYS = [f"web/00003/{name}" for name, _, _ in SAMPLES]


@pytest.fixture
def file(tmp_path: Path) -> ShardFile:
    write_shard(tmp_path / "00003.tar", SAMPLES)
    return indexed(tmp_path / "00003.tar", "web/00003")


@pytest.fixture
def empty(tmp_path: Path) -> ShardFile:
    """A shard that is set aside as a whole; its tar is gone."""
    write_index(tmp_path / "none.parquet", ShardIndex(pa.array([], pa.string()), np.zeros((0, 4), np.int64)))
    return ShardFile(tmp_path / "none.tar", "web/none", 0, 7, "", tmp_path / "none.parquet")


def test_an_index_is_read_back(file: ShardFile) -> None:
    index = read_index(file)
    assert index.names.to_pylist() == [name for name, _, _ in SAMPLES]
    assert index.spans.dtype == np.int64 and np.array_equal(index.spans, index_shard(file.path).spans)
    data = file.path.read_bytes()
    at, size, text_at, text_size = index.spans[2].tolist()
    assert (data[at : at + size], data[text_at : text_at + text_size].decode()) == SAMPLES[2][1:]


def test_the_same_shard_gives_the_same_bytes(file: ShardFile) -> None:
    before = file.index.read_bytes()
    file.index.unlink()
    assert indexed(file.path, file.shard) == file and file.index.read_bytes() == before


def test_pairs_come_back_in_order_with_their_keys(file: ShardFile) -> None:
    expected = [Pair(key, image, text) for key, (_, image, text) in zip(KEYS, SAMPLES, strict=True)]
    assert list(read_pairs(file)) == expected
    assert read_captions(file) == (KEYS, [text for _, _, text in SAMPLES])


def test_captions_are_read_without_the_images(file: ShardFile, monkeypatch: pytest.MonkeyPatch) -> None:
    read, pread = [], os.pread

    def counted(descriptor: int, size: int, offset: int) -> bytes:
        read.append((offset, size))
        return pread(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", counted)
    monkeypatch.setattr(shards, "index_shard", _refuse)
    monkeypatch.setattr(tarfile, "open", _refuse)
    read_captions(file)
    assert 0 < sum(size for _, size in read) < file.size / 10
    images = [(offset, offset + size) for offset, size, _, _ in read_index(file).spans.tolist()]
    assert not [span for span in read for begin, end in images if span[0] < end and sum(span) > begin]


def _refuse(*_: object, **__: object) -> None:
    raise AssertionError("a tar is walked through")


def test_a_reader_walks_through_no_tar(file: ShardFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "index_shard", _refuse)
    monkeypatch.setattr(tarfile, "open", _refuse)
    reader = ShardReader([file, file])
    assert (reader.key(6), reader.image(6), reader.caption(6)) == (KEYS[2], *SAMPLES[2][1:])
    assert reader.keys(1) == KEYS


def test_indexes_that_are_given_are_not_read(file: ShardFile) -> None:
    index = read_index(file)
    file.index.unlink()
    assert ShardReader([file], [index]).image(3) == SAMPLES[3][1]


@pytest.mark.parametrize("change", [-512, 512])
def test_a_tar_of_another_size_is_refused_by_name(file: ShardFile, change: int) -> None:
    os.truncate(file.path, file.size + change)
    for read in (read_index, read_captions, lambda shard: list(read_pairs(shard)), lambda shard: ShardReader([shard])):
        with pytest.raises(DataError, match=r"00003\.tar has [\d,]+ bytes, and had [\d,]+ when it was looked over"):
            read(file)


def test_a_tar_that_is_gone_is_named(file: ShardFile) -> None:
    file.path.unlink()
    with pytest.raises(DataError, match=r"Cannot read the shard \S+/00003\.tar: No such file"):
        read_captions(file)


def test_an_index_of_other_pairs_is_refused(file: ShardFile) -> None:
    with pytest.raises(DataError, match=r"00003\.parquet lists 4 pairs, and the manifest counts 5\. Run the corpus"):
        read_index(dataclasses.replace(file, samples=5))
    with pytest.raises(DataError, match=r"lists 4 pairs, and the manifest counts 0"):
        read_index(dataclasses.replace(file, samples=0))


def test_an_index_that_is_missing_or_none_is_named(file: ShardFile) -> None:
    write_table(file.index, pa.schema([("name", pa.string())]), {"name": ["a"] * 4})
    with pytest.raises(DataError, match=r"Cannot read \S+00003\.parquet"):
        read_index(file)
    file.index.unlink()
    with pytest.raises(DataError, match=r"Cannot read \S+00003\.parquet"):
        ShardReader([file])


def test_a_damaged_shard_has_no_pairs_and_its_tar_is_not_opened(file: ShardFile, empty: ShardFile) -> None:
    assert read_index(empty).spans.shape == (0, 4)
    assert read_captions(empty) == ([], []) and list(read_pairs(empty)) == []
    reader = ShardReader([empty, file, empty, file, empty])
    assert len(reader) == 8 and reader.keys(2) == []
    assert [reader.key(i) for i in range(8)] == KEYS * 2
    assert len(ShardReader([empty])) == len(ShardReader([])) == 0


def test_a_caption_that_is_not_utf8_names_its_key(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    write_shard(path, [("a", b"i", "xx")])
    path.write_bytes(path.read_bytes().replace(b"xx", b"\xff\xfe"))
    for read in (read_captions, lambda file: list(read_pairs(file))):
        with pytest.raises(DataError, match=r"s\.tar.*c/s/a is not UTF-8"):
            read(indexed(path, "c/s"))
