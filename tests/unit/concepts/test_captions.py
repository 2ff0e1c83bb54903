from __future__ import annotations

from pathlib import Path

import pytest

from cocu.concepts import captions
from cocu.concepts.captions import clean
from cocu.errors import DataError
from cocu.io import read_json, write_json
from cocu.pairs.tables import keys_sha256, read_table
from tests.unit.curate.conftest import SHARDS, Folders, make_config


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("<p>A dog<br/>and&nbsp;a cat &amp; <b class='x'>more</b></p>", "A dog and a cat & more"),
        ("  one\n\ttwo\r\n", "one two"),
        ("a < b > c", "a < b > c"),
        ("x" * 999 + " yz", "x" * 999),
        ("<br>", ""),
        ("a <!-- no > caption,\nhidden --> dog", "a dog"),
        ("&lt;b&gt; is no tag", "<b> is no tag"),
        ("🐶 dog", "🐶 dog"),
    ],
)
def test_clean(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


def test_rows_counts_and_hashes(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    texts = ["Two <i>Dogs</i> by the sea", "sea", "<br>", "!"] + ["dog"] * 116
    folders.write_corpus(texts, list(SHARDS))
    config = make_config(vocabulary={"min_count": 2})
    captions.run(config, corpus=folders.corpus / "manifest.json", out=folders.captions)
    assert (folders.captions / "vocabulary.txt").read_text() == "dog\nsea\n"
    table = read_table(folders.captions / "00000.parquet", ["key", "caption", "concepts"])
    assert table["key"].to_pylist()[:2] == ["tiny/00000/0000000", "tiny/00000/0000001"]
    assert table["caption"].to_pylist()[:4] == ["Two Dogs by the sea", "sea", "", "!"]
    assert table["concepts"].to_pylist()[:5] == [[0, 1], [1], [], [], [0]]
    described = read_json(folders.captions / "manifest.json")
    assert described["counts"] == {
        "pairs": 120,
        "empty_captions": 1,
        "captions_without_concepts": 2,
        "concepts": 119,
    }
    assert [(s["stem"], s["rows"]) for s in described["shards"]] == list(SHARDS.items())
    assert described["shards"][0]["keys_sha256"] == keys_sha256(table["key"].to_pylist())


def test_no_concept_at_all(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    folders.write_corpus(["a red photo"] * 120, list(SHARDS))
    with pytest.raises(DataError, match="No caption of the corpus 'tiny'"):
        captions.run(make_config(), corpus=folders.corpus, out=folders.captions)
    assert not folders.captions.exists()


def test_a_vocabulary_file_decides_ids(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    folders.write_corpus(["a red dog"] * 120, list(SHARDS))
    (tmp_path / "words.txt").write_text("zebra\nred\ndog\n")
    captions.run(
        make_config(vocabulary={"file": str(tmp_path / "words.txt")}), corpus=folders.corpus, out=folders.captions
    )
    assert read_table(folders.captions / "00002.parquet", ["concepts"])["concepts"].to_pylist()[0] == [1, 2]


def test_samples_that_are_set_aside_have_no_row(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    folders.write_corpus([f"dog {'cat' * (i == 50)}" for i in range(120)], list(SHARDS))
    described = read_json(folders.corpus / "manifest.json")
    described["shards"][1] |= {"samples": 39, "skipped": ["0000050"]}
    write_json(folders.corpus / "manifest.json", described)
    captions.run(make_config(), corpus=folders.corpus, out=folders.captions)
    keys = read_table(folders.captions / "00001.parquet", ["key"])["key"].to_pylist()
    assert keys == [f"tiny/00001/{i:07}" for i in range(51, 90)]
    assert (folders.captions / "vocabulary.txt").read_text() == "dog\n"


def test_a_shard_with_other_samples_than_its_manifest(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    folders.write_corpus(["dog"] * 120, list(SHARDS))
    described = read_json(folders.corpus / "manifest.json")
    described["shards"][1]["samples"] = 39
    write_json(folders.corpus / "manifest.json", described)
    with pytest.raises(DataError, match=r"00001\.tar holds 40 pairs"):
        captions.run(make_config(), corpus=folders.corpus, out=folders.captions)
