"""Segmentation of whole images with any words: the windows' evidence, averaged and brought back to the image's size.

Takes uint8 images of one size; gives label maps. `look` runs the model once over all windows of all images; `segment`
turns what it saw into labels under a background threshold, and `one_label` into one label for the whole image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cocu.segment.benchmarks import Benchmark
from cocu.segment.windows import cut, rescale, resized_argmax, window_corners
from cocu.segment.zero_shot import Evidence, SegmentationModel, class_logits, look, paint, text_embeddings

FORWARD = 2**21  # pixels of windows that go through the model at a time: ten of 448 x 448
Labels = npt.NDArray[np.int64]


class Normalisation(Protocol):
    """Mean and standard deviation of the model's input, of channels R, G, B in [0, 1]."""

    @property
    def mean(self) -> Sequence[float]: ...
    @property
    def std(self) -> Sequence[float]: ...


@dataclass(frozen=True)
class Views:
    """What the model saw in b images of one size through v windows each.

    corners: (top, left) of the windows in the resized image; evidence: of the b x v windows, image by image.
    """

    original: tuple[int, int]
    resized: tuple[int, int]
    corners: list[tuple[int, int]]
    evidence: Evidence


@dataclass(frozen=True)
class Segmenter:
    """A model, the unit embeddings (n, d) of the words to find, and the geometry; see `Benchmark` for the units.

    With a background the labels are 0 for it and i + 1 for word i; without, i for word i.
    """

    model: SegmentationModel
    normalisation: Normalisation
    text: Tensor
    background: bool
    scale: tuple[int, int]
    window: int
    stride: int

    @torch.no_grad()
    def look(self, images: Sequence[npt.NDArray[np.uint8]]) -> Views:
        """Run the model over all windows of the images, uint8 RGB (H, W, 3) of one size."""
        batch = self._normalise(np.stack([rescale(image, self.scale) for image in images]))
        height, width = batch.shape[-2:]
        corners = window_corners(height, width, self.window, self.stride)
        windows = cut(batch, corners, self.window).flatten(0, 1)  # (b v, 3, h, w)
        count = max(1, FORWARD // (windows.shape[-2] * windows.shape[-1]))
        parts = [look(self.model, part, self.text) for part in torch.split(windows, count)]
        evidence = Evidence(
            torch.cat([p.groups for p in parts]),
            torch.cat([p.scores for p in parts]),
            torch.cat([p.words for p in parts]),
        )
        return Views((images[0].shape[0], images[0].shape[1]), (height, width), corners, evidence)

    @torch.no_grad()
    def segment(self, views: Views, threshold: float) -> Labels:
        """Labels (b, H, W) at the original size; the background threshold counts only where there is a background."""
        number = len(views.corners)
        groups = views.evidence.groups
        logits = class_logits(views.evidence.scores, threshold if self.background else None)
        total = logits.new_zeros(len(groups) // number, logits.shape[-1], *views.resized)
        count = logits.new_zeros(views.resized)
        height, width = groups.shape[-2:]
        for i, (top, left) in enumerate(views.corners):  # a window at a time: all of them painted would be gigabytes
            at = (..., slice(top, top + height), slice(left, left + width))
            total[at] += paint(groups[i::number], logits[i::number])
            count[at] += 1
        labels: Labels = resized_argmax(total.div_(count), *views.original).cpu().numpy()
        return labels

    @torch.no_grad()
    def one_label(self, views: Views) -> Labels:
        """Labels (b, H, W), each image all of its best word: the one with the largest mean softmax over the windows.

        What a model that recognises but cannot localise would score; nothing is ever background.
        """
        words = views.evidence.words
        best = words.reshape(-1, len(views.corners), words.shape[-1]).mean(1).argmax(-1) + int(self.background)
        labels: Labels = best[:, None, None].expand(-1, *views.original).cpu().numpy()
        return labels

    def _normalise(self, images: npt.NDArray[np.uint8]) -> Tensor:
        """(b, H, W, 3) uint8 -> (b, 3, H, W) float32 on the model's device."""
        device = self.model.logit_scale.device
        mean, std = (torch.tensor(list(v), device=device) for v in (self.normalisation.mean, self.normalisation.std))
        pixels = torch.from_numpy(images).to(device).float() / 255
        return ((pixels - mean) / std).permute(0, 3, 1, 2).contiguous()


def benchmark_segmenter(model: SegmentationModel, normalisation: Normalisation, benchmark: Benchmark) -> Segmenter:
    """The segmenter that follows a benchmark's protocol."""
    return Segmenter(
        model=model,
        normalisation=normalisation,
        text=text_embeddings(model, benchmark.words, benchmark.templates),
        background=benchmark.background,
        scale=benchmark.scale,
        window=benchmark.window,
        stride=benchmark.stride,
    )
