from __future__ import annotations

import pytest

from cocu.concepts.words import is_noun, is_stop, singulars


@pytest.mark.parametrize(
    ("plural", "singular"),
    [
        *(("dogs", "dog"), ("boxes", "box"), ("horses", "horse"), ("berries", "berry"), ("cookies", "cookie")),
        *(("knives", "knife"), ("wolves", "wolf"), ("firemen", "fireman"), ("women", "woman"), ("people", "person")),
        *(("buses", "bus"), ("mice", "mouse"), ("cacti", "cactus"), ("oxen", "ox"), ("grandchildren", "grandchild")),
        *(("soaps", "soap"), ("bars", "bar"), ("glasses", "glass"), ("shelves", "shelf"), ("huskies", "husky")),
    ],
)
def test_the_lexicon_s_singulars(plural: str, singular: str) -> None:
    assert singulars(plural) == (singular, *(("cooky",) if plural == "cookies" else ()))


@pytest.mark.parametrize(
    ("plural", "candidates"),
    [
        *(("tvs", ("tv",)), ("kayakers", ("kayaker",)), ("selfies", ("selfie", "selfy")), ("stuntmen", ("stuntman",))),
        *(
            ("dwelves", ("dwelve", "dwelf", "dwelfe")),
            ("jetboxes", ("jetboxe", "jetbox")),
            ("camerawomen", ("camerawoman",)),
        ),
        *(("spycaches", ("spycache", "spycach")), ("angeles", ("angele",))),
    ],
)
def test_the_ending_s_candidates(plural: str, candidates: tuple[str, ...]) -> None:
    assert singulars(plural) == candidates


@pytest.mark.parametrize(
    "word",
    [
        *("grass", "dog", "is", "", "bus", "gas", "lens", "tennis", "scissors", "hippopotamus", "walked", "clothes"),
        *("james", "paris", "texas", "christmas", "kubrass", "os"),
    ],
)
def test_what_is_no_plural(word: str) -> None:
    assert singulars(word) == ()


def test_nouns_by_the_lexicon_and_with_the_endings_of_verbs() -> None:
    nouns = ("building", "family", "seaweed", "bobsled", "firefly", "damselfly", "sunbed", "tv", "kayaker", "lovebird")
    others = ("riding", "standing", "slowly", "lovely", "daily", "parked", "colored", "agreed", "across", "unglorped")
    assert [word for word in (*nouns, *others) if is_noun(word)] == [*nouns]


def test_stop_words() -> None:
    assert [is_stop(w) for w in ("photo", "red", "3d", "x", "orange", "tv")] == [True, True, True, True, False, False]
