from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cocu.curate.inspect import format_stats, show, stats
from cocu.errors import DataError
from cocu.io import write_json
from cocu.layout import side_car
from cocu.pairs.tables import CAPTIONS, Archive, write_archive, write_table

NAMES = ["dogs", "grass", "frisbee", "wall"]


@pytest.fixture
def curation(tmp_path: Path) -> Path:
    """Two sets of a shard each: the first pair's archive adds grass and frisbee to its dog, the last has none."""
    texts = {"one/a": [("a dog", [0]), ("", [])], "two/a": [("grass", [1])]}
    archives = {"one/a": ([0, 3, 4], [1, 0, 2, 1]), "two/a": ([0, 0], [])}
    for shard, rows in texts.items():
        keys = [f"{shard}/{i}" for i in range(len(rows))]
        columns = {"key": keys, "caption": [r[0] for r in rows], "concepts": [r[1] for r in rows]}
        write_table(side_car(tmp_path / "captions", shard), CAPTIONS, columns)
        indptr, ids = archives[shard]
        scores = np.linspace(2, 1, len(ids)).astype(np.float32)
        found = Archive(np.array(indptr), np.array(ids, np.uint16), scores, np.zeros(len(ids), np.uint16))
        write_archive(side_car(tmp_path / "archive", shard), keys, found)
    (tmp_path / "captions/vocabulary.txt").write_text("\n".join(NAMES) + "\n")
    write_json(tmp_path / "captions/manifest.json", {"shards": [{"shard": shard} for shard in texts]})
    return tmp_path


def test_show_marks_what_the_caption_leaves_out(curation: Path) -> None:
    lines = show(curation / "archive", curation / "captions", "one/a/0").splitlines()
    assert lines[1:3] == ["caption: a dog", "its concepts: dogs"]
    assert lines[5:] == ["+ grass     2.000        0", "  dogs      1.667        0", "+ frisbee   1.333        0"]


def test_a_shard_is_found_in_its_set(curation: Path) -> None:
    lines = show(curation / "archive", curation / "captions", "two/a/0").splitlines()
    assert lines[1:3] == ["caption: grass", "its concepts: grass"]


def test_a_sample_may_lie_in_a_folder_of_its_tar(curation: Path) -> None:
    name, none = "two/a/deep/0", np.zeros(0, np.uint16)
    columns = {"key": [name], "caption": ["x"], "concepts": [[]]}
    write_table(side_car(curation / "captions", "two/a"), CAPTIONS, columns)
    found = Archive(np.zeros(2, np.int64), none, none.astype(np.float32), none)
    write_archive(side_car(curation / "archive", "two/a"), [name], found)
    assert show(curation / "archive", curation / "captions", name).splitlines()[1] == "caption: x"


def test_keys_that_are_not_there_are_named(curation: Path) -> None:
    with pytest.raises(DataError, match=r"No pair one/a/9 .*one/a/"):
        show(curation / "archive", curation / "captions", "one/a/9")
    for key in ("dog", "a/0", "one/a", "three/a/0"):
        with pytest.raises(DataError, match="a key is set/shard/sample, and the shards are one/a, two/a"):
            show(curation / "archive", curation / "captions", key)


def test_stats_by_hand(curation: Path) -> None:
    found = stats(curation / "archive", curation / "captions")
    assert found["pairs"] == 3
    assert found["concepts_a_pair"] == {"caption": 2 / 3, "archive": 4 / 3, "both": 5 / 3}
    assert found["pairs_without_concepts"] == {"caption": 1, "archive": 1}
    assert found["most_added"] == [["grass", 2], ["frisbee", 1]]
    assert found["benchmarks"]["voc"] == {"names": 20, "captions": 1, "archives": 1}
    assert found["benchmarks"]["coco_object"] == {"names": 80, "captions": 1, "archives": 2}
    assert found["examples"] == [{"key": "one/a/0", "caption": "a dog", "added": ["grass", "frisbee"]}]
    assert "concepts a pair: 0.67 in captions, 1.33 in archives, 1.67 together" in format_stats(found)


def test_an_archive_of_other_pairs_is_refused(curation: Path) -> None:
    (curation / "archive/one/a.parquet").write_bytes((curation / "archive/two/a.parquet").read_bytes())
    with pytest.raises(DataError, match="other keys"):
        stats(curation / "archive", curation / "captions")


def test_other_readers_read_it(curation: Path) -> None:
    path = curation / "archive/one/a.parquet"
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
