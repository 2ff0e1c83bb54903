from __future__ import annotations

from pathlib import Path

import pytest

from cocu.concepts import captions
from cocu.concepts.captions import clean
from cocu.errors import DataError
from cocu.io import read_json, write_json
from cocu.layout import Corpus
from cocu.pairs.index import write_index
from cocu.pairs.shards import index_shard, manifest_shards, write_shard
from cocu.pairs.tables import CAPTIONS, keys_sha256, read_table
from tests.unit.corpora import write_corpus
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
    captions.run(config, corpus=folders.corpus, out=folders.captions)
    assert (folders.captions / "vocabulary.txt").read_text() == "dog\nsea\n"
    table = read_table(folders.captions / "tiny/00000.parquet", ["key", "caption", "concepts"])
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
    assert [(s["shard"], s["rows"]) for s in described["shards"]] == list(SHARDS.items())
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
    assert read_table(folders.captions / "tiny/00002.parquet", ["concepts"])["concepts"].to_pylist()[0] == [1, 2]


def test_samples_that_are_set_aside_have_no_row(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    folders.write_corpus([f"dog {'cat' * (i == 50)}" for i in range(120)], list(SHARDS))
    second = manifest_shards(folders.corpus)[1]
    write_index(second.index, index_shard(second.path, {"0000050"}))
    described = read_json(folders.corpus)
    described["shards"][1]["samples"] = 39
    write_json(folders.corpus, described)
    captions.run(make_config(), corpus=folders.corpus, out=folders.captions)
    keys = read_table(folders.captions / "tiny/00001.parquet", ["key"])["key"].to_pylist()
    assert keys == [f"tiny/00001/{i:07}" for i in range(51, 90)]
    assert (folders.captions / "vocabulary.txt").read_text() == "dog\n"


def test_a_damaged_shard_has_a_side_car_without_rows(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    folders.write_corpus(["dog"] * 120, list(SHARDS), aside=("tiny/00001",))
    captions.run(make_config(), corpus=folders.corpus, out=folders.captions)
    table = read_table(folders.captions / "tiny/00001.parquet", CAPTIONS.names)
    assert table.num_rows == 0 and table.schema.equals(CAPTIONS)
    described = read_json(folders.captions / "manifest.json")
    assert [(s["shard"], s["rows"]) for s in described["shards"]] == list((SHARDS | {"tiny/00001": 0}).items())
    assert described["shards"][1]["keys_sha256"] == keys_sha256([])
    assert described["counts"] == {
        "pairs": 80,
        "empty_captions": 0,
        "captions_without_concepts": 0,
        "concepts": 80,
    }


def test_equal_names_in_two_sets_have_keys_and_files_of_their_own(tmp_path: Path) -> None:
    corpus, out = Corpus(tmp_path / "corpus"), tmp_path / "captions"
    write_corpus(corpus, "both", {f"{name}/00000": [("a", b"i", f"a {name}")] for name in ("dog", "cat")})
    captions.run(make_config(), corpus=corpus.manifest, out=out)
    rows = [read_table(out / name / "00000.parquet", ["key", "caption"]).to_pylist() for name in ("dog", "cat")]
    assert rows == [[{"key": "dog/00000/a", "caption": "a dog"}], [{"key": "cat/00000/a", "caption": "a cat"}]]
    assert [s["shard"] for s in read_json(out / "manifest.json")["shards"]] == ["dog/00000", "cat/00000"]


def test_an_index_of_other_samples_than_the_manifest_counts(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    folders.write_corpus(["dog"] * 120, list(SHARDS))
    described = read_json(folders.corpus)
    described["shards"][1]["samples"] = 39
    write_json(folders.corpus, described)
    with pytest.raises(DataError, match=r"00001\.parquet lists 40 pairs, and the manifest counts 39"):
        captions.run(make_config(), corpus=folders.corpus, out=folders.captions)
    assert not folders.captions.exists()


def test_a_shard_that_was_exchanged_since_the_corpus_stage(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    folders.write_corpus(["dog"] * 120, list(SHARDS))
    path = manifest_shards(folders.corpus)[1].path
    write_shard(path, [("0", b"jpeg", "a cat")])
    with pytest.raises(DataError, match=r"00001\.tar has [\d,]+ bytes, and had"):
        captions.run(make_config(), corpus=folders.corpus, out=folders.captions)


def test_what_captions_are_made_from_is_known_beforehand(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    folders.write_corpus(["dog"] * 120, list(SHARDS))
    words = tmp_path / "words.txt"
    words.write_text("dog\n")
    plain, listed = make_config(), make_config(vocabulary={"file": str(words)})
    before = [captions.inputs(config, folders.corpus) for config in (plain, listed)]
    captions.run(listed, corpus=folders.corpus, out=folders.captions)
    assert read_json(folders.captions / "manifest.json")["stamp"] == before[1] != before[0]
    words.write_text("dog\ncat\n")
    assert captions.inputs(listed, folders.corpus) != before[1]
    held = make_config(vocabulary={"min_count": 1, "exclude_benchmarks": ["voc"]})
    assert captions.inputs(held, folders.corpus)["inputs"] != before[0]["inputs"]
    assert captions.inputs(plain, folders.corpus) == before[0]
    described = read_json(folders.corpus)
    described["shards"][1]["samples"] = 39  # as where one is set aside
    write_json(folders.corpus, described)
    assert captions.inputs(plain, folders.corpus) != before[0]
    for texts, aside in ((["cat"] * 120, ()), (["dog"] * 120, ("tiny/00001",))):
        folders.write_corpus(texts, list(SHARDS), aside)
        assert captions.inputs(plain, folders.corpus) != before[0]


def test_the_pool_s_words_are_the_captions(tmp_path: Path) -> None:
    folders, pool = Folders(tmp_path / "own"), Folders(tmp_path / "pool")
    folders.write_corpus(["a red dog"] * 120, list(SHARDS))
    pool.captions.mkdir(parents=True)
    pool.curation.words.write_text("zebra\ndog\n")
    config = make_config(pool=str(pool.root))
    before = captions.inputs(config, folders.corpus)
    captions.run(config, corpus=folders.corpus, out=folders.captions)
    assert folders.curation.words.read_text() == "zebra\ndog\n"
    pool.curation.words.write_text("dog\n")
    assert captions.inputs(config, folders.corpus) != before
