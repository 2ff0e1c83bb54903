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

from cocu.benchmarks.definitions import Benchmark
from cocu.benchmarks.mmseg import Example, Examples, IoUCheck
from cocu.errors import DataError, NumericsError
from cocu.evaluate.confusion import confusion, miou
from cocu.log import progress
from cocu.pairs.images import Normalisation
from cocu.segment.segmenter import Segmenter, Views, benchmark_segmenter
from cocu.segment.zero_shot import SegmentationModel

BATCH = 2**22  # pixels of images that are segmented together, 64 images at most
AGREEMENT = 0.01  # of mmsegmentation's mIoU, which is rounded to two decimals

Labels = npt.NDArray[np.int64]
Painter = Callable[[Views], Labels]


@dataclass(frozen=True)
class Score:
    """counts (C, C) int64 with rows the truth; the number of images that they are of.

    unlabelled: the names of the images without a labelled pixel, which are passed over since they can change no count.
    """

    counts: npt.NDArray[np.int64]
    images: int
    unlabelled: tuple[str, ...] = ()


def added(parts: Sequence[Score]) -> Score:
    """The score of several sets of images together. Raises `DataError` when none of them has a labelled pixel."""
    names = tuple(sorted(name for part in parts for name in part.unlabelled))
    score = Score(np.sum([part.counts for part in parts], axis=0), sum(part.images for part in parts), names)
    if names and not score.images:
        raise DataError(
            f"None of the {len(names):,} images has a labelled pixel ({names[0]} for one), so that nothing can be "
            "scored. Their masks are another data set's, or were converted in another way than the benchmark's."
        )
    return score


def scores(
    segmenter: Segmenter,
    benchmark: Benchmark,
    examples: Examples,
    painters: Sequence[Painter],
    what: str = "",
    check: IoUCheck | None = None,
) -> list[Score]:
    """The score of each way of painting what one forward pass saw; `what` names the progress, "" shows none.

    `check`: mmsegmentation's metric, which is given the first way's predictions.
    """
    number = len(benchmark.classes)
    counts = np.zeros((len(painters), number, number), np.int64)
    unlabelled: list[str] = []

    def labelled() -> Iterator[Example]:
        for example in progress(examples, total=len(examples), what=what) if what else examples:
            if (example.truth == benchmark.ignore_index).all():
                unlabelled.append(example.name)
            else:
                yield example

    for example, predictions in segmented(segmenter, labelled(), painters):
        for i, prediction in enumerate(predictions):
            counts[i] += confusion(prediction, example.truth, number, benchmark.ignore_index)
        if check is not None:
            check.add(predictions[0], example.truth)
    return [Score(c, len(examples) - len(unlabelled), tuple(unlabelled)) for c in counts]


def checked_score(
    segmenter: Segmenter, benchmark: Benchmark, examples: Examples, painter: Painter, what: str = ""
) -> Score:
    """The score, after mmsegmentation's metric agreed on the same predictions (`NumericsError` when it does not)."""
    check = IoUCheck(benchmark)
    (score,) = scores(segmenter, benchmark, examples, [painter], what, check)
    if score.images:
        ours, theirs = miou(score.counts), check.miou()
        if not abs(ours - theirs) <= AGREEMENT:
            raise NumericsError(
                f"The mIoU on {benchmark.name} is {ours:.4f} by the confusion matrix and {theirs:.2f} by "
                "mmsegmentation, of the same predictions. One of them is wrong: check the versions in "
                "requirements.lock, and report it."
            )
    return score


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
        examples = Examples(benchmark, root, limit)
        return miou(scores(segmenter, benchmark, examples, [painter], f"{benchmark.name} in {root.name}")[0].counts)
    finally:
        model.train(mode)


def segmented(
    segmenter: Segmenter, examples: Iterable[Example], painters: Sequence[Painter]
) -> Iterator[tuple[Example, list[Labels]]]:
    """Every example with its label map from each painter, as large as the truth."""
    for batch in _batches(examples):
        views = segmenter.look([example.image for example in batch])
        painted = [painter(views) for painter in painters]
        for i, example in enumerate(batch):
            yield example, [enlarged(labels[i], example.truth.shape) for labels in painted]


def enlarged(labels: Labels, shape: tuple[int, ...]) -> Labels:
    """Labels (h, w) at another shape (H, W) by nearest neighbour: the segmented image had been shrunk."""
    if labels.shape == shape:
        return labels
    rows, columns = (np.arange(size) * of // size for size, of in zip(shape, labels.shape, strict=True))
    return labels[np.ix_(rows, columns)]


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
