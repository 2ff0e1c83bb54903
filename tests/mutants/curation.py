"""One-line changes of the curation: the archive, its search, its captions and its vocabulary."""

from __future__ import annotations

from tests.mutants.mutant import changes

CURATION = (
    *changes(
        "cocu/curate/rank.py",
        ("tests/unit/curate/test_rank.py",),
        ("the maximum is of everything", "largest = max(largest, total[p])", "largest = total[p]"),
    ),
)
