"""Geometry of the evaluation: resize an image and cut it into windows.

Takes uint8 images and float32 tensors; gives windows and where they lie. As in the published protocol: resize keeping
the ratio (cv2 bilinear, no antialias), windows every `stride` pixels, the last one flush with the border.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F


def rescaled_size(height: int, width: int, scale: tuple[int, int]) -> tuple[int, int]:
    """(height, width) after resizing by min(cap / long side, short / short side), scale = (cap, short), in pixels."""
    cap, short = scale
    factor = min(cap / max(height, width), short / min(height, width))
    return max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))


def rescale(image: npt.NDArray[np.uint8], scale: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """An image (H, W, 3) at `rescaled_size`, bilinear without antialias."""
    height, width = rescaled_size(image.shape[0], image.shape[1], scale)
    if (height, width) == image.shape[:2]:
        return image
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """Where windows begin along a side: every `stride`, the last flush with the border; [0] when one holds it all."""
    last = max(length - window, 0)
    return [min(i * stride, last) for i in range(-(-last // stride) + 1)]


def window_corners(height: int, width: int, window: int, stride: int) -> list[tuple[int, int]]:
    """(top, left) of every window, in reading order."""
    lefts = window_starts(width, window, stride)
    return [(top, left) for top in window_starts(height, window, stride) for left in lefts]


def cut(images: Tensor, corners: Sequence[tuple[int, int]], window: int) -> Tensor:
    """The windows (b, v, 3, h, w) of images (b, 3, H, W); h = min(window, H) and w = min(window, W)."""
    return torch.stack([images[:, :, top : top + window, left : left + window] for top, left in corners], dim=1)


def pad_to_multiple(images: Tensor, patch: int) -> Tensor:
    """Images (b, 3, h, w) with zeros (the mean colour, when normalised) below and right, to multiples of `patch`."""
    height, width = images.shape[-2:]
    return F.pad(images, (0, -width % patch, 0, -height % patch))
