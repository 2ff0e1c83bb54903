"""Segmentation of whole images with any words: the windows' evidence, averaged and brought back to the image's size.

Takes uint8 images of one size; gives label maps. `look` runs the model once over all windows of all images; `segment`
turns what it saw into labels under a background threshold, and `one_label` into one label for the whole image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from cocu.benchmarks.definitions import Benchmark
from cocu.pairs.images import Normalisation
from cocu.segment.memory import Memory
from cocu.segment.windows import cut, rescale, window_corners
from cocu.segment.zero_shot import (
    Evidence,
    Groups,
    Seen,
    SegmentationModel,
    class_logits,
    joined,
    see,
    text_embeddings,
    weigh,
)

FORWARD = 2**21  # pixels of windows that go through the model at a time: ten of 448 x 448
PAINT = 2**19  # pixels of resized images that are painted together: images of 48 pixels by the hundred, of 448 alone
BAND = 2**24  # floats of logits that exist at a time (64 MiB): classes are painted, resized and compared in bands
Labels = npt.NDArray[np.int64]


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

    With a background the labels are 0 for it and i + 1 for word i; without, i for word i. memory: where the model's
    sight of windows is kept for other words; nowhere when it is None.
    """

    model: SegmentationModel
    normalisation: Normalisation
    text: Tensor
    background: bool
    scale: tuple[int, int]
    window: int
    stride: int
    memory: Memory | None = None

    @torch.no_grad()
    def look(self, images: Sequence[npt.NDArray[np.uint8]]) -> Views:
        """Run the model over all windows of the images, uint8 RGB (H, W, 3) of one size."""
        batch = self._normalise(np.stack([rescale(image, self.scale) for image in images]))
        height, width = batch.shape[-2:]
        corners = window_corners(height, width, self.window, self.stride)
        windows = cut(batch, corners, self.window).flatten(0, 1)  # (b v, 3, h, w)
        count = max(1, FORWARD // (windows.shape[-2] * windows.shape[-1]))
        parts = [weigh(self._see(part), self.model.scale(), self.text) for part in torch.split(windows, count)]
        evidence = joined(parts)
        return Views((images[0].shape[0], images[0].shape[1]), (height, width), corners, evidence)

    @torch.no_grad()
    def segment(self, views: Views, threshold: float) -> Labels:
        """Labels (b, H, W) at the original size; the background threshold counts only where there is a background."""
        number = len(views.corners)
        logits = class_logits(views.evidence.scores, threshold if self.background else None)
        regions = views.evidence.regions
        if isinstance(regions, Groups) and number == 1 and views.resized == views.original:
            # Each pixel is as its group is, nothing is averaged or resized: the groups are labelled, few as they are.
            best = logits.max(-1).indices.gather(1, regions.labels.flatten(1)).reshape(regions.labels.shape)
            return best.cpu().numpy()
        images = len(logits) // number
        step = max(1, PAINT // (views.resized[0] * views.resized[1]))
        parts = []
        for first in range(0, images, step):
            windows = slice(first * number, min(first + step, images) * number)
            parts.append(best_classes(views, windows, logits[windows]))
        labels: Labels = torch.cat(parts).cpu().numpy()
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

    def _see(self, windows: Tensor) -> Seen:
        return see(self.model, windows) if self.memory is None else self.memory.see(windows)

    def _normalise(self, images: npt.NDArray[np.uint8]) -> Tensor:
        """(b, H, W, 3) uint8 -> (b, 3, H, W) float32 on the model's device."""
        device = self.model.logit_scale.device
        mean, std = (torch.tensor(list(v), device=device) for v in (self.normalisation.mean, self.normalisation.std))
        pixels = torch.from_numpy(images).to(device).float() / 255
        return ((pixels - mean) / std).permute(0, 3, 1, 2).contiguous()


def best_classes(views: Views, windows: slice, logits: Tensor, band: int = BAND) -> Tensor:
    """Labels (b, H, W) int64 of the images whose windows' logits (b v, g, C) are given.

    The argmax over classes of the averaged logits, resized bilinearly. Classes are taken a few at a time, so that no
    more than `band` floats of full-size logits exist; of equal ones the first class wins, as in argmax.
    """
    classes = active_classes(logits)
    images = len(logits) // len(views.corners)
    pixels = images * max(views.original[0] * views.original[1], views.resized[0] * views.resized[1])
    best = logits.new_full((images, *views.original), -torch.inf)
    labels = torch.zeros_like(best, dtype=torch.int64)
    for some in classes.split(max(1, band // pixels)):
        averaged = averaged_logits(views, windows, logits[..., some])
        top, index = F.interpolate(averaged, size=views.original, mode="bilinear", align_corners=False).max(1)
        better = top > best
        best, labels = torch.where(better, top, best), torch.where(better, some[index], labels)
    return labels


def averaged_logits(views: Views, windows: slice, logits: Tensor) -> Tensor:
    """The logits (b v, g, C) of some images' windows, painted and averaged where they overlap: (b, C, h, w)."""
    number = len(views.corners)
    total = logits.new_zeros(len(logits) // number, logits.shape[-1], *views.resized)
    count = logits.new_zeros(views.resized)
    for i, (top, left) in enumerate(views.corners):  # a window at a time: all of them painted would be gigabytes
        painted = views.evidence.regions.pick(slice(windows.start + i, windows.stop, number)).paint(logits[i::number])
        at = (..., slice(top, top + painted.shape[-2]), slice(left, left + painted.shape[-1]))
        total[at] += painted
        count[at] += 1
    return total.div_(count)


def active_classes(logits: Tensor) -> Tensor:
    """The ids (k,), rising, of the classes that some region has a logit for, of logits (b, g, C); always class 0.

    The others are 0 everywhere: few classes pass the top-5 filter of any window, and only those need be painted. Class
    0 stays for the pixels where all are 0, which argmax gives to the first class.
    """
    active = (logits != 0).flatten(0, 1).any(0)
    active[0] = True
    return active.nonzero()[:, 0]


def benchmark_segmenter(
    model: SegmentationModel, normalisation: Normalisation, benchmark: Benchmark, memory: Memory | None = None
) -> Segmenter:
    """The segmenter that follows a benchmark's protocol."""
    return Segmenter(
        model=model,
        normalisation=normalisation,
        text=text_embeddings(model, benchmark.words, benchmark.templates),
        background=benchmark.background,
        scale=benchmark.scale,
        window=benchmark.window,
        stride=benchmark.stride,
        memory=memory,
    )
