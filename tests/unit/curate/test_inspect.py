from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cocu.curate.inspect import format_stats, show, stats
from cocu.errors import DataError
from cocu.io import write_json
from cocu.pairs.tables import CAPTIONS, Archive, write_archive, write_table

NAMES = ["dogs", "grass", "frisbee", "wall"]


@pytest.fixture
def curation(tmp_path: Path) -> Path:
    """Two shards: the first pair's archive adds grass and frisbee to its dog, the last has none."""
    texts = {"a": [("a dog", [0]), ("", [])], "b": [("grass", [1])]}
    archives = {"a": ([0, 3, 4], [1, 0, 2, 1]), "b": ([0, 0], [])}
    for stem, rows in texts.items():
        keys = [f"set/{stem}/{i}" for i in range(len(rows))]
        columns = {"key": keys, "caption": [r[0] for r in rows], "concepts": [r[1] for r in rows]}
        write_table(tmp_path / "captions" / f"{stem}.parquet", CAPTIONS, columns)
        indptr, ids = archives[stem]
        scores = np.linspace(2, 1, len(ids)).astype(np.float32)
        found = Archive(np.array(indptr), np.array(ids, np.uint16), scores, np.zeros(len(ids), np.uint16))
        write_archive(tmp_path / "archive" / f"{stem}.parquet", keys, found)
    (tmp_path / "captions/vocabulary.txt").write_text("\n".join(NAMES) + "\n")
    write_json(tmp_path / "captions/manifest.json", {"shards": [{"stem": "a"}, {"stem": "b"}]})
    return tmp_path


def test_show_marks_what_the_caption_leaves_out(curation: Path) -> None:
    lines = show(curation / "archive", curation / "captions", "set/a/0").splitlines()
    assert lines[1:3] == ["caption: a dog", "its concepts: dogs"]
    assert lines[5:] == ["+ grass     2.000        0", "  dogs      1.667        0", "+ frisbee   1.333        0"]


def test_keys_that_are_not_there_are_named(curation: Path) -> None:
    with pytest.raises(DataError, match=r"No pair set/a/9 .*set/a/"):
        show(curation / "archive", curation / "captions", "set/a/9")
    with pytest.raises(DataError, match="the shards are a, b"):
        show(curation / "archive", curation / "captions", "dog")


def test_stats_by_hand(curation: Path) -> None:
    found = stats(curation / "archive", curation / "captions")
    assert found["pairs"] == 3
    assert found["concepts_a_pair"] == {"caption": 2 / 3, "archive": 4 / 3, "both": 5 / 3}
    assert found["pairs_without_concepts"] == {"caption": 1, "archive": 1}
    assert found["most_added"] == [["grass", 2], ["frisbee", 1]]
    assert found["benchmarks"]["voc"] == {"names": 20, "captions": 1, "archives": 1}
    assert found["benchmarks"]["coco_object"] == {"names": 80, "captions": 1, "archives": 2}
    assert found["examples"] == [{"key": "set/a/0", "caption": "a dog", "added": ["grass", "frisbee"]}]
    assert "concepts a pair: 0.67 in captions, 1.33 in archives, 1.67 together" in format_stats(found)


def test_an_archive_of_other_pairs_is_refused(curation: Path) -> None:
    (curation / "archive/a.parquet").write_bytes((curation / "archive/b.parquet").read_bytes())
    with pytest.raises(DataError, match="other keys"):
        stats(curation / "archive", curation / "captions")


def test_other_readers_read_it(curation: Path) -> None:
    path = curation / "archive/a.parquet"
    table = pd.read_parquet(path)
    assert list(table.columns) == ["key", "concepts", "scores", "clusters"]
    assert table["concepts"][0].tolist() == [1, 0, 2]
    assert table["concepts"][0].dtype == np.uint16 and table["scores"][0].dtype == np.float32
    try:
        import polars
    except ImportError:
        pass
    else:
        assert polars.read_parquet(path)["concepts"].to_list() == [[1, 0, 2], [1]]
    try:
        import duckdb
    except ImportError:
        pass
    else:
        assert duckdb.sql(f"select len(concepts) from '{path}'").fetchall() == [(3,), (1,)]
