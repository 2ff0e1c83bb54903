"""Shards: what is written is found in order; what is damaged is refused, and named."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import webdataset
from PIL import Image

from cocu.errors import DataError
from cocu.io import write_json
from cocu.pairs import images, shards
from cocu.pairs.index import read_pairs
from tests.unit.pairs.conftest import indexed

SAMPLES = [(f"{i:07d}", bytes([i]) * (300 + 400 * i), f"a photo of étoile {i}") for i in range(4)]


def jpeg(value: int = 90, size: tuple[int, int] = (6, 4), mode: str = "RGB", kind: str = "JPEG") -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size, (value,) * len(Image.new(mode, (1, 1)).getbands()) if mode != "I;16" else value).save(
        stream, kind
    )
    return stream.getvalue()


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "00003.tar"
    assert shards.write_shard(path, SAMPLES) == len(SAMPLES)
    return path


def write_members(path: Path, members: list[tarfile.TarInfo]) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            member.size = 1 if member.isreg() else 0
            tar.addfile(member, io.BytesIO(b"x"))
    return path


def members(*names: str) -> list[tarfile.TarInfo]:
    return [tarfile.TarInfo(name) for name in names]


def test_pairs_come_back_in_order_with_their_keys(shard: Path) -> None:
    pairs = list(read_pairs(indexed(shard, "web/00003")))
    assert [(p.key, p.image, p.caption) for p in pairs] == [(f"web/00003/{n}", i, c) for n, i, c in SAMPLES]


def test_bytes_are_deterministic(shard: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.tar"
    shards.write_shard(again, iter(SAMPLES))
    assert again.read_bytes() == shard.read_bytes()
    with tarfile.open(shard) as tar:
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in tar} == {(0, 0, 0, "", "", 0o644)}


def test_webdataset_reads_what_is_written(shard: Path) -> None:
    read = list(webdataset.WebDataset([str(shard)], shardshuffle=False))
    assert [(s["__key__"], s["jpg"], s["txt"].decode()) for s in read] == SAMPLES


def test_a_webdataset_writer_is_read(tmp_path: Path) -> None:
    path = tmp_path / "w.tar"
    with webdataset.TarWriter(str(path)) as writer:
        for name, image, caption in SAMPLES:
            writer.write({"__key__": name, "jpg": image, "json": b"{}", "txt": caption})
    assert [p.image for p in read_pairs(indexed(path, "c/w"))] == [s[1] for s in SAMPLES]
    assert shards.index_shard(path).other == len(SAMPLES)


def test_no_cut_passes(shard: Path) -> None:
    data = shard.read_bytes()
    end = sum(512 + -(-size // 512) * 512 for _, i, c in SAMPLES for size in (len(i), len(c.encode())))
    for offset in sorted({*range(0, end + 1024, 97), *range(0, end + 1024, 512), end + 511, end + 1023}):
        shard.write_bytes(data[:offset])
        with pytest.raises(DataError, match=r"00003\.tar.*[Rr]e-download it or remove it from the list"):
            shards.index_shard(shard)
    shard.write_bytes(data[: end + 1024])  # only padding is gone
    assert shards.index_shard(shard).names.to_pylist() == [s[0] for s in SAMPLES]


@pytest.mark.parametrize("offset", [0, 148, 512 + 512 + 100])
def test_a_damaged_header_does_not_end_the_archive(shard: Path, offset: int) -> None:
    data = bytearray(shard.read_bytes())
    data[offset] ^= 0x55
    shard.write_bytes(data)
    with pytest.raises(DataError, match="not a whole tar file"):
        shards.index_shard(shard)


def test_two_archives_in_one_file_are_refused(shard: Path) -> None:
    shard.write_bytes(2 * shard.read_bytes())
    with pytest.raises(DataError, match="second archive"):
        shards.index_shard(shard)


def _link() -> list[tarfile.TarInfo]:
    link = tarfile.TarInfo("evil.jpg")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return [link]


def _device() -> list[tarfile.TarInfo]:
    device = tarfile.TarInfo("null.jpg")
    device.type = tarfile.CHRTYPE
    return [device]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: members("a.jpg", "a.txt", "b.jpg"), r"b\.jpg has no text"),
        (lambda: members("a.jpg", "a.txt", "b.txt"), r"b\.txt has no image"),
        (lambda: members("a.jpg", "a.txt", "a.txt"), r"a\.txt is the second text"),
        (lambda: members("a.jpg", "a.png", "a.txt"), r"a\.png is the second image"),
        (lambda: members("x/../../a.jpg"), r"x/\.\./\.\./a\.jpg' is absolute, climbs out"),
        (lambda: members("/tmp/a.jpg"), "'/tmp/a.jpg' is absolute"),
        (lambda: members("a\nb.jpg"), r"a\\nb\.jpg"),
        (lambda: members("notes.md"), "holds no pairs"),
        (_link, r"evil\.jpg is a link"),
        (_device, r"null\.jpg is a link or a device"),
    ],
)
def test_unsound_members_are_named(tmp_path: Path, make: Callable[[], list[tarfile.TarInfo]], message: str) -> None:
    path = write_members(tmp_path / "bad.tar", make())
    with pytest.raises(DataError, match=rf"bad\.tar.*{message}"):
        shards.index_shard(path)


def test_a_name_ends_at_its_first_dot_and_suffixes_may_be_in_capitals(tmp_path: Path) -> None:
    names = ["a.JPG", "a.Txt", "a.seg.png", "b.webp", "b.txt", "c.jpeg", "c.txt", "d.PNG", "d.TXT", "d.cls", "e.gif"]
    index = shards.index_shard(write_members(tmp_path / "s.tar", members(*names)))
    assert (index.names.to_pylist(), index.other) == (["a", "b", "c", "d"], 3)


def test_what_is_set_aside_is_passed_over(tmp_path: Path) -> None:
    names = ["a.jpg", "b.jpg", "b.txt", "../c.jpg", "d.txt", "d.jpg", "e.json"]
    path = write_members(tmp_path / "s.tar", members(*names))
    index = shards.index_shard(path, {"a", "../c.jpg"})
    assert (index.names.to_pylist(), index.other) == (["b", "d"], 1)
    assert [pair.key for pair in read_pairs(indexed(path, "c/s", {"a", "../c.jpg", "d"}))] == ["c/s/b"]


def test_a_folder_and_a_leading_dot_are_no_part_of_the_key(tmp_path: Path) -> None:
    folder = tarfile.TarInfo("./")
    folder.type = tarfile.DIRTYPE
    path = write_members(tmp_path / "s.tar", [folder, *members("./a.jpg", "./a.txt", "sub/b.jpg", "sub/b.txt")])
    assert [p.key for p in read_pairs(indexed(path, "c/s"))] == ["c/s/a", "c/s/sub/b"]


@pytest.mark.parametrize("names", [["a", "a"], ["a.b"], ["../a"], ["/a"], [""]])
def test_the_writer_refuses_names_that_the_reader_would(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(DataError, match=r"s\.tar.*sample name"):
        shards.write_shard(tmp_path / "s.tar", [(n, b"i", "t") for n in names])
    assert list(tmp_path.iterdir()) == []


def test_manifest_paths_are_relative_to_it(tmp_path: Path) -> None:
    index = tmp_path / "index"
    inside = shards.ShardFile(tmp_path / "shards/a/00001.tar", "a/00001", 7, 10240, "ab", index / "a/00001.parquet")
    outside = shards.ShardFile(Path("/d/00001.tar"), "b/00001", 0, 99, "", index / "b/00001.parquet")
    entries = [shards.manifest_entry(inside, tmp_path), shards.manifest_entry(outside, tmp_path, "it is cut")]
    assert entries == [
        {"shard": "a/00001", "path": "shards/a/00001.tar", "samples": 7, "bytes": 10240, "sha256": "ab"},
        {"shard": "b/00001", "path": "/d/00001.tar", "samples": 0, "bytes": 99, "sha256": "", "damage": "it is cut"},
    ]
    write_json(tmp_path / "manifest.json", {"shards": entries})
    assert shards.manifest_shards(tmp_path / "manifest.json") == [inside, outside]
    assert inside.key("sub/b") == "a/00001/sub/b"


@pytest.mark.parametrize("lost", ["shard", "path", "samples", "bytes", "sha256"])
def test_what_is_no_manifest_is_named(tmp_path: Path, lost: str) -> None:
    entry = {"shard": "a/0", "path": "x.tar", "samples": 1, "bytes": 1, "sha256": ""}
    write_json(tmp_path / "manifest.json", {"shards": [entry]})
    assert len(shards.manifest_shards(tmp_path / "manifest.json")) == 1
    del entry[lost]
    write_json(tmp_path / "manifest.json", {"shards": [entry]})
    with pytest.raises(DataError, match=r"manifest\.json is not the manifest of a corpus"):
        shards.manifest_shards(tmp_path / "manifest.json")


def test_images_of_every_mode_become_rgb() -> None:
    image = images.decode_image(jpeg(90), "k")
    assert image.shape == (4, 6, 3) and image.dtype == np.uint8 and abs(int(image.mean()) - 90) <= 1
    assert images.decode_image(jpeg(255, mode="CMYK"), "k").max() == 0
    assert (images.decode_image(jpeg(0x5A00, mode="I;16", kind="PNG"), "k") == 0x5A).all()
    assert (images.decode_image(jpeg(7, mode="L", kind="PNG"), "k") == 7).all()


def test_bad_images_name_their_key(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = jpeg(size=(60, 60))
    for data in (b"", b"no image", whole[: len(whole) // 2]):
        with pytest.raises(DataError, match="web/00000/7"):
            images.decode_image(data, "web/00000/7")
    monkeypatch.setattr(images, "MAX_PIXELS", 3599)
    with pytest.raises(DataError, match="web/00000/7 has 60 x 60 pixels"):
        images.decode_image(whole, "web/00000/7")
