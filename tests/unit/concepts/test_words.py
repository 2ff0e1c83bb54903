from __future__ import annotations

import pytest

from cocu.concepts.words import is_noun_like, is_stop, singulars


@pytest.mark.parametrize(
    ("plural", "singular"),
    [
        *(("dogs", "dog"), ("boxes", "box"), ("horses", "horse"), ("berries", "berry"), ("cookies", "cookie")),
        *(("knives", "knife"), ("wolves", "wolf"), ("firemen", "fireman"), ("women", "woman"), ("people", "person")),
        *(("buses", "bus"), ("tvs", "tv")),
    ],
)
def test_singulars(plural: str, singular: str) -> None:
    assert singular in singulars(plural)


def test_what_has_no_singular() -> None:
    assert [singulars(word) for word in ("grass", "dog", "is", "")] == [(), (), (), ()]


def test_nouns_with_the_endings_of_verbs() -> None:
    assert [is_noun_like(w) for w in ("building", "riding", "family", "slowly", "seaweed", "parked")] == [
        *(True, False, True, False, True, False),
    ]


def test_stop_words() -> None:
    assert [is_stop(w) for w in ("photo", "red", "3d", "x", "orange", "tv")] == [True, True, True, True, False, False]
