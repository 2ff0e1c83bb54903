from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from cocu.config import Config, Evaluate
from cocu.errors import ConfigError, NumericsError
from cocu.model.groupvit import GroupViT
from cocu.model.hub import save_model
from cocu.segment import evaluate
from cocu.segment import score as score_module
from cocu.segment.benchmarks import Benchmark
from cocu.segment.segmenter import benchmark_segmenter

Make, Write = Callable[..., Benchmark], Callable[..., Path]
Scenes = tuple[list[np.ndarray], list[np.ndarray]]


@pytest.fixture
def root(write_voc: Write, scenes: Scenes) -> Path:
    return write_voc(*scenes)


@pytest.fixture
def experiment(model: Any) -> Callable[..., Config]:
    def make(**evaluation: Any) -> Config:
        return Config(
            experiment="tiny",
            seeds=(0,),
            arms={"groupvit": {}, "cocu": {}},
            model=model.config,
            evaluate=Evaluate(benchmarks=("tiny",), **evaluation),
        )

    return make


def test_the_threshold_that_is_best_on_val_is_chosen(
    model: Any, normalisation: Any, benchmark_of: Make, root: Path
) -> None:
    segmenter = benchmark_segmenter(model, normalisation, benchmark_of())
    threshold, reached = evaluate.choose_background(segmenter, benchmark_of(), root, (0.9, 0.0, 0.5), 0)
    assert threshold == 0.5  # with 0 no dark pixel is background; 0.9 finds what 0.5 does, and the lowest is taken
    assert reached > 95
    assert model.calls == 2  # three thresholds, two image sizes: one forward pass a size
    worst = evaluate.choose_background(segmenter, benchmark_of(), root, (0.0,), 0)[1]
    assert worst < 75  # the background is predicted nowhere: its IoU is 0


def test_both_metrics_count_the_same_predictions(
    model: Any, normalisation: Any, benchmark_of: Make, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = benchmark_segmenter(model, normalisation, benchmark_of())
    painter = partial(segmenter.segment, threshold=0.5)
    score = evaluate.checked_score(segmenter, benchmark_of(), root, painter, 0)
    assert score.images == 4
    assert score.counts.sum() == 3 * 16 * 16 + 24 * 16
    assert score.counts.sum(1).tolist() == [256, 128 + 192, 256, 128 + 192]
    assert evaluate.checked_score(segmenter, benchmark_of(), root, painter, 1).counts.sum() == 16 * 16
    monkeypatch.setattr(evaluate.IoUCheck, "miou", lambda self: 50.0)
    with pytest.raises(NumericsError, match=r"50\.00 by mmsegmentation"):
        evaluate.checked_score(segmenter, benchmark_of(), root, painter, 0)


def test_validation_leaves_the_models_mode_and_needs_no_threshold(
    model: Any, normalisation: Any, benchmark_of: Make, write_voc: Write, scenes: Scenes
) -> None:
    labelled = write_voc(*([scene[0]] for scene in scenes))  # bird | cat: every pixel has a word
    benchmark = benchmark_of(background_threshold=1.0)
    modes: list[bool] = []
    encode = model.encode_image
    model.encode_image = lambda images: modes.append(model.training) or encode(images)
    model.train(True)
    assert score_module.validation_miou(model, normalisation, benchmark, labelled, 0) == 100.0
    assert model.training and modes == [False]


@pytest.fixture
def checkpoint(tmp_path: Path, model: Any, benchmark_of: Make, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A GroupViT that learned nothing, and the benchmark's YAML where the working directory has it."""
    torch.manual_seed(0)
    save_model(tmp_path / "checkpoint", GroupViT(model.config), {})
    (tmp_path / "config/benchmarks").mkdir(parents=True)
    fields = benchmark_of().model_dump(mode="json", exclude={"name"})
    (tmp_path / "config/benchmarks/tiny.yaml").write_text(yaml.safe_dump(fields))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "checkpoint"


def test_run_reports_on_test_with_the_threshold_of_val(
    checkpoint: Path,
    experiment: Callable[..., Config],
    root: Path,
    write_voc: Write,
    scenes: Scenes,
    benchmark_of: Make,
    tmp_path: Path,
) -> None:
    val = write_voc(*(scene[:2] for scene in scenes), folder="val")
    out = tmp_path / "metrics/cocu/3/tiny.json"
    config = experiment(backgrounds=(0.1, 1.0))
    paths = {"checkpoint": checkpoint, "benchmark": "tiny", "test": root, "out": out}
    evaluate.run(config, **paths, val=val, one_label=False)
    first = json.loads(out.read_text())
    assert (first["arm"], first["seed"], first["benchmark"], first["images"]) == ("cocu", 3, "tiny", 4)
    assert first["classes"] == ["background", "bird", "cat", "dog"] and len(first["iou"]) == 4
    assert np.sum(first["confusion"]) == 3 * 16 * 16 + 24 * 16
    assert first["background"] in (0.1, 1.0) and first["val_miou"] > 0
    assert first["protocol"] == benchmark_of().protocol_hash()
    assert str(tmp_path) not in out.read_text()
    evaluate.run(config, **paths, val=None, one_label=False)
    without = json.loads(out.read_text())
    assert (without["background"], without["val_miou"]) == (0.5, None)
    evaluate.run(config, **paths, val=val, one_label=True)
    painted = json.loads(out.read_text())
    assert painted["background"] is None
    assert np.sum(painted["confusion"], 0)[0] == 0  # one label, never background
    evaluate.run(experiment(limit=1), **paths, val=val, one_label=False)
    assert json.loads(out.read_text())["images"] == 1


def test_a_class_absent_from_both_is_null(
    checkpoint: Path, experiment: Callable[..., Config], write_voc: Write, scenes: Scenes, tmp_path: Path
) -> None:
    data = write_voc([scenes[0][0]], [np.full((16, 16), 8, np.uint8)])
    out = tmp_path / "metrics/one_label/0/tiny.json"
    evaluate.run(experiment(), checkpoint=checkpoint, benchmark="tiny", val=None, test=data, one_label=True, out=out)
    iou = json.loads(out.read_text())["iou"]
    assert iou.count(None) >= 2 and iou[0] is None


def test_a_result_outside_its_place_is_refused(
    checkpoint: Path, experiment: Callable[..., Config], root: Path, tmp_path: Path
) -> None:
    paths = {"checkpoint": checkpoint, "benchmark": "tiny", "val": None, "test": root, "one_label": False}
    with pytest.raises(ConfigError, match="ARM/SEED/BENCHMARK"):
        evaluate.run(experiment(), **paths, out=tmp_path / "tiny.json")


def test_a_batch_holds_no_more_pixels_than_allowed(
    model: Any, normalisation: Any, benchmark_of: Make, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = benchmark_segmenter(model, normalisation, benchmark_of())
    monkeypatch.setattr(score_module, "BATCH", 2 * 16 * 16)
    evaluate.choose_background(segmenter, benchmark_of(), root, (0.5,), 0)
    assert model.calls == 3  # of 2, 1 and, at its own size, 1 image
