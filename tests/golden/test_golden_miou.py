"""Scores worked out by hand. Each case changes when the rule it is named after is left out."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cocu.benchmarks.mmseg import IoUCheck
from cocu.evaluate.confusion import confusion, iou, miou
from cocu.segment.segmenter import Segmenter, Views
from cocu.segment.zero_shot import Evidence, Groups, class_logits, group_scores


def mmseg_miou(pairs: list[tuple[np.ndarray, np.ndarray]], classes: int) -> float:
    check = IoUCheck(SimpleNamespace(ignore_index=255, classes=tuple(map(str, range(classes)))))  # type: ignore[arg-type]
    for prediction, truth in pairs:
        check.add(prediction, truth)
    return check.miou()


def test_three_classes_with_ignored_pixels() -> None:
    truth = np.array([[0, 0, 1, 1], [0, 2, 2, 255]])
    prediction = np.array([[0, 1, 1, 1], [0, 2, 0, 2]])
    # The last pixel is ignored: its prediction 2 counts nowhere. Rows are the truth:
    #   0: two pixels 0, one 1;   1: two pixels 1;   2: one pixel 0, one 2.
    counts = confusion(prediction, truth, 3, 255)
    assert counts.tolist() == [[2, 1, 0], [0, 2, 0], [1, 0, 1]]
    # IoU 0: 2 / (3 + 3 - 2) = 1/2;  1: 2 / (2 + 3 - 2) = 2/3;  2: 1 / (2 + 1 - 1) = 1/2.  Mean 5/9 = 55.56 %.
    assert iou(counts) == pytest.approx([1 / 2, 2 / 3, 1 / 2])
    assert miou(counts) == pytest.approx(500 / 9)
    assert mmseg_miou([(prediction, truth)], 3) == 55.56


def test_absent_classes() -> None:
    truth, prediction = np.array([[0, 0, 0, 0]]), np.array([[0, 0, 0, 1]])
    # 0: 3/4. 1: predicted but absent, so 0. 2: neither, so it leaves the mean: (3/4 + 0) / 2 = 37.5 %, not 25 nor 75.
    counts = confusion(prediction, truth, 3, 255)
    values = iou(counts)
    assert values[:2].tolist() == [0.75, 0.0] and math.isnan(values[2])
    assert miou(counts) == 37.5
    assert mmseg_miou([(prediction, truth)], 3) == 37.5


def test_counts_are_added_over_images_before_dividing() -> None:
    first = (np.array([[0, 1, 1, 1]]), np.array([[0, 0, 0, 0]]))  # alone: (1/4 + 0) / 2 = 12.5 %
    second = (np.array([[1, 1]]), np.array([[1, 1]]))  # alone: 100 %
    # Together 0: 1/4; 1: 2 / (2 + 5 - 2) = 2/5. Mean 32.5 %, where the mean over images is 56.25 %.
    counts = confusion(*first, 2, 255) + confusion(*second, 2, 255)
    assert miou(counts) == pytest.approx(32.5)
    assert mmseg_miou([first, second], 2) == 32.5


def test_many_classes_do_not_overflow_eight_bits() -> None:
    # truth * 60 + prediction reaches 3,599; in 8 bits 59 * 60 + 58 would be 14, that is truth 0 and prediction 14.
    truth, prediction = np.array([[59, 59]], np.uint8), np.array([[58, 59]], np.uint8)
    counts = confusion(prediction, truth, 60, 255)
    assert (counts[59, 58], counts[59, 59], counts.sum()) == (1, 1, 2)
    # 59: 1 / (2 + 1 - 1) = 1/2; 58: predicted but absent, 0. Mean 25 %.
    assert miou(counts) == 25.0
    # Labels beyond 255 keep apart: 300 in 8 bits is 44.
    wide = confusion(np.array([[300, 44]]), np.array([[44, 44]]), 301, 999)
    assert (wide[44, 300], wide[44, 44]) == (1, 1)


def test_random_maps_agree_with_mmsegmentation() -> None:
    rng = np.random.default_rng(0)
    pairs, counts = [], np.zeros((21, 21), np.int64)
    for _ in range(5):
        truth = rng.integers(0, 19, (40, 30))  # 19 and 20 are absent, 20 is predicted
        prediction = np.where(rng.random((40, 30)) < 0.5, truth, rng.choice([*range(19), 20], (40, 30)))
        truth[rng.random((40, 30)) < 0.1] = 255
        pairs.append((prediction, truth))
        counts += confusion(prediction, truth, 21, 255)
    assert round(miou(counts), 2) == mmseg_miou(pairs, 21)


def test_random_maps_agree_with_torchmetrics() -> None:
    from torchmetrics.functional.classification import multiclass_jaccard_index  # seconds, and the other cases fly

    rng = np.random.default_rng(1)
    truth, prediction = rng.integers(0, 300, (2, 3, 50, 40))
    ignored = rng.random(truth.shape) < 0.2
    truth[ignored] = 1000
    counts = sum(confusion(p, t, 301, 1000) for p, t in zip(prediction, truth, strict=True))
    # torchmetrics has no mean over the classes that occur: class 300 does not, and is 0 in its list.
    theirs = multiclass_jaccard_index(
        torch.from_numpy(prediction), torch.from_numpy(truth), 301, average="none", ignore_index=1000
    ).double()
    np.testing.assert_allclose(iou(counts)[:300], theirs[:300], atol=1e-6)
    assert math.isnan(iou(counts)[300]) and theirs[300] == 0
    assert miou(counts) == pytest.approx(100 * float(theirs[:300].mean()), abs=1e-6)


def test_background_threshold() -> None:
    scores = torch.tensor([[[0.6, 0.1], [0.3, 0.2]]])  # one window, two groups, two words
    # 0.5: the second group's best score 0.3 is below it, so background (class 0) gets 1 there; the first stays a word.
    assert class_logits(scores, 0.5).argmax(-1).tolist() == [[1, 0]]
    # 0.95 is above every score; min(0.95, 0.6) = 0.6 and "strictly below" keep the best group; else [0, 0].
    assert class_logits(scores, 0.95).argmax(-1).tolist() == [[1, 0]]
    # 0.3 is not strictly above 0.3.
    assert class_logits(scores, 0.3).argmax(-1).tolist() == [[1, 1]]
    # Benchmarks without a background: the words are the classes.
    assert class_logits(scores, None).argmax(-1).tolist() == [[0, 0]]


def test_the_threshold_is_each_windows_own() -> None:
    scores = torch.tensor([[[0.6, 0.1], [0.3, 0.2]], [[0.2, 0.1], [0.1, 0.05]]])
    # The second window's best is 0.2, and stays a word; under the first window's 0.6 it would be background.
    assert class_logits(scores, 0.95).argmax(-1).tolist() == [[1, 0], [1, 0]]


def test_top_five_filter() -> None:
    # Seven words. The group likes word 6 best (logit 3), but the image as a whole ranks it last; of the image's five
    # best, 0 to 4, the group likes word 1 most.
    whole = torch.tensor([[7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]])
    group = torch.tensor([[[0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 3.0]]])
    assert group_scores(group, whole).argmax(-1).item() == 1
    assert group_scores(group, whole, top=7).argmax(-1).item() == 6  # the filter left out
    # Word 1: A = e^2 / (5 + e^2 + e^3) = 0.22753; B = e^2 / (4 + e^2) = 0.64879, without words 5 and 6. A B = 0.14762.
    scores = group_scores(group, whole)[0, 0]
    assert scores[1].item() == pytest.approx(0.14762, abs=1e-5)
    assert scores[5:].tolist() == [0.0, 0.0]
    # With fewer than five words all are kept.
    assert (group_scores(group[..., :3], whole[:, :3]) > 0).all()


def test_windows_are_averaged_by_count() -> None:
    # One row of 6 pixels, windows of 4 at 0 and at 2; one group a window, so every pixel of a window has its scores.
    # Left window (0.5, 0, 0.38), right window (0, 0.5, 0.38): words 0 and 1. Their mean, at pixels 2 and 3, is
    # (0.25, 0.25, 0.38): word 2, which no window alone says.
    evidence = Evidence(
        regions=Groups(torch.zeros(2, 1, 4, dtype=torch.int64)),
        scores=torch.tensor([[[0.5, 0.0, 0.38]], [[0.0, 0.5, 0.38]]]),
        words=torch.zeros(2, 3),
    )
    views = Views(original=(1, 6), resized=(1, 6), corners=[(0, 0), (0, 2)], evidence=evidence)
    nothing = SimpleNamespace()
    segmenter = Segmenter(nothing, nothing, torch.zeros(3, 3), False, (2048, 1), 4, 2)  # type: ignore[arg-type]
    assert segmenter.segment(views, 0.0).tolist() == [[[0, 0, 2, 2, 1, 1]]]
    # Enlarged to 8 pixels, pixel 2 lies at 2.5 * 6 / 8 - 0.5 = 1.375, 0.625 of pixel 1 and 0.375 of pixel 2:
    # (0.406, 0.094, 0.38), word 0. With sums in place of means it is (0.5, 0.188, 0.523), word 2.
    wide = Views(original=(1, 8), resized=(1, 6), corners=views.corners, evidence=evidence)
    assert segmenter.segment(wide, 0.0).tolist() == [[[0, 0, 0, 2, 2, 1, 1, 1]]]
