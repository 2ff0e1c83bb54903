"""One checkpoint on one benchmark: choose the background threshold on val, report mIoU on test.

Takes a checkpoint folder and the benchmark's data; gives metrics JSON with the exact confusion matrix. mmsegmentation's
metric counts the same predictions and must agree to two decimals.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from cocu.config import Config
from cocu.device import pick_device
from cocu.errors import ConfigError, NumericsError
from cocu.io import write_json
from cocu.log import RunCard, say
from cocu.segment.benchmarks import Benchmark, read_benchmark
from cocu.segment.miou import confusion, iou, miou
from cocu.segment.mmseg import Examples, IoUCheck
from cocu.segment.score import Painter, Score, scores, segmented
from cocu.segment.segmenter import Segmenter, benchmark_segmenter

AGREEMENT = 0.01  # of mmsegmentation's mIoU, which is rounded to two decimals


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
    model, normalisation = load_model(checkpoint, device=pick_device(config.device))
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


def choose_background(
    segmenter: Segmenter, benchmark: Benchmark, root: Path, candidates: Sequence[float], limit: int
) -> tuple[float, float]:
    """The threshold with the largest mIoU (the lowest of equals), and that mIoU in percent, from one forward pass."""
    ordered = sorted(candidates)
    painters = [partial(segmenter.segment, threshold=threshold) for threshold in ordered]
    reached = [miou(s.counts) for s in scores(segmenter, benchmark, root, painters, limit)]
    best = int(np.argmax(reached))
    return ordered[best], reached[best]


def checked_score(segmenter: Segmenter, benchmark: Benchmark, root: Path, painter: Painter, limit: int) -> Score:
    """The score, after mmsegmentation's metric agreed on the same predictions (`NumericsError` when it does not)."""
    number = len(benchmark.classes)
    counts = np.zeros((number, number), np.int64)
    examples = Examples(benchmark, root, limit)
    check = IoUCheck(benchmark)
    for example, (prediction,) in segmented(segmenter, examples, [painter], f"{benchmark.name} in {root.name}"):
        counts += confusion(prediction, example.truth, number, benchmark.ignore_index)
        check.add(prediction, example.truth)
    ours, theirs = miou(counts), check.miou()
    if not abs(ours - theirs) <= AGREEMENT:
        raise NumericsError(
            f"The mIoU on {benchmark.name} is {ours:.4f} by the confusion matrix and {theirs:.2f} by mmsegmentation, "
            "of the same predictions. One of them is wrong: check the versions in requirements.lock, and report it."
        )
    return Score(counts, len(examples))


def _arm_and_seed(out: Path) -> tuple[str, int]:
    arm, seed = out.parent.parent.name, out.parent.name
    if not arm or not seed.isdigit():
        raise ConfigError(
            f"The result's arm and seed are read from its path: {out} must end in ARM/SEED/BENCHMARK.json."
        )
    return arm, int(seed)
