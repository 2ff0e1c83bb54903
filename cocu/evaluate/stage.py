"""One model on one benchmark: choose the background threshold on val, report mIoU on test.

Takes a checkpoint folder, or a CLIP among the references, and the benchmark's data; gives metrics JSON with the exact
confusion matrix. mmsegmentation's metric counts the same predictions and must agree to two decimals. Several processes
take every n-th image each, and their counts are added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cocu.benchmarks.definitions import Benchmark, read_benchmark
from cocu.benchmarks.mmseg import Examples
from cocu.config import Clip, Device, EvaluationConfig, suggest
from cocu.device import pick_device
from cocu.errors import ConfigError
from cocu.evaluate.confusion import iou, miou
from cocu.evaluate.score import Score, added, checked_score, scores
from cocu.io import file_sha256, write_json
from cocu.log import RunCard, say
from cocu.parallel import in_processes
from cocu.segment.segmenter import Segmenter, benchmark_segmenter
from cocu.weights import WEIGHTS


@dataclass(frozen=True)
class Source:
    """What is evaluated: a model folder, or a CLIP; stand_in is the folder of the mini experiment's."""

    checkpoint: Path | None = None
    clip: Clip | None = None
    stand_in: Path | None = None

    def segmenter(self, benchmark: Benchmark, device: torch.device) -> Segmenter:
        """The model, loaded, with the benchmark's words and geometry."""
        if self.clip is not None:
            from cocu.clip.dense import load_dense_clip

            clip = load_dense_clip(self.clip, self.stand_in, device)
            return benchmark_segmenter(clip, clip.normalisation, benchmark)
        from cocu.model.hub import load_model

        assert self.checkpoint is not None
        return benchmark_segmenter(*load_model(self.checkpoint, device=device), benchmark)

    def weights_sha256(self) -> str:
        """Of which weights the result is: the SHA-256 of a model folder's file, or of the tensors of a CLIP."""
        if self.clip is None:
            assert self.checkpoint is not None
            return file_sha256(self.checkpoint / WEIGHTS)
        from cocu.clip.dense import load_dense_clip
        from cocu.clip.encoder import weights_sha256

        return weights_sha256(load_dense_clip(self.clip, self.stand_in).model)


@dataclass(frozen=True)
class Run:
    """Everything that a process needs to score its share of the images."""

    source: Source
    benchmark: Benchmark
    device: Device
    threads: int
    limit: int
    processes: int

    def thresholds(self, root: Path, candidates: Sequence[float]) -> list[Score]:
        """The score under each background threshold."""
        return [added(parts) for parts in zip(*self._shares(_threshold_share, root, candidates), strict=True)]

    def checked(self, root: Path, threshold: float | None) -> Score:
        """The score under one threshold, or with one label an image (None), checked against mmsegmentation's."""
        return added(self._shares(_checked_share, root, threshold))

    def _shares(self, work: Any, root: Path, how: Any) -> list[Any]:
        return list(in_processes(partial(work, self, root, how), range(self.processes), self.processes))

    def share(self, root: Path, process: int) -> tuple[Segmenter, Examples, str]:
        """A process's model and images, and what its progress is called: the first one's stands for all."""
        torch.set_num_threads(self.threads)
        examples = Examples(self.benchmark, root, self.limit, (process, self.processes))
        segmenter = self.source.segmenter(self.benchmark, pick_device(self.device, process))
        return segmenter, examples, "" if process else f"{self.benchmark.name} in {root.name}"


def _threshold_share(run: Run, root: Path, candidates: Sequence[float], process: int) -> list[Score]:
    segmenter, examples, what = run.share(root, process)
    painters = [partial(segmenter.segment, threshold=threshold) for threshold in candidates]
    return scores(segmenter, run.benchmark, examples, painters, what)


def _checked_share(run: Run, root: Path, threshold: float | None, process: int) -> Score:
    segmenter, examples, what = run.share(root, process)
    painter = segmenter.one_label if threshold is None else partial(segmenter.segment, threshold=threshold)
    return checked_score(segmenter, run.benchmark, examples, painter, what)


def run(
    config: EvaluationConfig,
    *,
    arm: str,
    seed: int,
    checkpoint: Path | None,
    reference: str | None,
    clip: Path | None,
    benchmark: str,
    val: Path | None,
    test: Path,
    one_label: bool,
    out: Path,
) -> None:
    """Write the metrics of a model on the benchmark to the file `out`, as the result of `arm` and `seed`.

    checkpoint: a model folder; or reference: the name of a CLIP among config.references, clip being the stand-in's
    folder where it is that. val, test: the folders that the benchmark's files lie under. With val, the background
    threshold is the one of config.evaluate.backgrounds that is best on val, otherwise the benchmark's own; the result
    has a val_miou where one was chosen. one_label paints every image with its one best label. Raises `ConfigError`,
    `DataError`, `EnvironmentFault`; `NumericsError` if the metrics disagree.
    """
    card = RunCard("evaluate", one_label=one_label, limit=config.evaluate.limit)
    definition, section = read_benchmark(benchmark), config.evaluate
    source = pick_source(config, checkpoint, reference, clip)
    weights = source.weights_sha256()
    work = Run(source, definition, config.device, section.threads, section.limit, section.processes)
    threshold, val_miou = definition.background_threshold, None
    if val is not None and section.backgrounds and definition.background and not one_label:
        threshold, val_miou = choose_background(work, val, section.backgrounds)
    score = work.checked(test, None if one_label else threshold)
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
        "unlabelled": len(score.unlabelled),
        "weights_sha256": weights,
        "card": card.card(),
    }
    write_json(out, result)
    say(f"{benchmark}: mIoU {result['miou']:.2f} on {score.images:,} images ({arm}, seed {seed})")
    if names := score.unlabelled:
        say(f"{benchmark}: images without a labelled pixel, passed over: {len(names):,}, the first is {names[0]}")


def pick_source(
    config: EvaluationConfig, checkpoint: Path | None, reference: str | None, stand_in: Path | None
) -> Source:
    """The model that the command line names. Raises `ConfigError` unless it is one checkpoint or one known CLIP."""
    if (checkpoint is None) == (reference is None):
        raise ConfigError("An evaluation needs a checkpoint (--checkpoint) or a reference (--reference), one of them.")
    if reference is None:
        return Source(checkpoint=checkpoint)
    known = {name: section for name, section in config.references.items() if section.clip}
    if reference not in known:
        raise ConfigError(
            f"No CLIP '{reference}' among the references of the configuration{suggest(reference, known)} A checkpoint "
            "among them is given by its folder (--checkpoint)."
        )
    section = known[reference]
    model = {"model": section.clip, "pretrained": section.pretrained}
    return Source(clip=config.clip.model_copy(update=model), stand_in=stand_in)


def choose_background(run: Run, root: Path, candidates: Sequence[float]) -> tuple[float, float]:
    """The threshold with the largest mIoU (the lowest of equals), and that mIoU in percent, from one forward pass."""
    ordered = sorted(candidates)
    reached = [miou(score.counts) for score in run.thresholds(root, ordered)]
    best = int(np.argmax(reached))
    return ordered[best], reached[best]
