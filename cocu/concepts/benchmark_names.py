"""Class names of the eight benchmarks, as a vocabulary is compared with them.

benchmark_names.json holds the names that go into prompts, without the background. A name has one or more readings:
synonyms are separated by a comma or a slash; COCO-Stuff's "wall-brick" is "brick wall" as well, its "sky-other" "sky".
"""

from __future__ import annotations

import json
from importlib.resources import files

EMPTY = ("other", "stuff")  # COCO-Stuff's suffixes that name nothing


def benchmark_names() -> dict[str, list[list[str]]]:
    """Benchmark -> its classes, each a list of readings."""
    return {benchmark: [readings(name) for name in names] for benchmark, names in _read().items()}


def prompt_names(benchmark: str) -> list[str]:
    """The names of a benchmark's classes as they go into prompts, in the order of their ids, without the background."""
    return _read()[benchmark]


def _read() -> dict[str, list[str]]:
    text = files("cocu.concepts").joinpath("benchmark_names.json").read_text(encoding="utf-8")
    names: dict[str, list[str]] = json.loads(text)
    return names


def readings(name: str) -> list[str]:
    """What a class may be called in a caption."""
    found = []
    for synonym in name.replace("/", ",").split(","):
        found.append(synonym.strip())
        head, dash, tail = synonym.strip().partition("-")
        if dash and " " not in synonym.strip():
            found.append(head if tail in EMPTY else f"{tail} {head}")
    return found
