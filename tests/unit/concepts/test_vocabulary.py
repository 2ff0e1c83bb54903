from __future__ import annotations

from pathlib import Path

import pytest

from cocu.concepts.vocabulary import build_vocabulary, read_vocabulary
from cocu.config import Vocabulary
from cocu.errors import ConfigError, DataError


def build(captions: list[str], **settings: int) -> list[str]:
    return build_vocabulary(lambda: captions, Vocabulary(**{"min_count": 2, **settings}))


def test_words_by_count_then_name_without_stop_words() -> None:
    captions = [
        "a photo of two red dogs near the sea",
        "the dog sees a cat",
        "cat, sea and dog",
        "quickly painted 42 dog",
    ]
    assert build(captions) == ["dog", "cat", "sea"]


def test_a_word_counts_once_a_caption() -> None:
    assert build(["dog dog dog", "cat", "cat"]) == ["cat"]


def test_compounds_must_hold_together() -> None:
    lights = ["a traffic light"] * 3 + ["traffic lights and a light"] + ["light"] * 6
    dogs = ["dog grass", "dog grass", "dog sea", "grass dog", "grass", "grass", "dog"]
    # all 4 of "traffic" have "traffic light"; "dog grass" is in 2 of the 5 captions with a dog
    assert build(lights + dogs) == ["light", "dog", "grass", "traffic", "traffic light"]
    assert build(lights + dogs, max_tokens=1) == ["light", "dog", "grass", "traffic"]


def test_half_of_the_captions_hold_a_compound_together() -> None:
    apart = ["truck", "truck", "fire", "fire"]
    assert build(["fire truck"] * 2 + apart) == ["fire", "truck", "fire truck"]  # 2 of 4
    assert build(["fire truck"] * 2 + [*apart, "truck fire"]) == ["fire", "truck"]  # 2 of 5


def test_no_compound_over_punctuation_or_stop_words() -> None:
    assert build(["dog, cat"] * 3 + ["sun and moon"] * 2) == ["cat", "dog", "moon", "sun"]


def test_longer_compounds_and_limits() -> None:
    captions = ["full size fire hydrant cover plate"] * 2  # "full", "size": "full" and "cover" are stop words
    assert build(captions) == ["fire", "fire hydrant", "hydrant", "plate", "size", "size fire", "size fire hydrant"]
    assert build(captions, max_concepts=2) == ["fire", "fire hydrant"]


def test_plurals_fold_only_onto_words_that_occur() -> None:
    assert build(["berries", "berry", "puppies", "puppies", "lens", "lens", "men", "man", "glasses", "glass"]) == [
        *("berry", "glass", "lens", "man", "puppies"),
    ]


def test_the_order_of_captions_changes_nothing() -> None:
    captions = ["dog and cat", "cat on sea", "sea by dog", "sun wall", "sun wall"]
    assert build(captions) == build(captions[::-1])


def test_a_file_keeps_its_order_and_names_bad_lines(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("# objects\nZebra\n\ntraffic-light\n zebra \ncar\n", encoding="utf-8")
    assert read_vocabulary(path, Vocabulary()) == ["zebra", "traffic light", "car"]
    path.write_text("car\n???\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 2"):
        read_vocabulary(path, Vocabulary())
    path.write_text("one two\n", encoding="utf-8")
    assert read_vocabulary(path, Vocabulary(max_tokens=2)) == ["one two"]
    path.write_text("one two three\n", encoding="utf-8")
    with pytest.raises(DataError, match="max_tokens"):
        read_vocabulary(path, Vocabulary(max_tokens=2))
    path.write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(DataError, match="holds 0 concepts"):
        read_vocabulary(path, Vocabulary())
    with pytest.raises(ConfigError, match="nowhere"):
        read_vocabulary(tmp_path / "nowhere.txt", Vocabulary())
