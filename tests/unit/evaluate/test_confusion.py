from __future__ import annotations

import numpy as np
import pytest

from cocu.errors import NumericsError
from cocu.evaluate.confusion import confusion, miou


def test_labels_out_of_range_are_refused() -> None:
    fine, bad = np.zeros((2, 2), np.int64), np.full((2, 2), 3)
    for prediction, truth, what in ((bad, fine, "prediction"), (fine, bad, "truth"), (fine - 1, fine, "prediction")):
        with pytest.raises(NumericsError, match=f"The {what} holds labels"):
            confusion(prediction, truth, 3, 255)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(NumericsError, match=r"\(2, 3\).*\(3, 2\)"):
        confusion(np.zeros((2, 3), np.int64), np.zeros((3, 2), np.int64), 2, 255)


def test_nothing_scored_is_no_score() -> None:
    with pytest.raises(NumericsError, match="No pixel was scored"):
        miou(confusion(np.zeros((2, 2), np.int64), np.full((2, 2), 255), 2, 255))
