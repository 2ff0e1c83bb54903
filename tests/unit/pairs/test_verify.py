"""Shards that the user has: counted when sound, explained when missing, set aside when lenient."""

import json
from pathlib import Path
from typing import Any

import pytest

from cocu.config import Config
from cocu.errors import ConfigError, DataError
from cocu.io import read_json
from cocu.pairs import verify
from cocu.pairs.shards import manifest_shards, read_pairs, write_shard
from tests.unit.pairs.test_shards import jpeg

GOOD = jpeg()


def given(config: Config, shards: str, **changes: Any) -> Config:
    corpus = config.corpus.model_copy(update={"kind": "shards", "shards": shards, **changes})
    return config.model_copy(update={"corpus": corpus})


def test_shards_are_verified_and_counted(config: Config, tmp_path: Path) -> None:
    for i in range(2):
        write_shard(tmp_path / f"d{i}.tar", [(f"{j}", b"i", "t") for j in range(i + 1)])
    settings = given(config, f"{tmp_path}/d{{0..1}}.tar")
    verify.run(settings, corpus="cc", out=tmp_path / "out")
    manifest = read_json(tmp_path / "out/manifest.json")
    assert manifest["counts"] == {"pairs": 3, "other_members": 0}
    assert [f.path.name for f in manifest_shards(tmp_path / "out/manifest.json")] == ["d0.tar", "d1.tar"]
    (tmp_path / "d1.tar").write_bytes((tmp_path / "d1.tar").read_bytes()[:2000])
    with pytest.raises(DataError, match=r"d1\.tar"):
        verify.run(settings, corpus="cc", out=tmp_path / "out")


def test_missing_shards_say_how_to_get_them(config: Config, tmp_path: Path) -> None:
    write_shard(tmp_path / "00000.tar", [("a", b"i", "t")])
    with pytest.raises(DataError, match=r"^3 of 4 shards .* the first is \S+/00001\.tar\..*img2dataset --url_list"):
        verify.run(given(config, f"{tmp_path}/{{00000..00003}}.tar"), corpus="cc", out=tmp_path / "out")
    with pytest.raises(ConfigError, match=r"corpus\.shards"):
        verify.run(given(config, "{0..1.tar"), corpus="cc", out=tmp_path / "out")


def test_lenient_sets_aside_and_lists(config: Config, tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [(f"{i}", GOOD if i != 1 else b"none", "t") for i in range(30)])
    write_shard(tmp_path / "b.tar", [(f"{i}", GOOD, "t") for i in range(30)])
    settings = given(config, f"{tmp_path}/{{a,b}}.tar", lenient=True)
    verify.run(settings, corpus="cc", out=tmp_path / "out")
    manifest = read_json(tmp_path / "out/manifest.json")
    assert manifest["counts"] == {"pairs": 59, "other_members": 0, "bad_samples": 1, "bad_shards": 0}
    lines = [json.loads(line) for line in (tmp_path / "out/quarantine.jsonl").read_text().splitlines()]
    assert [(line["shard"], line["sample"]) for line in lines] == [(f"{tmp_path}/a.tar", "1")]
    assert "cannot be decoded" in lines[0]["reason"]
    first = manifest_shards(tmp_path / "out/manifest.json")[0]
    keys = [pair.key for pair in read_pairs(first.path, "cc", first.skipped)]
    assert len(keys) == first.samples == 29 and "cc/a/1" not in keys


def test_too_many_broken_samples_stop(config: Config, tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [(f"{i}", GOOD if i > 1 else b"none", "t") for i in range(30)])
    settings = given(config, f"{tmp_path}/a.tar", lenient=True)
    with pytest.raises(DataError, match=r"^2 of 30 samples are broken \(6\.7%, and corpus\.max_bad is 5\.0%\).*jsonl"):
        verify.run(settings, corpus="cc", out=tmp_path / "out")
    assert not (tmp_path / "out/manifest.json").exists()
    assert len((tmp_path / "out/quarantine.jsonl").read_text().splitlines()) == 2
    verify.run(given(config, f"{tmp_path}/a.tar", lenient=True, max_bad=0.1), corpus="cc", out=tmp_path / "out")
    assert read_json(tmp_path / "out/manifest.json")["counts"]["pairs"] == 28
