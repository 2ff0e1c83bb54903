"""timm's notation of RandAugment, `rand-m9-mstd0.5-inc1`: what timm would refuse, and what it would ignore.

Takes the text; gives what is wrong with it. Source: `rand_augment_transform` of timm 1.0.31, which skips a part without
a digit, falls back to its own set of operations for one that it does not know, and cuts a magnitude off at its bound.
"""

from __future__ import annotations

import re

EXAMPLE = "rand-m9-mstd0.5-inc1"
PARTS = {  # a part's letters -> its value, and what that is
    "mstd": (r"\d+(\.\d+)?", "a number, 0.5 for one; above 100 the magnitude is drawn evenly"),
    "mmax": (r"[1-9]\d*", "a whole number above 0"),
    "inc": (r"[01]", "0 or 1"),
    "m": (r"\d+", "a whole number"),
    "n": (r"[1-9]\d*", "a whole number above 0"),
    "p": (r"0\.\d*[1-9]\d*|1(\.0*)?", "a number above 0, at most 1"),
    "t": (r"weights|3a|3aw", "weights, 3a or 3aw"),
}
MAGNITUDE = BOUND = 10  # where m and mmax are left out


def mistake(text: str) -> str:
    """A sentence, without its full stop, on the first thing that timm does not read as it is written; or nothing."""
    head, *parts = text.split("-")
    if head != "rand" or not parts:
        return _sentence(text, f"does not begin with 'rand-' and a part: write it as {EXAMPLE}")
    given: dict[str, str] = {}
    for part in parts:
        key = next((key for key in PARTS if part.startswith(key)), "")
        if not key:
            return _sentence(text, f"has the part '{part}', and timm knows {', '.join(PARTS)}: correct or remove it")
        form, meaning = PARTS[key]
        if not re.fullmatch(form, part.removeprefix(key)):
            return _sentence(text, f"has the part '{part}', and after '{key}' comes {meaning}: correct it")
        if key in given:
            return _sentence(text, f"has the part '{key}' twice: remove one")
        given[key] = part.removeprefix(key)
    if "inc" in given and "t" in given:
        return _sentence(text, f"has 'inc{given['inc']}', which 't{given['t']}' leaves without effect: remove one")
    magnitude, bound = int(given.get("m", MAGNITUDE)), int(given.get("mmax", BOUND))
    if magnitude > bound:
        return _sentence(text, f"has the magnitude {magnitude}, cut off at {bound}: lower m, or raise mmax")
    return ""


def _sentence(text: str, what: str) -> str:
    return f"train.augment.rand_augment '{text}' {what}"
