"""Both sides of every figure agree; how fast they are is not a test's business."""

from __future__ import annotations

import pytest

from bench.curation import figures


@pytest.mark.slow
def test_both_sides_of_every_figure_agree() -> None:
    found = list(figures(quick=True))
    assert len([figure for figure in found if not figure.bench.startswith("on the GPU")]) == 8
    assert [figure.bench for figure in found if not figure.equal] == []
