"""Our training step and transformers' give the same; how fast they are is not a test's business."""

from __future__ import annotations

from bench.step import GRADIENTS, OUTPUTS, figures


def test_both_sides_have_the_same_outputs_and_gradients() -> None:
    single, half = figures(quick=True)
    assert half.bench == "step, bfloat16 against float32"
    assert single.equal and single.max_abs_diff is not None and single.max_abs_diff <= OUTPUTS
    assert float(single.note.rsplit(" ", 1)[1]) <= GRADIENTS
