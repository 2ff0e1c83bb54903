"""What a store of finished parts gives back, and whether a manifest still holds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cocu.errors import DataError
from cocu.io import write_json
from cocu.stamp import Stamp, Store, still_holds

PART = "cc3m/00000.npy"
OTHERS = (
    {"stage": "embed", "settings": {"clip.batch_size": 5}, "code": "b", "inputs": {"shard": "s"}},
    {"stage": "embed", "settings": {"clip.batch_size": 4}, "code": "a", "inputs": {"shard": "s"}},
    {"stage": "embed", "settings": {"clip.batch_size": 4}, "code": "b", "inputs": {"shard": "t"}},
    {},
)
STAMP: Stamp = {"stage": "embed", "settings": {"clip.batch_size": 4}, "code": "b", "inputs": {"shard": "s"}}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state")


@pytest.fixture
def out(store: Store, tmp_path: Path) -> Path:
    """A finished part that the store keeps."""
    path = tmp_path / "out" / PART
    path.parent.mkdir(parents=True)
    path.write_bytes(b"rows")
    store.keep(PART, path, STAMP, {"rows": 3})
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def no_links(*_: Any, **__: Any) -> None:
    raise OSError("Operation not supported")


@pytest.mark.parametrize("links", [True, False])
def test_a_kept_part_comes_back_with_what_was_said_of_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "out" / PART
    path.parent.mkdir(parents=True)
    path.write_bytes(b"rows")
    assert store.give(PART, path, STAMP) is None
    store.keep(PART, path, STAMP, {"rows": 3})
    assert path.samefile(store.folder / PART) is links
    path.unlink(), path.parent.rmdir()
    assert store.give(PART, path, STAMP) == {"rows": 3}
    assert path.read_bytes() == b"rows"
    assert path.samefile(store.folder / PART) is links


@pytest.mark.parametrize("links", [True, False])
def test_what_is_there_already_is_left_without_a_trace(
    store: Store, out: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """Where both are one file, renaming one name onto the other would do nothing, and leave the temporary name."""
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    for _ in range(2):
        assert store.give(PART, out, STAMP) == {"rows": 3}
        store.keep(PART, out, STAMP, {"rows": 3})
    assert names(store.folder) == [PART, f"{PART}.json"]
    assert names(out.parent) == [out.name]


@pytest.mark.parametrize("other", OTHERS)
def test_nothing_comes_back_for_another_stamp(store: Store, out: Path, other: Stamp) -> None:
    out.unlink()
    assert store.give(PART, out, other) is None
    assert not out.exists()
    assert store.give(PART, out, {**reversed_keys(STAMP)}) == {"rows": 3}  # the order of keys is none of it


def reversed_keys(value: Stamp) -> Stamp:
    return {key: value[key] for key in reversed(value)}


def cut(store: Store) -> None:
    (store.folder / PART).write_bytes(b"row")


def change(store: Store) -> None:
    (store.folder / PART).write_bytes(b"cows")


def lose(store: Store) -> None:
    (store.folder / PART).unlink()


def lose_the_note(store: Store) -> None:
    (store.folder / f"{PART}.json").unlink()


@pytest.mark.parametrize("damage", [cut, change, lose, lose_the_note])
def test_nothing_comes_back_that_is_damaged(store: Store, out: Path, damage: Callable[[Store], None]) -> None:
    out.unlink()
    damage(store)
    assert store.give(PART, out, STAMP) is None
    assert not out.exists()
    out.write_bytes(b"anew")
    store.keep(PART, out, STAMP, {"rows": 4})
    assert store.give(PART, out, STAMP) == {"rows": 4}


def test_a_result_that_was_overwritten_where_it_lies_is_not_given(store: Store, out: Path) -> None:
    """A link shares its bytes with the result."""
    out.write_bytes(b"others")
    assert store.give(PART, out, STAMP) is None


def test_a_part_that_is_kept_again_replaces_what_was_kept(store: Store, out: Path) -> None:
    out.unlink()
    out.write_bytes(b"other rows")
    store.keep(PART, out, OTHERS[0], {"rows": 5})
    assert store.give(PART, out, STAMP) is None
    out.unlink()
    assert store.give(PART, out, OTHERS[0]) == {"rows": 5}
    assert out.read_bytes() == b"other rows"


def test_killed_between_file_and_note_it_keeps_nothing(
    store: Store, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old note would be beside the new file."""
    replace = os.replace

    def killed(source: Path, target: Path) -> None:
        replace(source, target)
        if Path(target) == store.folder / PART:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    (out.parent / "next").write_bytes(b"rows")  # the same bytes, said to be made from something else
    with pytest.raises(KeyboardInterrupt):
        store.keep(PART, out.parent / "next", OTHERS[0], {"rows": 5})
    assert store.give(PART, out, STAMP) is None and store.give(PART, out, OTHERS[0]) is None


def test_others_are_forgotten(store: Store, out: Path) -> None:
    for part in ("cc3m/00001.npy", "cc12m/00000.npy"):
        store.keep(part, out, STAMP, {})
    written = store.folder / "cc12m/.00001.npy.17.tmp"  # by another job
    written.touch()
    store.forget_others([PART, "cc12m/00000.npy"])
    kept = ["cc12m/.00001.npy.17.tmp", "cc12m/00000.npy", "cc12m/00000.npy.json", PART, f"{PART}.json"]
    assert names(store.folder) == kept
    store.forget_others([])
    assert names(store.folder) == kept[:1]
    assert out.read_bytes() == b"rows"
    Store(store.folder / "nowhere").forget_others([])


def test_two_jobs_may_forget_at_once(store: Store, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unlink = Path.unlink

    def late(path: Path, missing_ok: bool = False) -> None:
        unlink(path)  # as the other job does
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", late)
    store.forget_others([])
    assert names(store.folder) == []


def test_a_manifest_holds_while_its_stamp_is_the_same(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.json"
    assert not still_holds(manifest, STAMP)
    write_json(manifest, {"rows": 3})
    assert not still_holds(manifest, STAMP)
    write_json(manifest, {"rows": 3, "stamp": STAMP})
    assert still_holds(manifest, STAMP) and still_holds(manifest, reversed_keys(STAMP))
    assert not any(still_holds(manifest, other) for other in OTHERS)
    manifest.write_text("{")
    with pytest.raises(DataError, match=r"manifest\.json is not valid JSON"):
        still_holds(manifest, STAMP)
