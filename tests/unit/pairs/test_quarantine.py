"""What is set aside, and why: members, images, captions, whole shards."""

import io
import tarfile
from pathlib import Path

import pytest

from cocu.errors import DataError
from cocu.pairs import images
from cocu.pairs.quarantine import Inspection, check_share, inspect_shard
from cocu.pairs.reader import ShardReader
from cocu.pairs.shards import index_shard
from tests.unit.pairs.conftest import indexed
from tests.unit.pairs.test_shards import jpeg

GOOD = jpeg(size=(20, 20))


def write(path: Path, *members: tuple[str, bytes] | tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                header = tarfile.TarInfo(member[0])
                header.size = len(member[1])
                tar.addfile(header, io.BytesIO(member[1]))
    return path


def link(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return member


def test_images_and_captions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 1000)
    pictures = {
        "good": GOOD,
        "cmyk": jpeg(mode="CMYK"),
        "deep": jpeg(0x5A00, mode="I;16", kind="PNG"),
        "cut": GOOD[: len(GOOD) // 2],
        "empty": b"",
        "large": jpeg(size=(40, 40)),
    }
    captions = {
        "none": b"",
        "long": b"word " * 2000,
        "lines": b"a\nb",
        "emoji": "a \U0001f600".encode(),
        "bytes": b"\xff",
    }
    members = [pair for name, data in pictures.items() for pair in ((f"{name}.jpg", data), (f"{name}.txt", b"a cat"))]
    members += [pair for name, text in captions.items() for pair in ((f"{name}.jpg", GOOD), (f"{name}.txt", text))]
    found = inspect_shard(write(tmp_path / "s.tar", *members), "c/s", threads=2)
    assert list(found.broken) == ["cut", "empty", "large", "bytes"]
    assert found.good == 7 and not found.damage
    assert "cannot be decoded" in found.broken["cut"] and "pixels" in found.broken["large"]
    assert "not UTF-8" in found.broken["bytes"]


def test_hostile_and_incomplete_members(tmp_path: Path) -> None:
    path = write(
        tmp_path / "s.tar",
        *[("a.jpg", GOOD), ("a.txt", b"a"), ("../b.jpg", GOOD), ("/tmp/c.txt", b"c"), link("d.jpg")],
        *[("e.jpg", GOOD), ("f.txt", b"f"), ("g.jpg", GOOD), ("g.txt", b"1"), ("g.txt", b"2"), ("g.json", b"{}")],
        *[("h.jpg", GOOD), ("h.txt", b"h"), ("h\n.jpg", GOOD)],
    )
    found = inspect_shard(path, "c/s", threads=1)
    assert found.good == 2 and found.other == 1
    assert set(found.broken) == {"../b.jpg", "/tmp/c.txt", "d.jpg", "h\n.jpg", "e", "f", "g"}
    assert found.broken["e"] == "text missing" and found.broken["f"] == "image missing"
    index = index_shard(path, found.broken.keys())
    assert (index.names.to_pylist(), index.other) == (["a", "h"], found.other)
    reader = ShardReader([indexed(path, "c/s", found.broken.keys())])
    assert [(reader.key(i), reader.caption(i)) for i in range(2)] == [("c/s/a", "a"), ("c/s/h", "h")]


def test_shards_without_a_sound_sample(tmp_path: Path) -> None:
    for members in ([("a.jpg", b"none"), ("a.txt", b"a")], [("a.jpg", GOOD)], [("notes.md", b"x")]):
        assert inspect_shard(write(tmp_path / "s.tar", *members), "c/s", threads=1).damage == "no sample of it is sound"


def test_a_lost_shard_counts_as_many_as_a_sound_one_holds() -> None:
    sound = [Inspection(10)] * 19
    with pytest.raises(DataError, match=r"^10 of 200 samples are broken \(5\.0%.*: cut \(1\)\. They are listed in q"):
        check_share([*sound, Inspection(3, damage="cut")], 0.049, Path("q"))
    check_share([*sound, Inspection(3, damage="cut")], 0.05, Path("q"))
    with pytest.raises(DataError, match=r"^1 of 1 samples"):
        check_share([Inspection(0, damage="cut")], 1.0, Path("q"))
