from __future__ import annotations

from pathlib import Path

import pytest

from cocu.concepts import captions
from cocu.concepts.overlap import overlap, run_vocabulary
from cocu.concepts.vocabulary import build_vocabulary, read_vocabulary
from cocu.config import Vocabulary
from cocu.errors import ConfigError
from cocu.io import read_json
from tests.unit.curate.conftest import Folders, make_config

TEXTS = [
    "a cat and dogs",
    "cats on a traffic light",
    "a dog near a traffic light",
    "walking a cat house",
    "a cat house",
]


def test_overlap_folds_plurals_and_reads_compounds() -> None:
    report = overlap(["cats", "person", "brick walls", "traffic light", "category"])
    assert report["voc"]["found"] == 2
    assert "dog" in report["voc"]["missing"] and "cat" not in report["voc"]["missing"]
    assert report["coco_object"]["found"] == 3
    assert report["coco_stuff"]["names"] - len(report["coco_stuff"]["missing"]) == report["coco_stuff"]["found"]
    assert "wall-brick" not in report["coco_stuff"]["missing"]


def test_excluded_names_go_and_compounds_stay(tmp_path: Path) -> None:
    def build(**held: object) -> set[str]:
        return set(build_vocabulary(lambda: TEXTS, Vocabulary(min_count=2, **held)))

    assert build() == {"cat", "dog", "traffic light", "cat house", "traffic", "light", "house"}
    assert build(exclude=["Cats"]) == build() - {"cat"}
    assert build(exclude_benchmarks=["coco_object"]) == build() - {"cat", "dog", "traffic light"}
    assert build(exclude_benchmarks=["cityscapes", "mini_voc"]) == build() - {"traffic light", "cat", "dog"}
    (tmp_path / "words.txt").write_text("cats\ncat house\n")
    assert read_vocabulary(tmp_path / "words.txt", Vocabulary(exclude=["cat"])) == ["cat house"]
    with pytest.raises(ConfigError, match="exclude_benchmarks: No benchmark 'vocc'; did you mean 'voc'"):
        build(exclude_benchmarks=["vocc"])


def test_words_that_are_no_nouns_are_no_concepts() -> None:
    texts = ["a slippery temple", "the temple wanders", "slippery quokkadoo wanders", "a quokkadoo"]
    assert build_vocabulary(lambda: texts, Vocabulary(min_count=2)) == ["quokkadoo", "temple"]


def test_the_verb_writes_a_vocabulary_that_can_be_given_back(folders: Folders, tmp_path: Path) -> None:
    out = tmp_path / "words" / "vocabulary.txt"
    run_vocabulary(make_config(vocabulary={"min_count": 3}), corpus=folders.corpus, out=out)
    described = read_json(out.with_suffix(".json"))
    assert out.read_text().startswith("# Concepts of the captions of tiny")
    assert list(described["shards"]) == ["tiny/00000", "tiny/00001", "tiny/00002"]
    assert described["captions"] == 120 and described["overlap"]["ade20k"]["names"] == 150
    again = make_config(vocabulary={"file": str(out)})
    captions.run(again, corpus=folders.corpus, out=tmp_path / "captions")
    words = (tmp_path / "captions/vocabulary.txt").read_text().split()
    assert set(words) == set(described["counts"])
    assert words == [line for line in out.read_text().splitlines() if not line.startswith("#")]
    assert min(described["counts"].values()) >= 3
