"""One change of one line, and the tests that must notice it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """`old`, which occurs exactly once in `file`, becomes `new`.

    name: of the change, unique in the table. file: relative to the project's folder. tests: what pytest is asked to
    run, such as "tests/unit/curate/test_rank.py" or "tests/unit/test_io.py::test_json_is_sorted_and_read_back".
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def changes(file: str, tests: tuple[str, ...], *rows: tuple[str, str, str]) -> tuple[Mutant, ...]:
    """The mutants of one file that the same tests must notice; a row is (name, old, new)."""
    return tuple(Mutant(name, file, old, new, tests) for name, old, new in rows)
