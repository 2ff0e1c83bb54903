"""One model on one benchmark: choose the background threshold on val, report mIoU on test.

Takes a checkpoint folder, or a CLIP among the references, and the benchmark's data; gives metrics JSON with the exact
confusion matrix. mmsegmentation's metric counts the same predictions and must agree to two decimals. Several processes
take every n-th image each, and their counts are added.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cocu.benchmarks.definitions import Benchmark, read_benchmark
from cocu.benchmarks.mmseg import Examples
from cocu.config import Clip, Device, EvaluationConfig, suggest
from cocu.device import CPU, pick_device
from cocu.errors import ConfigError
from cocu.evaluate.confusion import iou, miou
from cocu.evaluate.score import Score, added, checked_score, scores
from cocu.io import file_sha256, write_json
from cocu.layout import MANIFEST
from cocu.log import RunCard, say
from cocu.pairs.images import Normalisation
from cocu.parallel import in_processes
from cocu.segment.memory import Memory
from cocu.segment.segmenter import Segmenter, benchmark_segmenter
from cocu.segment.zero_shot import SegmentationModel
from cocu.stamp import Stamp, digest, stamp
from cocu.weights import WEIGHTS

Loaded = tuple[SegmentationModel, Normalisation, Memory | None]


@dataclass(frozen=True)
class Source:
    """What is evaluated: a model folder, or a CLIP; stand_in is the folder of the mini experiment's."""

    checkpoint: Path | None = None
    clip: Clip | None = None
    stand_in: Path | None = None
    _loaded: dict[torch.device, Loaded] = field(default_factory=dict, compare=False, repr=False)

    def segmenter(self, benchmark: Benchmark, device: torch.device) -> Segmenter:
        """The model, loaded once a process, with the benchmark's words and geometry."""
        if device not in self._loaded:
            self._loaded[device] = self._load(device)
        return benchmark_segmenter(*self._loaded[device][:2], benchmark, self._loaded[device][2])

    def _load(self, device: torch.device) -> Loaded:
        model: SegmentationModel
        if self.clip is not None:
            from cocu.clip.dense import load_dense_clip

            model = clip = load_dense_clip(self.clip, self.stand_in, device)
            normalisation = clip.normalisation
        else:
            from cocu.model.hub import load_model

            assert self.checkpoint is not None
            model, normalisation = load_model(self.checkpoint, device=device)
        # On a GPU it takes longer to bring the windows back and compare them than to look at them again.
        return model, normalisation, Memory(model) if device == CPU else None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loaded": {}}  # another process loads its own

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
    source, definition = pick_source(config, checkpoint, reference, clip), read_benchmark(benchmark)
    row = {"arm": arm, "seed": seed, "weights_sha256": source.weights_sha256()}
    made_from = inputs(config, definition, val, test, row)
    found = scored(config, source, definition, val, test, one_label=one_label, row=f"{arm}, seed {seed}")
    write_json(out, {**row, **found, "stamp": everywhere(made_from)})


def everywhere(made_from: Stamp) -> Stamp:
    """What a result says of what it was made from: the files' times are left out, which a copy does not have."""
    return {**made_from, "inputs": {name: value for name, value in made_from["inputs"].items() if name != "data"}}


def inputs(
    config: EvaluationConfig, definition: Benchmark, val: Path | None, test: Path, row: Mapping[str, Any]
) -> Stamp:
    """What a result is made from; `row` says whose it is, and the hash of its weights."""
    data = files_digest(definition, [folder for folder in (val, test) if folder])
    return stamp("evaluate", config, {**row, "protocol": definition.protocol_hash(), "data": data})


def scored(
    config: EvaluationConfig,
    source: Source,
    definition: Benchmark,
    val: Path | None,
    test: Path,
    *,
    one_label: bool,
    row: str,
) -> dict[str, Any]:
    """What a result says of the benchmark, its protocol, the counts and how they were made; as `run` does."""
    card, section = RunCard("evaluate", one_label=one_label, limit=config.evaluate.limit), config.evaluate
    work = Run(source, definition, config.device, section.threads, section.limit, section.processes)
    threshold, val_miou = definition.background_threshold, None
    if val is not None and section.backgrounds and definition.background and not one_label:
        threshold, val_miou = choose_background(work, val, section.backgrounds)
    score = work.checked(test, None if one_label else threshold)
    percent = [None if np.isnan(v) else float(100 * v) for v in iou(score.counts)]
    result = {
        "benchmark": definition.name,
        "miou": miou(score.counts),
        "iou": percent,
        "classes": list(definition.classes),
        "confusion": score.counts.tolist(),
        "background": threshold if definition.background and not one_label else None,
        "val_miou": val_miou,
        "protocol": definition.protocol_hash(),
        "images": score.images,
        "unlabelled": len(score.unlabelled),
        "card": card.card(),
    }
    say(f"{definition.name}: mIoU {result['miou']:.2f} on {score.images:,} images ({row})")
    if names := score.unlabelled:
        say(f"{definition.name}: images without a labelled pixel, passed over: {len(names):,}, the first is {names[0]}")
    return result


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


def files_digest(benchmark: Benchmark, folders: Iterable[Path]) -> str:
    """Of which files a benchmark's data are: places, sizes and times, not their bytes, which would take minutes.

    A folder that a stage composed has a manifest, which is written anew with it and stands for all files.
    """
    facts: list[object] = []
    for folder in folders:
        if (folder / MANIFEST).is_file():
            facts.append((str(folder), file_sha256(folder / MANIFEST)))
            continue
        for place in (benchmark.images, benchmark.masks, benchmark.list_file):
            files = [str(folder / place)] if (folder / place).is_file() else []
            files += [os.path.join(at, name) for at, _, names in os.walk(folder / place) for name in names]
            facts += [(file, stat.st_size, stat.st_mtime_ns) for file in sorted(files) for stat in [os.stat(file)]]
    return digest(facts)
