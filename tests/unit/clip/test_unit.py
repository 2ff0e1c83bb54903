from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cocu.clip.unit import check_unit
from cocu.errors import NumericsError

WHERE = Path("x.tar")


def rows_with(length: float) -> np.ndarray:
    """Four unit vectors, of which the third has the length instead."""
    rows = np.eye(4, dtype=np.float32)
    rows[2, 2] = length
    return rows


@pytest.mark.parametrize("length", [1.0005, 0.9995])
def test_rounding_is_no_fault(length: float) -> None:
    check_unit(rows_with(length), "abcd", where=WHERE)


def test_float16_is_near_enough() -> None:
    rows = np.random.default_rng(0).normal(size=(1_000, 64))
    check_unit((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16), ["a"] * 1_000, where=WHERE)


@pytest.mark.parametrize("length", [1.002, 0.998, 0.0, np.inf, np.nan])
def test_another_length_names_the_place_and_the_row(length: float) -> None:
    said = rf"x\.tar: the embedding of 'c' has the length {length:.4g} where 1 is needed \(1 such rows\)"
    with pytest.raises(NumericsError, match=said):
        check_unit(rows_with(length), "abcd", where=WHERE)


def test_all_are_counted_and_the_first_is_named() -> None:
    with pytest.raises(NumericsError, match=r"'b' .* \(2 such rows\)"):
        check_unit(np.diag([1.0, 2.0, 1.0, 3.0]), "abcd", where=WHERE)
