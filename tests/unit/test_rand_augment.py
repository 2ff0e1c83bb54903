"""The notation of RandAugment: what timm takes as it is written passes, and what it would ignore or refuse does not."""

from __future__ import annotations

import re
from typing import Any

import pytest
from timm.data.auto_augment import rand_augment_transform

from cocu.rand_augment import EXAMPLE, PARTS, mistake


def operations(text: str) -> dict[str, Any]:
    """What timm makes of a text."""
    made = rand_augment_transform(text, {})
    one = made.ops[0]
    return {
        "m": one.magnitude,
        "mstd": one.magnitude_std,
        "mmax": one.magnitude_max,
        "p": one.prob,
        "n": made.num_layers,
        "inc": any("Increasing" in o.name for o in made.ops),
        "t": len(made.ops),
    }


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("rand-m9-mstd0.5-inc1", {"m": 9, "mstd": 0.5, "inc": True}),
        ("rand-m0", {"m": 0}),
        ("rand-m15-mmax20", {"m": 15, "mmax": 20}),
        ("rand-mmax10", {"mmax": 10}),
        ("rand-n3", {"n": 3}),
        ("rand-p0.25", {"p": 0.25}),
        ("rand-p1", {"p": 1}),
        ("rand-mstd101", {"mstd": float("inf")}),
        ("rand-inc0", {}),
        ("rand-t3a", {"t": 3, "inc": True}),
        ("rand-t3aw", {"t": 14, "inc": True}),
        ("rand-tweights", {"t": 15, "inc": True}),
    ],
)
def test_what_passes_is_what_timm_reads(text: str, changed: dict[str, Any]) -> None:
    assert mistake(text) == ""
    assert operations(text) == {"m": 10, "mstd": 0, "mmax": None, "p": 0.5, "n": 2, "inc": False, "t": 15} | changed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rand", f"does not begin with 'rand-' and a part: write it as {EXAMPLE}"),
        ("randm9", f"does not begin with 'rand-' and a part: write it as {EXAMPLE}"),
        ("original-mstd0.5", f"does not begin with 'rand-' and a part: write it as {EXAMPLE}"),
        ("rand-9", "has the part '9', and timm knows mstd, mmax, inc, m, n, p, t: correct or remove it"),
        ("rand-m9-w0", "has the part 'w0', and timm knows mstd, mmax, inc, m, n, p, t: correct or remove it"),
        ("rand-m9-", "has the part '', and timm knows mstd, mmax, inc, m, n, p, t: correct or remove it"),
        ("rand-m", "has the part 'm', and after 'm' comes a whole number: correct it"),
        ("rand-m9.5", "has the part 'm9.5', and after 'm' comes a whole number: correct it"),
        ("rand-mst0.5", "has the part 'mst0.5', and after 'm' comes a whole number: correct it"),
        (
            "rand-m9-mstdinf",
            "has the part 'mstdinf', and after 'mstd' comes a number, 0.5 for one; above 100 the magnitude is drawn "
            "evenly: correct it",
        ),
        ("rand-mmax0", "has the part 'mmax0', and after 'mmax' comes a whole number above 0: correct it"),
        ("rand-n0", "has the part 'n0', and after 'n' comes a whole number above 0: correct it"),
        ("rand-p0.0", "has the part 'p0.0', and after 'p' comes a number above 0, at most 1: correct it"),
        ("rand-p1.5", "has the part 'p1.5', and after 'p' comes a number above 0, at most 1: correct it"),
        ("rand-inc2", "has the part 'inc2', and after 'inc' comes 0 or 1: correct it"),
        ("rand-m9-inc", "has the part 'inc', and after 'inc' comes 0 or 1: correct it"),
        ("rand-tweight", "has the part 'tweight', and after 't' comes weights, 3a or 3aw: correct it"),
        ("rand-m9-m5", "has the part 'm' twice: remove one"),
        ("rand-inc1-t3a", "has 'inc1', which 't3a' leaves without effect: remove one"),
        ("rand-m11", "has the magnitude 11, cut off at 10: lower m, or raise mmax"),
        ("rand-mmax9", "has the magnitude 10, cut off at 9: lower m, or raise mmax"),
    ],
)
def test_what_timm_would_ignore_or_refuse_is_a_sentence(text: str, said: str) -> None:
    assert mistake(text) == f"train.augment.rand_augment '{text}' {said}"


def test_every_part_is_one_that_timm_names() -> None:
    """Its own documentation of the notation, so that a new timm with more parts is noticed."""
    assert rand_augment_transform.__doc__ is not None
    assert set(re.findall(r"\* '(\w+)'", rand_augment_transform.__doc__)) == set(PARTS)
