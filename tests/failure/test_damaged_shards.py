"""A shard cut at any byte: strictly it stops the run and is named; leniently it is set aside and counted."""

from __future__ import annotations

import tarfile
import tempfile
from functools import cache
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from cocu.concepts import captions
from cocu.errors import DataError
from cocu.io import read_json
from cocu.layout import Corpus, side_car
from cocu.pairs import verify
from cocu.pairs.index import read_pairs
from cocu.pairs.shards import END_OF_ARCHIVE, manifest_shards, write_shard
from cocu.pairs.tables import CAPTIONS, read_table
from tests.unit.pairs.conftest import data_sets, indexed
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


def look(out: Path, shards: str, *, lenient: bool = True, max_bad: float = 0.5) -> Path:
    """The manifest of the set `s`, below the folder `out`."""
    corpus, config = Corpus(out), data_sets({"s": shards}, lenient=lenient, max_bad=max_bad)
    verify.run(config, corpus="c", out=corpus, copies=out / "copies")
    return corpus.manifest


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(whole()) - 1))
def test_no_cut_gives_a_part_of_a_shard(cut: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sound.tar").write_bytes(whole())
        (folder / "cut.tar").write_bytes(whole()[:cut])
        pattern = f"{folder}/{{sound,cut}}.tar"
        try:
            look(folder / "strict", pattern, lenient=False)
        except DataError as error:
            assert error.exit_code == 3 and "cut.tar" in str(error)
        else:
            raise AssertionError(f"cut at byte {cut}, the shard passed")
        assert not (folder / "strict/manifest.json").exists()
        manifest = look(folder / "lenient", pattern)
        counts = read_json(manifest)["counts"]
        assert (counts["pairs"], counts["bad_shards"]) == (SAMPLES, 1)
        shards = manifest_shards(manifest)
        assert [(shard.shard, len(list(read_pairs(shard)))) for shard in shards] == [("s/sound", SAMPLES), ("s/cut", 0)]


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
        manifest = look(folder / "out", f"{folder}/{{sound,odd}}.tar", max_bad=0.6)
        sound = indexed(folder / "sound.tar", "s/sound")
        given_pairs = {pair.key[-3:]: (pair.image, pair.caption) for pair in read_pairs(sound)}
        for shard in manifest_shards(manifest):
            pairs = list(read_pairs(shard))
            assert len(pairs) == shard.samples
            for pair in pairs:
                image, caption = given_pairs.get(pair.key.rsplit("/", 1)[1], (b"", ""))
                assert pair.image == image or pair.caption == caption or not caption


def test_curation_leaves_out_what_was_set_aside(tmp_path: Path) -> None:
    samples = [(f"{i:03}", jpeg(i) if i != 3 else b"no image", f"a cat and a dog {i}") for i in range(40)]
    write_shard(tmp_path / "0.tar", samples)
    shard = manifest_shards(look(tmp_path / "out", f"{tmp_path}/0.tar", max_bad=0.05))[0]
    table = captions.clean_captions(shard).to_pylist()
    assert [row["key"] for row in table] == [f"s/0/{name}" for name, _, _ in samples if name != "003"]
    assert all(row["caption"].endswith(str(int(row["key"][-3:]))) for row in table)


def test_a_damaged_shard_has_captions_without_rows(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_shard(tmp_path / folder / "0.tar", ((f"{i}", jpeg(i), f"a cat and a dog {i}") for i in range(20)))
    write_shard(tmp_path / "b" / "1.tar", ((f"{i}", jpeg(i), "a cat") for i in range(20)))
    (tmp_path / "b" / "0.tar").write_bytes((tmp_path / "b" / "0.tar").read_bytes()[:5000])
    config = data_sets({"a": f"{tmp_path}/a/0.tar", "b": f"{tmp_path}/b/{{0..1}}.tar"}, lenient=True, max_bad=0.5)
    corpus = Corpus(tmp_path / "corpus")
    verify.run(config, corpus="c", out=corpus, copies=tmp_path / "copies")
    captions.run(config, corpus=corpus.manifest, out=tmp_path / "captions")
    described, counts = read_json(tmp_path / "captions/manifest.json"), read_json(corpus.manifest)["counts"]
    rows = {shard["shard"]: shard["rows"] for shard in described["shards"]}
    assert rows == {"a/0": 20, "b/0": 0, "b/1": 20}
    assert described["counts"]["pairs"] == counts["pairs"] == sum(rows.values())
    assert described["counts"]["concepts"] == 2 * 20 + 20
    table = read_table(side_car(tmp_path / "captions", "b/0"), CAPTIONS.names)
    assert table.num_rows == 0 and table.schema.equals(CAPTIONS)
