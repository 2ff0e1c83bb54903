from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from cocu.benchmarks.definitions import Benchmark
from cocu.segment import segmenter as module
from cocu.segment.segmenter import Views, benchmark_segmenter, best_classes
from cocu.segment.zero_shot import Evidence, Groups, Patches

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
    square = segmenter.segment(segmenter.look([halves(BIRD, DOG, 64, 64)]), 0.5)[0]  # one window of 16 x 16
    assert square.shape == (64, 64) and (square[:, :24] == 1).all() and (square[:, 40:] == 3).all()


def test_one_window_of_an_image_at_its_size_is_labelled_as_if_it_were_painted(
    model: Any, normalisation: Any, benchmark_of: Callable[..., Benchmark]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    for background in (True, False):
        words = ("bird", "cat", "dog")
        fields = {} if background else {"background": False, "classes": words, "prompts": words}
        segmenter = benchmark_segmenter(model, normalisation, benchmark_of(**fields))
        views = segmenter.look(list(noise))
        logits = module.class_logits(views.evidence.scores, 0.5 if background else None)
        assert np.array_equal(segmenter.segment(views, 0.5), best_classes(views, slice(0, 3), logits).numpy())


def test_the_model_sees_normalised_rgb(model: Any, benchmark_of: Callable[..., Benchmark]) -> None:
    seen: list[torch.Tensor] = []
    encode = model.encode_image
    model.encode_image = lambda images: seen.append(images) or encode(images)
    normalisation = SimpleNamespace(mean=(0.1, 0.2, 0.4), std=(0.5, 0.25, 0.2))
    image = np.zeros((16, 20, 3), np.uint8)  # windows at the columns 0, 4
    image[2, 5] = (51, 102, 204)  # 0.2, 0.4, 0.8 of 255
    benchmark_segmenter(model, normalisation, benchmark_of()).look([image])
    (windows,) = seen
    assert windows.shape == (2, 3, 16, 16)
    for window, column in ((0, 5), (1, 1)):
        assert windows[window, :, 2, column].tolist() == pytest.approx([0.2, 0.8, 2.0], abs=1e-6)
    assert windows[0, :, 5, 2].tolist() == pytest.approx([-0.2, -0.8, -2.0], abs=1e-6)


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
    monkeypatch.setattr(module, "PAINT", 16 * 40)
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


def test_one_label_is_the_best_of_the_mean_over_an_images_windows(
    model: Any, normalisation: Any, benchmark_of: Callable[..., Benchmark]
) -> None:
    # means: 0.3, 0.45, 0.25 in the first image, 0.35, 0.2, 0.45 in the second; the largest of any window is word 0's
    words = torch.tensor([[0.6, 0.4, 0.0], [0.0, 0.5, 0.5], [0.0, 0.4, 0.6], [0.7, 0.0, 0.3]])
    evidence = Evidence(Groups(torch.zeros(4, 2, 2, dtype=torch.int64)), torch.zeros(4, 1, 3), words)
    views = Views((2, 3), (2, 3), [(0, 0), (0, 1)], evidence)
    labels = benchmark_segmenter(model, normalisation, benchmark_of()).one_label(views)
    assert labels.tolist() == [[[2] * 3] * 2, [[3] * 3] * 2]  # of words 1 and 2, after the background


@pytest.mark.parametrize("band", [1, 3000, 2**24])
@pytest.mark.parametrize("patches", [False, True])
def test_the_argmax_over_bands_of_classes_is_that_of_the_whole(band: int, patches: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    regions: Groups | Patches = Patches((2, 2), (8, 8), (8, 8))
    if not patches:
        regions = Groups(torch.randint(0, 4, (4, 8, 8), generator=generator))
    logits = torch.rand(4, 4, 9, generator=generator)  # two images of two windows each, four regions, nine classes
    logits[:, :, [2, 5, 6]] = 0  # classes that nothing speaks for
    logits[:, :, 7] = logits[:, :, 3]  # a tie everywhere: the first class wins
    views = Views((13, 17), (8, 12), [(0, 0), (0, 4)], Evidence(regions, logits, logits[:, 0]))
    painted = regions.paint(logits)
    whole = torch.zeros(2, 9, 8, 12)
    whole[..., :8] += painted[0::2]
    whole[..., 4:] += painted[1::2]
    whole[..., 4:8] /= 2
    expected = F.interpolate(whole, size=(13, 17), mode="bilinear", align_corners=False).argmax(1)
    assert torch.equal(best_classes(views, slice(0, 4), logits, band), expected)
    assert len(expected.unique()) > 3 and 7 not in expected


def test_where_no_class_has_a_logit_the_first_one_is_taken() -> None:
    logits = torch.zeros(1, 1, 4)
    logits[0, 0, 2] = 1.0
    regions = Groups(torch.zeros(1, 2, 2, dtype=torch.int64))
    views = Views((2, 2), (2, 2), [(0, 0)], Evidence(regions, logits, logits[:, 0]))
    assert best_classes(views, slice(0, 1), logits).unique().tolist() == [2]
    assert best_classes(views, slice(0, 1), torch.zeros(1, 1, 4)).unique().tolist() == [0]
