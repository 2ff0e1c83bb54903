from __future__ import annotations

import numpy as np
import pytest
import torch

from cocu.segment.windows import (
    cut,
    pad_to_multiple,
    rescale,
    rescaled_size,
    window_corners,
    window_starts,
)


@pytest.mark.parametrize(
    ("length", "starts"), [(448, [0]), (300, [0]), (449, [0, 1]), (672, [0, 224]), (700, [0, 224, 252])]
)
def test_the_last_window_is_flush_with_the_border(length: int, starts: list[int]) -> None:
    assert window_starts(length, 448, 224) == starts


@pytest.mark.parametrize(
    ("size", "expected"),
    [((375, 500), (448, 597)), ((500, 375), (597, 448)), ((100, 1000), (205, 2048)), ((448, 448), (448, 448))],
)
def test_the_short_side_is_reached_unless_the_long_one_is_capped(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert rescaled_size(*size, (2048, 448)) == expected
    assert rescale(np.zeros((*size, 3), np.uint8), (2048, 448)).shape == (*expected, 3)


def test_pixels_are_resized_bilinearly_without_antialias() -> None:
    # a third of the width: column 0 lies at 1.0, column 1 at 4.0; the mean of three would be 40 and 103
    thin = np.array([0, 90, 30, 240, 10, 60], np.uint8)
    wide = np.repeat(np.repeat(thin[None, :, None], 6, 0), 3, 2)
    assert rescale(wide, (2048, 2))[:, :, 0].tolist() == [[90, 10], [90, 10]]
    assert rescale(wide.transpose(1, 0, 2).copy(), (2048, 2))[:, :, 0].tolist() == [[90, 90], [10, 10]]
    # twice the width: the columns lie at -0.25, 0.25, 0.75 and 1.25
    two = np.repeat(np.array([[0, 200], [0, 200]], np.uint8)[..., None], 3, 2)
    assert rescale(two, (2048, 4))[2, :, 1].tolist() == [0, 50, 150, 200]


def test_windows_are_in_reading_order() -> None:
    assert window_corners(12, 11, 8, 4) == [(0, 0), (0, 3), (4, 0), (4, 3)]


def test_windows_are_cut_in_reading_order_and_may_be_smaller_than_the_window() -> None:
    image = torch.arange(6 * 10.0).reshape(1, 1, 6, 10).expand(1, 3, 6, 10)
    corners = window_corners(6, 10, 8, 4)
    assert corners == [(0, 0), (0, 2)]
    windows = cut(image, corners, 8)
    assert windows.shape == (1, 2, 3, 6, 8)
    assert windows[0, :, 0, 1, 0].tolist() == [10.0, 12.0]


def test_padding_is_below_and_right_alone() -> None:
    padded = pad_to_multiple(torch.ones(1, 3, 5, 8), 4)
    assert padded.shape == (1, 3, 8, 8)
    assert padded[0, 0].sum(1).tolist() == [8.0] * 5 + [0.0] * 3
