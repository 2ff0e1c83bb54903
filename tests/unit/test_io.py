from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cocu.errors import DataError, EnvironmentFault
from cocu.io import atomic_path, file_sha256, read_json, write_json, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new/result.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
    assert target.read_text() == "half"
    with pytest.raises(KeyboardInterrupt), atomic_path(target) as temporary:
        temporary.write_text("never seen")
        raise KeyboardInterrupt
    assert target.read_text() == "half"
    assert names(target.parent) == ["result.txt"]


def test_a_folder_replaces_the_one_before_it(tmp_path: Path) -> None:
    target = tmp_path / "shards"
    for name in ("old", "new"):
        with atomic_path(target) as temporary:
            temporary.mkdir()
            (temporary / name).touch()
    assert names(target) == ["new"]
    assert names(tmp_path) == ["shards"]


@pytest.mark.parametrize(
    ("code", "said"),
    [(errno.ENOSPC, "No room left while writing .*result"), (errno.EROFS, "result cannot be written")],
)
def test_a_full_or_read_only_disk_is_a_sentence(tmp_path: Path, code: int, said: str) -> None:
    with pytest.raises(EnvironmentFault, match=said), atomic_path(tmp_path / "result") as temporary:
        temporary.write_text("half")
        raise OSError(code, os.strerror(code))
    assert names(tmp_path) == []


def test_other_errors_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "result"):
        raise FileNotFoundError(errno.ENOENT, "an input")


def test_json_is_sorted_and_read_back(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": [2]})
    assert (tmp_path / "a.json").read_text() == '{\n  "a": [\n    2\n  ],\n  "b": 1\n}\n'
    assert read_json(tmp_path / "a.json") == {"a": [2], "b": 1}


def test_missing_and_damaged_json_are_data_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Cannot read .*a.json: No such file or directory. Run the stage"):
        read_json(tmp_path / "a.json")
    write_text(tmp_path / "a.json", '{"a": ')
    with pytest.raises(DataError, match=r"a\.json is not valid JSON"):
        read_json(tmp_path / "a.json")


def test_a_file_that_is_not_there_has_no_hash_but_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Cannot read .*weights: No such file or directory\. Make it first"):
        file_sha256(tmp_path / "weights")


def test_file_sha256_is_the_standard_one(tmp_path: Path) -> None:
    write_text(tmp_path / "abc", "abc")
    assert file_sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
