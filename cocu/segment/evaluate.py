"""One checkpoint on one benchmark: choose the background threshold on val, report mIoU on test.

Takes a checkpoint folder and the benchmark's data; gives metrics JSON with the exact confusion matrix. mmsegmentation's
metric counts the same predictions and must agree to two decimals. `validation_miou` is what training's curve shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from cocu.config import Config
from cocu.errors import ConfigError, EnvironmentFault, NumericsError
from cocu.io import write_json
from cocu.log import RunCard, progress, say
from cocu.segment.benchmarks import Benchmark, read_benchmark
from cocu.segment.miou import confusion, iou, miou
from cocu.segment.mmseg import Example, Examples, IoUCheck
from cocu.segment.segmenter import Normalisation, Segmenter, Views, benchmark_segmenter
from cocu.segment.zero_shot import SegmentationModel

BATCH = 2**22  # pixels of images that are segmented together, 64 images at most
AGREEMENT = 0.01  # of mmsegmentation's mIoU, which is rounded to two decimals

Labels = npt.NDArray[np.int64]
Painter = Callable[[Views], Labels]


@dataclass(frozen=True)
class Score:
    """counts (C, C) int64 with rows the truth; the number of images."""

    counts: npt.NDArray[np.int64]
    images: int


def run(
    config: Config,
    *,
    checkpoint: Path,
    benchmark: str,
    val: Path | None,
    test: Path,
    one_label: bool,
    out: Path,
) -> None:
    """Write the metrics of the checkpoint (a folder) on the benchmark to out = metrics/ARM/SEED/BENCHMARK.json.

    val, test: the folders that the benchmark's files lie under. With val, the background threshold is the one of
    config.evaluate.backgrounds that is best on val, otherwise the benchmark's own. one_label paints every image with
    its one best label. Raises `ConfigError`, `DataError`, `EnvironmentFault`; `NumericsError` if the metrics disagree.
    """
    card = RunCard("evaluate", one_label=one_label, limit=config.evaluate.limit)
    arm, seed = _arm_and_seed(out)
    definition = read_benchmark(benchmark)
    from cocu.model.hub import load_model  # here, so that a wrong benchmark is reported without loading a model

    torch.set_num_threads(config.evaluate.threads)
    model, normalisation = load_model(checkpoint, device=_device(config))
    segmenter = benchmark_segmenter(model, normalisation, definition)
    threshold, val_miou = definition.background_threshold, None
    if val is not None and definition.background and not one_label:
        candidates = config.evaluate.backgrounds or (threshold,)
        threshold, val_miou = choose_background(segmenter, definition, val, candidates, config.evaluate.limit)
    painter = segmenter.one_label if one_label else partial(segmenter.segment, threshold=threshold)
    score = checked_score(segmenter, definition, test, painter, config.evaluate.limit)
    percent = [None if np.isnan(v) else float(100 * v) for v in iou(score.counts)]
    result = {
        "arm": arm,
        "seed": seed,
        "benchmark": benchmark,
        "miou": miou(score.counts),
        "iou": percent,
        "classes": list(definition.classes),
        "confusion": score.counts.tolist(),
        "background": threshold if definition.background and not one_label else None,
        "val_miou": val_miou,
        "protocol": definition.protocol_hash(),
        "images": score.images,
        "card": card.card(),
    }
    write_json(out, result)
    say(f"{benchmark}: mIoU {result['miou']:.2f} on {score.images:,} images ({arm}, seed {seed})")


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


def choose_background(
    segmenter: Segmenter, benchmark: Benchmark, root: Path, candidates: Sequence[float], limit: int
) -> tuple[float, float]:
    """The threshold with the largest mIoU (the lowest of equals), and that mIoU in percent, from one forward pass."""
    ordered = sorted(candidates)
    painters = [partial(segmenter.segment, threshold=threshold) for threshold in ordered]
    reached = [miou(s.counts) for s in scores(segmenter, benchmark, root, painters, limit)]
    best = int(np.argmax(reached))
    return ordered[best], reached[best]


def scores(
    segmenter: Segmenter, benchmark: Benchmark, root: Path, painters: Sequence[Painter], limit: int
) -> list[Score]:
    """The score of each way of painting what one forward pass saw."""
    number = len(benchmark.classes)
    counts = np.zeros((len(painters), number, number), np.int64)
    examples = Examples(benchmark, root, limit)
    for example, predictions in _segmented(segmenter, examples, painters, f"{benchmark.name} in {root.name}"):
        for i, prediction in enumerate(predictions):
            counts[i] += confusion(prediction, example.truth, number, benchmark.ignore_index)
    return [Score(c, len(examples)) for c in counts]


def checked_score(segmenter: Segmenter, benchmark: Benchmark, root: Path, painter: Painter, limit: int) -> Score:
    """The score, after mmsegmentation's metric agreed on the same predictions (`NumericsError` when it does not)."""
    number = len(benchmark.classes)
    counts = np.zeros((number, number), np.int64)
    examples = Examples(benchmark, root, limit)
    check = IoUCheck(benchmark)
    for example, (prediction,) in _segmented(segmenter, examples, [painter], f"{benchmark.name} in {root.name}"):
        counts += confusion(prediction, example.truth, number, benchmark.ignore_index)
        check.add(prediction, example.truth)
    ours, theirs = miou(counts), check.miou()
    if not abs(ours - theirs) <= AGREEMENT:
        raise NumericsError(
            f"The mIoU on {benchmark.name} is {ours:.4f} by the confusion matrix and {theirs:.2f} by mmsegmentation, "
            "of the same predictions. One of them is wrong: check the versions in requirements.lock, and report it."
        )
    return Score(counts, len(examples))


def _segmented(
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


def _arm_and_seed(out: Path) -> tuple[str, int]:
    arm, seed = out.parent.parent.name, out.parent.name
    if not arm or not seed.isdigit():
        raise ConfigError(
            f"The result's arm and seed are read from its path: {out} must end in ARM/SEED/BENCHMARK.json."
        )
    return arm, int(seed)


def _device(config: Config) -> str:
    """cpu or cuda, as train.device says; `EnvironmentFault` when cuda is asked for and there is none."""
    if config.train.device == "cuda" and not torch.cuda.is_available():
        raise EnvironmentFault("train.device is cuda, but no GPU is visible. Set it to auto or cpu, or ask for a GPU.")
    return "cpu" if config.train.device == "cpu" or not torch.cuda.is_available() else "cuda"
