from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cocu.curate.export import EXPORTED, Kind, run
from cocu.errors import DataError
from tests.unit.curate.test_inspect import curation as curation

ROWS = [
    {
        "key": "one/a/0",
        "caption": "a dog",
        "said": ["dogs"],
        "concepts": ["grass", "dogs", "frisbee"],
        "scores": [2.0, 1.66667, 1.33333],
        "clusters": [0, 0, 0],
    },
    {
        "key": "one/a/1",
        "caption": "",
        "said": [],
        "concepts": ["grass"],
        "scores": [1.0],
        "clusters": [0],
    },
    {"key": "two/a/0", "caption": "grass", "said": ["grass"], "concepts": [], "scores": [], "clusters": []},
]


def read(path: Path, kind: Kind) -> list[dict[str, Any]]:
    if kind == "parquet":
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return [{**row, "scores": [float(f"{x:.6g}") for x in row["scores"]]} for row in rows]
    if kind == "jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    with path.open(newline="") as stream:
        plain = ("key", "caption")
        return [{k: v if k in plain else json.loads(v) for k, v in row.items()} for row in csv.DictReader(stream)]


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv"])
def test_an_archive_in_words(curation: Path, tmp_path: Path, kind: Kind) -> None:
    out = tmp_path / f"new/archive.{kind}"
    assert run(curation / "archive", curation / "captions", kind, out) == 3
    assert read(out, kind) == ROWS
    assert [file.name for file in out.parent.iterdir()] == [out.name]


def test_the_scores_of_a_parquet_file_are_the_archives(curation: Path, tmp_path: Path) -> None:
    run(curation / "archive", curation / "captions", "parquet", tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet")
    ours = pq.read_table(curation / "archive/one/a.parquet")
    assert table.schema.equals(EXPORTED)
    assert table["scores"].to_pylist()[:2] == ours["scores"].to_pylist()


def test_nothing_is_left_of_an_archive_that_is_damaged(curation: Path, tmp_path: Path) -> None:
    (curation / "archive/two/a.parquet").write_bytes(b"x")
    with pytest.raises(DataError, match=r"two/a\.parquet"):
        run(curation / "archive", curation / "captions", "jsonl", tmp_path / "new/a.jsonl")
    assert not list((tmp_path / "new").iterdir())
