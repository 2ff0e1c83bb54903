from __future__ import annotations

from itertools import pairwise

import pytest

from cocu.concepts import matcher as module
from cocu.concepts.matcher import Matcher

VOCABULARY = [
    "car",
    "traffic light",
    "light",
    "traffic",
    "person",
    "bus stop",
    "bus stop sign",
    "glass",
    "glasses",
    "box",
]


@pytest.mark.parametrize(
    ("caption", "names"),
    [
        ("a carpet and a scar", []),
        ("Two CARS, one car", ["car"]),
        ("A Person in a BOX", ["person", "box"]),
        ("traffic lights over a car", ["traffic light", "car"]),
        ("a light in traffic", ["light", "traffic"]),
        ("traffic, light", ["traffic", "light"]),
        ("at the bus stop", ["bus stop"]),
        ("the bus-stop sign", ["bus stop sign"]),
        ("people with boxes", ["person", "box"]),
        ("a glass and glasses", ["glass", "glasses"]),
        ("\uff43\uff41\uff52\u00a0box's", ["car", "box"]),
        ("", []),
    ],
)
def test_whole_tokens_and_the_longest_match(caption: str, names: list[str]) -> None:
    matcher = Matcher(VOCABULARY)
    assert [VOCABULARY[c] for c in matcher(caption)] == names
    assert [VOCABULARY[c] for c in matcher(caption)] == names  # from the memo


def test_neither_batches_nor_a_full_memo_change_what_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    captions = ["a car", "the bus stop", "a car, a light", "traffic lights", "nothing", "car", "light car light"] * 3
    expected = [Matcher(VOCABULARY)(caption) for caption in captions]
    monkeypatch.setattr(module, "_BATCH", 2)
    monkeypatch.setattr(module, "_MEMO_CHUNKS", 4)
    matcher = Matcher(VOCABULARY)
    indptr, ids = matcher.batch(captions)
    assert [ids[a:b].tolist() for a, b in pairwise(indptr)] == expected
    assert len(matcher._chunks) < len({chunk for caption in captions for chunk in caption.split()})


def test_a_compound_that_is_not_finished_gives_its_parts_back() -> None:
    matcher = Matcher(["a b c d", "b", "a b"])
    assert matcher("a b c x b") == [2, 1]


def test_plural_in_the_vocabulary_and_exact_form_first() -> None:
    matcher = Matcher(["bumper cars", "car", "cars show"])
    assert matcher("bumper cars") == [0]
    assert matcher("cars") == [1]
    assert matcher("the cars show") == [2]
