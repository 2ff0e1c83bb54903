from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cocu.segment import segmenter as module
from cocu.segment.benchmarks import Benchmark
from cocu.segment.segmenter import benchmark_segmenter

BIRD, CAT, DOG = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def halves(left: tuple[int, int, int], right: tuple[int, int, int], height: int, width: int) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2], image[:, width // 2 :] = left, right
    return image


def test_labels_are_at_the_original_size_and_place(
    model: Any, normalisation: Any, benchmark_of: Callable[..., Benchmark]
) -> None:
    segmenter = benchmark_segmenter(model, normalisation, benchmark_of())
    labels = segmenter.segment(segmenter.look([halves(BIRD, DOG, 64, 128)]), 0.5)[
        0
    ]  # resized to 16 x 32: three windows
    assert labels.shape == (64, 128) and labels.dtype == np.int64
    assert (labels[:, :56] == 1).all() and (labels[:, 72:] == 3).all()


def test_the_threshold_changes_the_labels_and_not_the_forward_passes(
    model: Any, normalisation: Any, benchmark_of: Callable[..., Benchmark]
) -> None:
    segmenter = benchmark_segmenter(model, normalisation, benchmark_of())
    views = segmenter.look([halves(BIRD, (0, 0, 0), 16, 16)])
    low, high = segmenter.segment(views, 0.0)[0], segmenter.segment(views, 0.9)[0]
    assert model.calls == 1
    assert (high[:, 10:] == 0).all() and (high[:, :6] == 1).all()
    assert (low != 0).all()


def test_a_batch_and_small_forward_passes_give_what_single_images_give(
    model: Any, normalisation: Any, benchmark_of: Callable[..., Benchmark], monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = benchmark_segmenter(model, normalisation, benchmark_of())
    images = [halves(BIRD, DOG, 16, 40), halves(CAT, (0, 0, 0), 16, 40), halves(DOG, CAT, 16, 40)]
    alone = np.concatenate([segmenter.segment(segmenter.look([image]), 0.5) for image in images])
    monkeypatch.setattr(module, "FORWARD", 2 * 16 * 16)
    assert np.array_equal(segmenter.segment(segmenter.look(images), 0.5), alone)
    assert len(np.unique(alone)) == 4


def test_one_label_is_the_images_best_word(
    model: Any, normalisation: Any, benchmark_of: Callable[..., Benchmark]
) -> None:
    image = halves(BIRD, DOG, 16, 48)
    image[:, 16:24] = DOG  # dog has two thirds
    for background, label in ((True, 3), (False, 2)):
        names = {} if background else {"classes": ("bird", "cat", "dog"), "prompts": ("bird", "cat", "dog")}
        segmenter = benchmark_segmenter(model, normalisation, benchmark_of(background=background, **names))
        labels = segmenter.one_label(segmenter.look([image]))
        assert labels.shape == (1, 16, 48) and np.unique(labels).tolist() == [label]
