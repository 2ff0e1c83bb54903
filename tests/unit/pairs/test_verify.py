"""Shards that the user has: counted when sound, explained when missing, set aside when lenient."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from cocu.config import DataConfig
from cocu.errors import DataError
from cocu.io import file_sha256, read_json
from cocu.layout import Corpus
from cocu.pairs import verify
from cocu.pairs.index import read_captions, read_pairs
from cocu.pairs.reader import ShardReader
from cocu.pairs.shards import manifest_shards, write_shard
from tests.unit.pairs.conftest import data_sets
from tests.unit.pairs.test_shards import jpeg

GOOD = jpeg()


def look(config: DataConfig, folder: Path) -> dict[str, Any]:
    """Look the shards over; the manifest below `folder`."""
    out = Corpus(folder / "out")
    verify.run(config, corpus="cc", out=out, copies=folder / "copies")
    manifest: dict[str, Any] = read_json(out.manifest)
    return manifest


def test_shards_are_verified_and_counted(tmp_path: Path) -> None:
    for i in range(2):
        write_shard(tmp_path / f"d{i}.tar", [(f"{j}", b"i", f"t{j}") for j in range(i + 1)])
    config = data_sets({"own": f"{tmp_path}/d{{0..1}}.tar"})
    manifest = look(config, tmp_path)
    assert manifest["corpus"] == "cc" and manifest["counts"] == {"pairs": 3, "other_members": 0}
    files = manifest_shards(tmp_path / "out/manifest.json")
    assert [(f.shard, f.path) for f in files] == [(f"own/d{i}", tmp_path / f"d{i}.tar") for i in range(2)]
    assert [f.index for f in files] == [tmp_path / f"out/index/own/d{i}.parquet" for i in range(2)]
    assert [(f.samples, f.size, f.sha256) for f in files] == [
        (i + 1, f.path.stat().st_size, file_sha256(f.path)) for i, f in enumerate(files)
    ]
    assert read_captions(files[1]) == (["own/d1/0", "own/d1/1"], ["t0", "t1"])
    (tmp_path / "d1.tar").write_bytes((tmp_path / "d1.tar").read_bytes()[:2000])
    with pytest.raises(DataError, match=r"d1\.tar"):
        look(config, tmp_path)


def test_equal_names_in_two_sets_are_different_shards(tmp_path: Path) -> None:
    for name in ("cc3m", "cc12m"):
        write_shard(tmp_path / name / "00000.tar", [("a", GOOD, f"of {name}")])
    sets = {name: f"{tmp_path}/{name}/{{00000..00000}}.tar" for name in ("cc3m", "cc12m")}
    for lenient in (False, True):
        assert look(data_sets(sets, lenient=lenient), tmp_path)["counts"]["pairs"] == 2
        files = manifest_shards(tmp_path / "out/manifest.json")
        found = {pair.key: pair.caption for file in files for pair in read_pairs(file)}
        assert found == {"cc3m/00000/a": "of cc3m", "cc12m/00000/a": "of cc12m"}
        assert len({file.index for file in files}) == len({file.path for file in files}) == 2


def test_equal_names_elsewhere_have_copies_of_their_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_shard(tmp_path / name / "0.tar", [("x", b"i", f"of {name}")])
    look(data_sets({name: f"file://{tmp_path}/{name}/0.tar" for name in ("a", "b")}), tmp_path)
    files = manifest_shards(tmp_path / "out/manifest.json")
    assert [read_captions(file) for file in files] == [(["a/0/x"], ["of a"]), (["b/0/x"], ["of b"])]
    assert {file.path.parent for file in files} == {tmp_path / "copies"} and files[0].path != files[1].path


def test_missing_shards_say_how_to_get_them(tmp_path: Path) -> None:
    write_shard(tmp_path / "00000.tar", [("a", b"i", "t")])
    with pytest.raises(
        DataError,
        match=r"^3 of 4 shards of corpus\.sets are missing, the first is \S+/00001\.tar\..*img2dataset --url_list",
    ):
        look(data_sets({"cc": f"{tmp_path}/{{00000..00003}}.tar"}), tmp_path)


def test_lenient_sets_aside_and_lists(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [(f"{i}", GOOD if i != 1 else b"none", "t") for i in range(30)])
    write_shard(tmp_path / "b.tar", [(f"{i}", GOOD, "t") for i in range(30)])
    manifest = look(data_sets({"cc": f"{tmp_path}/{{a,b}}.tar"}, lenient=True), tmp_path)
    assert manifest["counts"] == {"pairs": 59, "other_members": 0, "bad_samples": 1, "bad_shards": 0}
    lines = [json.loads(line) for line in (tmp_path / "out/quarantine.jsonl").read_text().splitlines()]
    assert [(line["shard"], line["sample"]) for line in lines] == [(f"{tmp_path}/a.tar", "1")]
    assert "cannot be decoded" in lines[0]["reason"]
    first = manifest_shards(tmp_path / "out/manifest.json")[0]
    keys = [pair.key for pair in read_pairs(first)]
    assert len(keys) == first.samples == 29 and "cc/a/1" not in keys
    assert ShardReader([first]).keys(0) == read_captions(first)[0] == keys


def test_other_members_are_counted_without_what_is_set_aside(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [(f"{i}", GOOD, "t") for i in range(30)])
    with tarfile.open(tmp_path / "a.tar", "a") as tar:
        for name in ("../out.jpg", "notes.md"):
            member = tarfile.TarInfo(name)
            member.size = 1
            tar.addfile(member, io.BytesIO(b"x"))
    manifest = look(data_sets({"cc": f"{tmp_path}/a.tar"}, lenient=True), tmp_path)
    assert manifest["counts"] == {"pairs": 30, "other_members": 1, "bad_samples": 1, "bad_shards": 0}


def test_a_damaged_shard_stays_in_the_manifest_without_pairs(tmp_path: Path) -> None:
    for name in "abc":
        write_shard(tmp_path / f"{name}.tar", [(f"{i}", GOOD, "t") for i in range(10)])
    cut = (tmp_path / "b.tar").read_bytes()[:3000]
    (tmp_path / "b.tar").write_bytes(cut)
    manifest = look(data_sets({"cc": f"{tmp_path}/{{a,b,c}}.tar"}, lenient=True, max_bad=0.5), tmp_path)
    assert manifest["counts"] == {"pairs": 20, "other_members": 0, "bad_samples": 0, "bad_shards": 1}
    assert [shard["samples"] for shard in manifest["shards"]] == [10, 0, 10]
    assert [shard.get("damage", "") != "" for shard in manifest["shards"]] == [False, True, False]
    (line,) = (json.loads(line) for line in (tmp_path / "out/quarantine.jsonl").read_text().splitlines())
    assert line == {"shard": f"{tmp_path}/b.tar", "sample": None, "reason": manifest["shards"][1]["damage"]}
    assert "not a whole tar file" in line["reason"]
    files = manifest_shards(tmp_path / "out/manifest.json")
    assert (files[1].shard, files[1].size, files[1].sha256) == ("cc/b", 3000, file_sha256(tmp_path / "b.tar"))
    assert files[1].index.is_file() and list(read_pairs(files[1])) == []
    reader = ShardReader(files)
    assert [reader.key(i) for i in (0, 9, 10, 19)] == ["cc/a/0", "cc/a/9", "cc/c/0", "cc/c/9"]


def test_too_many_broken_samples_stop(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [(f"{i}", GOOD if i > 1 else b"none", "t") for i in range(30)])
    sets = {"cc": f"{tmp_path}/a.tar"}
    with pytest.raises(DataError, match=r"^2 of 30 samples are broken \(6\.7%, and corpus\.max_bad is 5\.0%\).*jsonl"):
        look(data_sets(sets, lenient=True), tmp_path)
    assert not (tmp_path / "out/manifest.json").exists()
    assert len((tmp_path / "out/quarantine.jsonl").read_text().splitlines()) == 2
    assert look(data_sets(sets, lenient=True, max_bad=0.1), tmp_path)["counts"]["pairs"] == 28


def test_what_a_corpus_is_made_from_is_known_beforehand(tmp_path: Path) -> None:
    write_shard(tmp_path / "0.tar", [("a", GOOD, "t")])
    sets = {"cc": f"{tmp_path}/0.tar"}
    before = verify.inputs(data_sets(sets))
    assert look(data_sets(sets), tmp_path)["stamp"] == before == verify.inputs(data_sets(sets))
    lenient = verify.inputs(data_sets(sets, lenient=True))
    assert lenient not in (before, verify.inputs(data_sets(sets, lenient=True, max_bad=0.5)))
    assert verify.inputs(data_sets({"other": sets["cc"]})) != before
    write_shard(tmp_path / "0.tar", [("a", GOOD, "another")])
    assert verify.inputs(data_sets(sets)) != before


def test_addresses_are_no_files_however_long(tmp_path: Path) -> None:
    sets = {"cc": f"pipe:printf %s {'x' * 300}  # 0.tar"}
    assert (
        verify.inputs(data_sets(sets))
        == verify.inputs(data_sets(sets))
        != verify.inputs(data_sets({"cc": "https://a.b/0.tar"}))
    )
