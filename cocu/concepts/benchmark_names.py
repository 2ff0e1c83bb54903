"""Class names of the benchmarks, as a vocabulary is compared with them.

Takes the benchmarks' definitions: the words that go into prompts, without the background. A name has one or more
readings: synonyms are separated by a comma or a slash; COCO-Stuff's "wall-brick" is "brick wall" as well, its
"sky-other" "sky".
"""

from __future__ import annotations

from collections.abc import Iterable

from cocu.benchmarks.definitions import read_benchmark
from cocu.errors import ConfigError
from cocu.fit import PUBLISHED

EMPTY = ("other", "stuff")  # COCO-Stuff's suffixes that name nothing


def benchmark_names(benchmarks: Iterable[str] = PUBLISHED) -> dict[str, list[list[str]]]:
    """Benchmark -> its classes, each a list of readings; of the published eight unless others are named.

    Raises `ConfigError` for a benchmark that is not known, or whose definition is wrong.
    """
    return {name: [readings(word) for word in read_benchmark(name).words] for name in benchmarks}


def held_out_names(benchmarks: Iterable[str]) -> dict[str, list[list[str]]]:
    """The same of curate.vocabulary.exclude_benchmarks, which an error then names."""
    try:
        return benchmark_names(benchmarks)
    except ConfigError as error:
        raise ConfigError(f"curate.vocabulary.exclude_benchmarks: {error}") from error


def readings(name: str) -> list[str]:
    """What a class may be called in a caption."""
    found = []
    for synonym in name.replace("/", ",").split(","):
        found.append(synonym.strip())
        head, dash, tail = synonym.strip().partition("-")
        if dash and " " not in synonym.strip():
            found.append(head if tail in EMPTY else f"{tail} {head}")
    return found
