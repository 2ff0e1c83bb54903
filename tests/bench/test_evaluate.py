"""Both sides of the evaluation's figures give the same labels; how fast they are is not a test's business."""

from __future__ import annotations

import pytest

from bench.evaluate import figures


@pytest.mark.slow
def test_both_sides_give_the_same_labels() -> None:
    (figure,) = figures(quick=True)
    assert figure.equal and figure.bench == "voc"
    assert int(figure.note.split("; ")[1].split()[0]) > 1  # labels that occur: equal maps of one label would say little
