"""The score: an exact confusion matrix, and the mean over classes of intersection over union.

Takes label maps (prediction and truth); gives int64 counts (C, C), rows the truth, and IoU_c = n_cc / (sum of row c +
sum of column c - n_cc). Counts add up over images and machines without rounding, which is why they are the result.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cocu.errors import NumericsError

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def confusion(
    prediction: npt.NDArray[np.integer], truth: npt.NDArray[np.integer], classes: int, ignore: int
) -> Integers:
    """Pixel counts (C, C) int64, rows the truth, of two label maps of the same shape and any integer type.

    Pixels whose truth is `ignore` count nowhere. Raises `NumericsError` for other shapes or labels outside 0..C-1.
    """
    if prediction.shape != truth.shape:
        raise NumericsError(f"The prediction is {prediction.shape} and the truth {truth.shape}: they must be equal.")
    scored = truth != ignore
    rows = truth[scored].astype(np.int64)  # widened first: truth * C overflows 8 bits from 16 classes on
    columns = prediction[scored].astype(np.int64)
    for what, labels in (("truth", rows), ("prediction", columns)):
        if labels.size and (labels.min() < 0 or labels.max() >= classes):
            raise NumericsError(
                f"The {what} holds labels {labels.min()}..{labels.max()}; the classes are 0..{classes - 1}."
            )
    return np.bincount(rows * classes + columns, minlength=classes * classes).reshape(classes, classes)


def iou(counts: Integers) -> Floats:
    """IoU (C,) in [0, 1] of the counts (C, C): 0 for a class predicted but absent, nan for one absent from both."""
    hit = counts.diagonal()
    union = counts.sum(0) + counts.sum(1) - hit
    result: Floats = np.divide(hit, union, out=np.full(len(counts), np.nan), where=union > 0)
    return result


def miou(counts: Integers) -> float:
    """The mean IoU in percent over the classes that are present in the truth or the prediction.

    Raises `NumericsError` when no pixel was counted.
    """
    if not counts.any():
        raise NumericsError("No pixel was scored: every truth label is the ignored one, or there were no images.")
    return float(100 * np.nanmean(iou(counts)))
