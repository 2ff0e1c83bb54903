"""Benchmarks scored: predictions counted against truth, for an evaluation and for the curve of a training.

Takes a segmenter and a benchmark's files; gives confusion matrices, several ways of painting from one forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cocu.log import progress
from cocu.segment.benchmarks import Benchmark
from cocu.segment.miou import confusion, miou
from cocu.segment.mmseg import Example, Examples
from cocu.segment.segmenter import Normalisation, Segmenter, Views, benchmark_segmenter
from cocu.segment.zero_shot import SegmentationModel

BATCH = 2**22  # pixels of images that are segmented together, 64 images at most

Labels = npt.NDArray[np.int64]
Painter = Callable[[Views], Labels]


@dataclass(frozen=True)
class Score:
    """counts (C, C) int64 with rows the truth; the number of images."""

    counts: npt.NDArray[np.int64]
    images: int


def scores(
    segmenter: Segmenter, benchmark: Benchmark, root: Path, painters: Sequence[Painter], limit: int
) -> list[Score]:
    """The score of each way of painting what one forward pass saw."""
    number = len(benchmark.classes)
    counts = np.zeros((len(painters), number, number), np.int64)
    examples = Examples(benchmark, root, limit)
    for example, predictions in segmented(segmenter, examples, painters, f"{benchmark.name} in {root.name}"):
        for i, prediction in enumerate(predictions):
            counts[i] += confusion(prediction, example.truth, number, benchmark.ignore_index)
    return [Score(c, len(examples)) for c in counts]


def validation_miou(
    model: SegmentationModel,
    normalisation: Normalisation,
    benchmark: Benchmark,
    root: Path,
    limit: int,
    background: float = 0.0,
) -> float:
    """mIoU in percent of a model in training; its mode is left as it was.

    The default threshold gives every pixel to a word, which is right where all pixels are labelled: the curve then
    depends on no threshold. `limit` > 0 takes the first images only.
    """
    mode = model.training
    model.train(False)
    try:
        segmenter = benchmark_segmenter(model, normalisation, benchmark)
        painter = partial(segmenter.segment, threshold=background)
        return miou(scores(segmenter, benchmark, root, [painter], limit)[0].counts)
    finally:
        model.train(mode)


def segmented(
    segmenter: Segmenter, examples: Examples, painters: Sequence[Painter], what: str
) -> Iterator[tuple[Example, list[Labels]]]:
    """Every example with its label map (H, W) from each painter."""
    for batch in _batches(progress(examples, total=len(examples), what=what)):
        views = segmenter.look([example.image for example in batch])
        painted = [painter(views) for painter in painters]
        for i, example in enumerate(batch):
            yield example, [labels[i] for labels in painted]


def _batches(examples: Iterable[Example]) -> Iterator[list[Example]]:
    """Runs of consecutive examples of one size, of at most 64 images and `BATCH` pixels."""
    for (height, width, _), same in groupby(examples, key=lambda example: example.image.shape):
        most = min(64, max(1, BATCH // (height * width)))
        batch: list[Example] = []
        for example in same:
            batch.append(example)
            if len(batch) == most:
                yield batch
                batch = []
        if batch:
            yield batch
