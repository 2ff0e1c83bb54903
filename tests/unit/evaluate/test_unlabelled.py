"""An image whose mask has no labelled pixel can change no number: it is passed over, counted and said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cocu.benchmarks.check import check, format_report
from cocu.benchmarks.definitions import Benchmark
from cocu.benchmarks.mmseg import Examples
from cocu.config import Config, Evaluate
from cocu.errors import DataError, NumericsError
from cocu.evaluate import score as score_module
from cocu.evaluate import stage as evaluate
from cocu.evaluate.score import Score, added, checked_score
from cocu.segment.segmenter import Segmenter, benchmark_segmenter

Make, Write = Callable[..., Benchmark], Callable[..., Path]
Scenes = tuple[list[np.ndarray], list[np.ndarray]]


@pytest.fixture
def mixed(write_voc: Write, scenes: Scenes) -> Path:
    """Six images; the masks 001 and 004 hold nothing but the ignored label."""
    images, masks = (list(part) for part in scenes)
    for at in (1, 4):
        images.insert(at, images[0])
        masks.insert(at, np.full_like(masks[0], 255))
    return write_voc(images, masks)


@pytest.fixture
def segmenter(model: Any, normalisation: Any, benchmark_of: Make) -> Segmenter:
    return benchmark_segmenter(model, normalisation, benchmark_of())


def test_it_changes_no_count_and_costs_no_forward_pass(
    model: Any, segmenter: Segmenter, benchmark_of: Make, mixed: Path, write_voc: Write, scenes: Scenes
) -> None:
    benchmark = benchmark_of()

    def painter(views: Any) -> Any:
        return segmenter.segment(views, 0.5)

    seen: list[int] = []
    encode = model.encode_image
    model.encode_image = lambda windows: seen.append(len(windows)) or encode(windows)
    score = checked_score(segmenter, benchmark, Examples(benchmark, mixed), painter)
    assert (score.images, score.unlabelled) == (4, ("001", "004"))
    assert sum(seen) == 3 + 2  # windows: one of 16 x 16 each, two of 24 x 16
    root = write_voc(*scenes, folder="without")
    without = checked_score(segmenter, benchmark, Examples(benchmark, root), painter)
    assert (without.images, without.unlabelled) == (4, ())
    assert np.array_equal(score.counts, without.counts)


def test_a_share_that_has_no_other_image_is_part_of_the_whole(
    segmenter: Segmenter, benchmark_of: Make, mixed: Path
) -> None:
    """Three processes: the second has the images 001 and 004, and mmsegmentation nothing to agree with."""
    benchmark = benchmark_of()
    parts = [
        checked_score(
            segmenter, benchmark, Examples(benchmark, mixed, share=(i, 3)), lambda v: segmenter.segment(v, 0.5)
        )
        for i in range(3)
    ]
    assert [(part.images, part.unlabelled) for part in parts] == [(2, ()), (0, ("001", "004")), (2, ())]
    whole = added(parts[::-1])
    assert (whole.images, whole.unlabelled) == (4, ("001", "004"))
    assert whole.counts.sum() == 3 * 16 * 16 + 24 * 16


def test_names_are_in_one_order_whatever_the_shares() -> None:
    parts = [Score(np.ones((1, 1), np.int64), 2, names) for names in (("b", "d"), ("a",), ("c",))]
    for order in (parts, parts[::-1]):
        assert (added(order).images, added(order).unlabelled) == (6, ("a", "b", "c", "d"))


def test_nothing_but_such_images_is_an_error(
    model: Any, normalisation: Any, segmenter: Segmenter, benchmark_of: Make, write_voc: Write, scenes: Scenes
) -> None:
    benchmark = benchmark_of()
    root = write_voc(scenes[0][:2], [np.full((16, 16), 255)] * 2)
    share = checked_score(segmenter, benchmark, Examples(benchmark, root), segmenter.one_label)
    with pytest.raises(DataError, match=r"None of the 2 images has a labelled pixel \(000 for one\)"):
        added([share])
    with pytest.raises(NumericsError, match="No pixel was scored"):
        score_module.validation_miou(model, normalisation, benchmark, root, 0)


def test_the_result_and_the_last_line_say_how_many(
    checkpoint: Path, model: Any, mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config(
        experiment="tiny",
        seeds=(0,),
        arms={"groupvit": {}, "cocu": {}},
        model=model.config,
        evaluate=Evaluate(benchmarks=("tiny",), backgrounds=(0.1, 0.5)),
    )
    out = tmp_path / "result.json"
    what = {"checkpoint": checkpoint, "reference": None, "clip": None, "benchmark": "tiny", "one_label": False}
    evaluate.run(config, arm="cocu", seed=0, **what, val=mixed, test=mixed, out=out)
    result = json.loads(out.read_text())
    assert (result["images"], result["unlabelled"]) == (4, 2)
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == "tiny: images without a labelled pixel, passed over: 2, the first is 001"
    assert said[-2].endswith("on 4 images (cocu, seed 0)")
    for i in (1, 4):
        (mixed / f"VOCdevkit/VOC2012/SegmentationClass/{i:03}.png").write_bytes(
            (mixed / "VOCdevkit/VOC2012/SegmentationClass/000.png").read_bytes()
        )
    evaluate.run(config, arm="cocu", seed=0, **what, val=None, test=mixed, out=out)
    result = json.loads(out.read_text())
    assert (result["images"], result["unlabelled"]) == (6, 0)
    assert "passed over" not in capsys.readouterr().err


def test_a_label_out_of_range_is_a_fault_beside_ignored_pixels(
    benchmark_of: Make, write_voc: Write, scenes: Scenes
) -> None:
    mask = np.full((16, 16), 255, np.uint8)
    mask[3, 4] = 30
    benchmark, root = benchmark_of(), write_voc(scenes[0][:1], [mask])
    with pytest.raises(DataError, match="holds the label 30"):
        list(Examples(benchmark, root))


def test_the_check_notes_them_and_refuses_a_folder_of_nothing_else(
    benchmark_of: Make, mixed: Path, write_voc: Write, scenes: Scenes
) -> None:
    benchmark = benchmark_of()
    report = check(benchmark, mixed)
    masks = [mixed / f"VOCdevkit/VOC2012/SegmentationClass/{i:03}.png" for i in (1, 4)]
    note = (
        f"masks that hold nothing but the ignored label 255 (their images are passed over), 2: {masks[0]}, {masks[1]}"
    )
    assert report.sound and report.faults == {} and note in report.warnings
    assert f"\nwarning: {note}\n" in format_report(report)
    assert report.ignored == pytest.approx(2 * 256 / (5 * 256 + 384))
    assert [images for _, _, images in report.classes] == [2, 2, 2, 2]

    root = write_voc(scenes[0][:2], [np.full((16, 16), 255)] * 2, folder="nothing")
    report = check(benchmark, root)
    assert not report.sound and list(report.faults) == ["nothing labelled"]
    assert [sentence.split("/")[-1] for sentence in report.faults["nothing labelled"]] == [
        f"{i:03}.png holds nothing but the ignored label 255." for i in range(2)
    ]
    assert report.verdict == "tiny cannot be evaluated: 2 of 2 images have a fault."
    assert not [warning for warning in report.warnings if "passed over" in warning]
