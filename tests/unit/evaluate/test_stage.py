from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cocu.benchmarks.definitions import Benchmark
from cocu.config import Config, Evaluate, Reference
from cocu.errors import ConfigError, NumericsError
from cocu.evaluate import score as score_module
from cocu.evaluate import stage as evaluate
from cocu.evaluate.confusion import miou
from cocu.io import file_sha256
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


@pytest.fixture
def run_of(model: Any, normalisation: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., evaluate.Run]:
    """An evaluation of the colour model in this process."""

    def make(benchmark: Benchmark, limit: int = 0) -> evaluate.Run:
        segmenter = benchmark_segmenter(model, normalisation, benchmark)
        monkeypatch.setattr(evaluate.Source, "segmenter", lambda self, benchmark, device: segmenter)
        return evaluate.Run(evaluate.Source(), benchmark, "cpu", threads=1, limit=limit, processes=1)

    return make


def test_the_threshold_that_is_best_on_val_is_chosen(
    model: Any, run_of: Callable[..., evaluate.Run], benchmark_of: Make, root: Path
) -> None:
    run = run_of(benchmark_of())
    threshold, reached = evaluate.choose_background(run, root, (0.9, 0.0, 0.5))
    assert threshold == 0.5  # with 0 no dark pixel is background; 0.9 finds what 0.5 does, and the lowest is taken
    assert reached > 95
    assert model.calls == 2  # three thresholds, two image sizes: one forward pass a size
    worst = evaluate.choose_background(run, root, (0.0,))[1]
    assert worst < 75  # the background is predicted nowhere: its IoU is 0


def test_both_metrics_count_the_same_predictions(
    run_of: Callable[..., evaluate.Run], benchmark_of: Make, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = run_of(benchmark_of()).checked(root, 0.5)
    assert score.images == 4
    assert score.counts.sum() == 3 * 16 * 16 + 24 * 16
    assert score.counts.sum(1).tolist() == [256, 128 + 192, 256, 128 + 192]
    assert run_of(benchmark_of(), limit=1).checked(root, 0.5).counts.sum() == 16 * 16
    exact = miou(score.counts)
    for off, agree in ((0.009, True), (-0.009, True), (0.02, False), (-0.02, False)):
        monkeypatch.setattr(score_module.IoUCheck, "miou", lambda self, theirs=exact + off: theirs)
        if agree:
            assert miou(run_of(benchmark_of()).checked(root, 0.5).counts) == exact
            continue
        with pytest.raises(NumericsError, match=rf"{exact + off:.2f} by mmsegmentation"):
            run_of(benchmark_of()).checked(root, 0.5)


def test_a_shrunk_image_is_scored_at_the_size_of_its_mask(
    run_of: Callable[..., evaluate.Run], benchmark_of: Make, write_voc: Write, scenes: Scenes
) -> None:
    image, mask = (np.repeat(np.repeat(a[0], 6, 0), 6, 1) for a in scenes)  # 96 x 96, bird | cat
    root = write_voc([image], [mask])
    score = run_of(benchmark_of(shrink=(2000, 32))).checked(root, 0.0)
    assert score.counts.sum() == 96 * 96 and score.counts.diagonal().sum() > 0.98 * 96 * 96
    labels = np.array([[1, 2, 3], [4, 5, 6]])
    assert score_module.enlarged(labels, (3, 7)).tolist() == [
        [1, 1, 1, 2, 2, 3, 3], [1, 1, 1, 2, 2, 3, 3], [4, 4, 4, 5, 5, 6, 6]
    ]  # fmt: skip


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
    model.encode_image = encode
    half_dark = np.array(scenes[0][0])
    half_dark[:, 8:] = 0  # of no word more than another, so of the first: a threshold would make it background
    one = write_voc([half_dark], [np.full((16, 16), 3)], folder="dark")
    assert score_module.validation_miou(model, normalisation, benchmark, one, 0) == 100.0


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
    out = tmp_path / "result.json"
    config = experiment(backgrounds=(0.1, 1.0))
    paths = {"checkpoint": checkpoint, "reference": None, "clip": None, "benchmark": "tiny", "test": root, "out": out}
    evaluate.run(config, arm="cocu", seed=3, **paths, val=val, one_label=False)
    first = json.loads(out.read_text())
    assert (first["arm"], first["seed"], first["benchmark"], first["images"]) == ("cocu", 3, "tiny", 4)
    assert first["classes"] == ["background", "bird", "cat", "dog"] and len(first["iou"]) == 4
    assert np.sum(first["confusion"]) == 3 * 16 * 16 + 24 * 16
    assert first["background"] in (0.1, 1.0) and first["val_miou"] > 0
    assert first["protocol"] == benchmark_of().protocol_hash()
    assert first["weights_sha256"] == file_sha256(checkpoint / "model.safetensors")
    assert str(tmp_path) not in out.read_text()
    evaluate.run(config, arm="cocu", seed=3, **paths, val=None, one_label=False)
    without = json.loads(out.read_text())
    assert (without["background"], without["val_miou"]) == (0.5, None)
    evaluate.run(config, arm="cocu", seed=3, **paths, val=val, one_label=True)
    painted = json.loads(out.read_text())
    assert painted["background"] is None
    assert np.sum(painted["confusion"], 0)[0] == 0  # one label, never background
    evaluate.run(experiment(limit=1), arm="cocu", seed=3, **paths, val=val, one_label=False)
    limited = json.loads(out.read_text())
    assert limited["images"] == 1
    assert (limited["background"], limited["val_miou"]) == (0.5, None)  # there was val, and nothing to choose from


def test_the_threshold_is_chosen_on_val_and_used_on_test(
    model: Any,
    normalisation: Any,
    checkpoint: Path,
    experiment: Callable[..., Config],
    write_voc: Write,
    scenes: Scenes,
    benchmark_of: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Dark pixels are birds on val, and background on test: each has a threshold of its own."""
    segmenter = benchmark_segmenter(model, normalisation, benchmark_of())
    monkeypatch.setattr(evaluate.Source, "segmenter", lambda self, benchmark, device: segmenter)
    image, mask = scenes[0][1], scenes[1][1]  # dog | dark
    val, test = write_voc([image], [np.where(mask == 0, 3, mask)], "val"), write_voc([image], [mask], "test")
    out = tmp_path / "result.json"
    paths = {"checkpoint": checkpoint, "reference": None, "clip": None, "benchmark": "tiny", "test": test, "out": out}

    def result(**how: Any) -> dict[str, Any]:
        evaluate.run(experiment(backgrounds=(0.9, 0.0)), arm="cocu", seed=3, **paths, **how)
        found: dict[str, Any] = json.loads(out.read_text())
        return found

    chosen = result(val=val, one_label=False)
    assert (chosen["background"], chosen["val_miou"]) == (0.0, 100.0)
    assert chosen["confusion"] == [[0, 128, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 128]]
    assert chosen["iou"] == [0.0, 0.0, None, 100.0] and chosen["miou"] == pytest.approx(100 / 3)
    own = result(val=None, one_label=False)
    assert (own["background"], own["val_miou"], own["miou"]) == (0.5, None, 100.0)
    painted = result(val=val, one_label=True)
    assert (painted["background"], painted["val_miou"]) == (None, None)


def test_a_class_absent_from_both_is_null(
    checkpoint: Path, experiment: Callable[..., Config], write_voc: Write, scenes: Scenes, tmp_path: Path
) -> None:
    data = write_voc([scenes[0][0]], [np.full((16, 16), 8, np.uint8)])
    out = tmp_path / "result.json"
    what = {"checkpoint": checkpoint, "reference": None, "clip": None, "benchmark": "tiny"}
    evaluate.run(experiment(), arm="one_label", seed=0, **what, val=None, test=data, one_label=True, out=out)
    iou = json.loads(out.read_text())["iou"]
    assert iou.count(None) >= 2 and iou[0] is None


def test_a_batch_holds_no_more_pixels_than_allowed(
    model: Any,
    run_of: Callable[..., evaluate.Run],
    benchmark_of: Make,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(score_module, "BATCH", 2 * 16 * 16)
    evaluate.choose_background(run_of(benchmark_of()), root, (0.5,))
    assert model.calls == 3  # of 2, 1 and, at its own size, 1 image


def test_several_processes_give_the_same_counts(
    checkpoint: Path, experiment: Callable[..., Config], root: Path, tmp_path: Path
) -> None:
    found = []
    for processes in (1, 3):
        out = tmp_path / f"{processes}.json"
        what = {"checkpoint": checkpoint, "reference": None, "clip": None, "benchmark": "tiny"}
        config = experiment(backgrounds=(0.1, 0.5, 1.0), processes=processes)
        evaluate.run(config, arm="cocu", seed=0, **what, val=root, test=root, one_label=False, out=out)
        found.append(json.loads(out.read_text()))
    one, three = ({k: v for k, v in result.items() if k != "card"} for result in found)
    assert one == three and one["images"] == 4


def test_more_processes_than_images_have_nothing_to_count_and_do_not_fail(
    run_of: Callable[..., evaluate.Run], benchmark_of: Make, root: Path
) -> None:
    lonely = dataclasses.replace(run_of(benchmark_of(), limit=1), processes=2)
    score = evaluate._checked_share(lonely, root, 0.5, 1)
    assert score.images == score.counts.sum() == 0


def test_what_is_evaluated_is_one_checkpoint_or_one_known_clip(
    experiment: Callable[..., Config], tmp_path: Path
) -> None:
    references = {"clip": Reference(clip="ViT-B-32", pretrained="openai"), "published": Reference(hf="a/b")}
    config = experiment().model_copy(update={"references": references})
    source = evaluate.pick_source(config, None, "clip", None)
    assert source.clip is not None and (source.clip.model, source.clip.pretrained) == ("ViT-B-32", "openai")
    for both in ((None, None), (tmp_path, "clip")):
        with pytest.raises(ConfigError, match="one of them"):
            evaluate.pick_source(config, *both, None)
    for name in ("clap", "published"):
        with pytest.raises(ConfigError, match=f"No CLIP '{name}' among the references"):
            evaluate.pick_source(config, None, name, None)
