"""A shard cut at any byte: strictly it stops the run and is named; leniently it is set aside and counted."""

from __future__ import annotations

import tarfile
import tempfile
from functools import cache
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from cocu.concepts import captions
from cocu.config import Config, DataConfig, validate_part
from cocu.errors import DataError
from cocu.io import read_json
from cocu.pairs import verify
from cocu.pairs.shards import END_OF_ARCHIVE, manifest_shards, read_pairs, write_shard
from tests.unit.pairs.test_shards import jpeg

SAMPLES = 10


@cache
def whole() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "0.tar"
        write_shard(path, ((f"{i:03}", jpeg(i, (30, 20)), f"caption {i}") for i in range(SAMPLES)))
        with tarfile.open(path) as tar:
            tar.getmembers()
            return path.read_bytes()[: tar.offset + END_OF_ARCHIVE]  # without padding, which may be cut


def config_of(shards: str, *, lenient: bool, max_bad: float = 0.5) -> Config:
    corpus = {"kind": "shards", "name": "c", "shards": shards, "lenient": lenient, "max_bad": max_bad}
    return validate_part(DataConfig, {"corpus": corpus, "clip": {"model": "ViT-B-16", "pretrained": "openai"}})


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(whole()) - 1))
def test_no_cut_gives_a_part_of_a_shard(cut: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sound.tar").write_bytes(whole())
        (folder / "cut.tar").write_bytes(whole()[:cut])
        pattern = f"{folder}/{{sound,cut}}.tar"
        try:
            verify.run(config_of(pattern, lenient=False), corpus="c", out=folder / "strict")
        except DataError as error:
            assert error.exit_code == 3 and "cut.tar" in str(error)
        else:
            raise AssertionError(f"cut at byte {cut}, the shard passed")
        assert not (folder / "strict/manifest.json").exists()
        verify.run(config_of(pattern, lenient=True), corpus="c", out=folder / "lenient")
        counts = read_json(folder / "lenient/manifest.json")["counts"]
        assert (counts["pairs"], counts["bad_shards"]) == (SAMPLES, 1)
        shards = manifest_shards(folder / "lenient/manifest.json")
        assert [shard.stem for shard in shards] == ["sound"]
        assert len(list(read_pairs(shards[0].path, "c", shards[0].skipped))) == SAMPLES


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(whole()) - 1), st.integers(1, 255))
def test_a_changed_byte_never_shifts_a_caption(place: int, change: int) -> None:
    """A changed byte in an image or a caption may pass (tars have no checksum of contents); the join must hold."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = bytearray(whole())
        data[place] ^= change
        (folder / "sound.tar").write_bytes(whole())
        (folder / "odd.tar").write_bytes(data)
        verify.run(config_of(f"{folder}/{{sound,odd}}.tar", lenient=True, max_bad=0.6), corpus="c", out=folder / "out")
        given_pairs = {pair.key[-3:]: (pair.image, pair.caption) for pair in read_pairs(folder / "sound.tar", "c")}
        for shard in manifest_shards(folder / "out/manifest.json"):
            pairs = list(read_pairs(shard.path, "c", shard.skipped))
            assert len(pairs) == shard.samples
            for pair in pairs:
                image, caption = given_pairs.get(pair.key.rsplit("/", 1)[1], (b"", ""))
                assert pair.image == image or pair.caption == caption or not caption


def test_curation_leaves_out_what_was_set_aside(tmp_path: Path) -> None:
    samples = [(f"{i:03}", jpeg(i) if i != 3 else b"no image", f"a cat and a dog {i}") for i in range(40)]
    write_shard(tmp_path / "0.tar", samples)
    config = config_of(f"{tmp_path}/0.tar", lenient=True, max_bad=0.05)
    verify.run(config, corpus="c", out=tmp_path)
    shard = manifest_shards(tmp_path / "manifest.json")[0]
    table = captions.clean_captions(shard, "c").to_pylist()
    assert [row["key"] for row in table] == [f"c/0/{name}" for name, _, _ in samples if name != "003"]
    assert all(row["caption"].endswith(str(int(row["key"][-3:]))) for row in table)
