import io
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from cocu.config import Config
from cocu.errors import DataError
from cocu.report.collect import TYPES, all_models, collect, results_csv
from cocu.report.tables import run
from tests.unit.report.conftest import Changes, write_result

Write = Callable[..., Path]
CAFE = "caf\N{LATIN SMALL LETTER E WITH ACUTE}, noir"


def frame_of(config: Config, metrics: Path) -> pd.DataFrame:
    return collect(config, metrics, all_models(config))


def read_back(text: str) -> pd.DataFrame:
    """By what pandas offers: ids are texts, numbers keep their last digit."""
    types = {name: kind for name, kind in TYPES.items() if name != "iou"}
    return pd.read_csv(io.StringIO(text), dtype=types, converters={"iou": json.loads})


def test_a_row_is_a_result(two_benchmarks: Config, write_metrics: Write) -> None:
    frame = frame_of(two_benchmarks, write_metrics())
    models = [("groupvit", 1), ("groupvit", 2), ("cocu", 1), ("cocu", 2), ("one_label", 1), ("one_label", 2)]
    models += [("clip", 0)]
    expected = [(*model, benchmark) for model in models for benchmark in ("mini_context", "mini_voc")]
    assert list(frame[["arm", "seed", "benchmark"]].itertuples(index=False, name=None)) == expected
    assert list(frame.columns) == list(TYPES)
    row = frame.iloc[7].to_dict()  # cocu, seed 2, mini_voc
    assert row == {
        "arm": "cocu",
        "seed": 2,
        "benchmark": "mini_voc",
        "miou": 37.0,
        "images": 16,
        "background": 0.25,
        "background_from": "val",
        "val_miou": 37.1,
        "protocol": "0123e8",
        "weights": "cocu 2",
        "iou": {"background": 38.0, "trait d'union": 36.0, CAFE: None},
    }
    painted = frame.iloc[8]  # one label
    assert painted["background_from"] == "none" and pd.isna(painted["background"]) and pd.isna(painted["val_miou"])
    assert painted["weights"] == "cocu 1"


def test_published_thresholds_are_told_from_chosen_ones(config: Config, tmp_path: Path) -> None:
    for arm, seed in all_models(config):
        write_result(tmp_path, arm, seed, "mini_context", 10.0, {"val_miou": None})
    assert list(frame_of(config, tmp_path)["background_from"]) == ["published"] * 4 + ["none"] * 2


def test_a_benchmark_without_background_has_no_threshold(config: Config, tmp_path: Path) -> None:
    for arm, seed in all_models(config):
        write_result(tmp_path, arm, seed, "mini_context", 10.0, {"background": None, "val_miou": None})
    frame = frame_of(config, tmp_path)
    assert set(frame["background_from"]) == {"none"} and frame["background"].isna().all()
    pd.testing.assert_frame_equal(read_back(results_csv(frame)), frame, check_exact=True)


def test_the_csv_read_back_is_the_frame(two_benchmarks: Config, write_metrics: Write, tmp_path: Path) -> None:
    metrics = write_metrics({("cocu", 2): {"miou": 100 / 3, "iou": [1e-17, 200 / 3, None]}})
    frame = frame_of(two_benchmarks, metrics)
    run(two_benchmarks, metrics=metrics, quality=[], out=tmp_path / "tables")
    text = (tmp_path / "tables" / "results.csv").read_text("utf-8")
    pd.testing.assert_frame_equal(read_back(text), frame, check_exact=True)
    assert text.splitlines()[0] == ",".join(TYPES) and len(text.splitlines()) == 1 + 14
    assert CAFE in text  # a name is written as it is, and not by the numbers of its letters


def test_only_the_models_asked_for_are_read(config: Config, tmp_path: Path) -> None:
    write_result(tmp_path, "cocu", 2, "mini_context", 10.0)
    frame = collect(config, tmp_path, [("cocu", 2)])
    assert list(frame["arm"]) == ["cocu"] and list(frame["seed"]) == [2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, r"holds the result of \('cocu', 1, 'mini_context'\)\. Delete it and run again\."),
        ({"arm": "groupvit"}, r"holds the result of \('groupvit', 2"),
        ({"benchmark": "voc"}, r"holds the result of \('cocu', 2, 'voc'"),
        ({"miou": float("nan")}, r"is not a result of the evaluation \(miou: Input should be a finite number\)"),
        ({"miou": None}, r"is not a result of the evaluation \(miou: "),
        ({"images": 0}, r"is not a result of the evaluation \(images: "),
        ({"images": True}, r"is not a result of the evaluation \(images: "),
        ({"background": "0.5"}, r"is not a result of the evaluation \(background: "),
        ({"iou": [1.0, float("inf"), None]}, r"is not a result of the evaluation \(iou\.1: "),
        ({"classes": ["background"]}, r"has not one IoU a class"),
    ],
)
def test_a_file_that_is_no_result_is_named(config: Config, write_metrics: Write, change: Changes, message: str) -> None:
    with pytest.raises(DataError, match=rf"metrics/cocu/2/mini_context\.json {message}"):
        frame_of(config, write_metrics({("cocu", 2): change}))


def test_a_file_that_is_missing_or_no_mapping_is_named(config: Config, write_metrics: Write) -> None:
    path = write_metrics() / "one_label" / "2" / "mini_context.json"
    path.write_text("[]")
    with pytest.raises(DataError, match=r"one_label/2/mini_context\.json is not a result of the evaluation \(Input"):
        frame_of(config, path.parents[2])
    path.unlink()
    with pytest.raises(DataError, match=r"Cannot read .*one_label/2/mini_context\.json"):
        frame_of(config, path.parents[2])


@pytest.mark.parametrize(
    ("model", "change", "what"),
    [
        (("cocu", 2), {"protocol": "q"}, "they follow different protocols, 0123e12 and q"),
        (("cocu", 2), {"images": 15}, "they are of 16 and 15 images"),
        (("one_label", 1), {"images": 4}, "they are of 16 and 4 images"),
        (
            ("cocu", 2),
            {"val_miou": None},
            "the background threshold of one is chosen on val, of the other the published one",
        ),
        (
            ("clip", 0),
            {"val_miou": None},
            "the background threshold of one is chosen on val, of the other the published one",
        ),
        (
            ("clip", 0),
            {"background": None, "val_miou": None},
            "the background threshold of one is chosen on val, of the other none",
        ),
        (
            ("one_label", 2),
            {"background": 0.5, "val_miou": None},
            "the background threshold of one is chosen on val, of the other the published one",
        ),
        (("cocu", 2), {"classes": ["background", "trait d'union", "tea"]}, "they are of different classes"),
        (("cocu", 2), {"classes": ["background", CAFE, "trait d'union"]}, "they are of different classes"),
    ],
)
def test_a_table_never_mixes(
    two_benchmarks: Config, write_metrics: Write, model: tuple[str, int], change: Changes, what: str
) -> None:
    with pytest.raises(DataError) as caught:
        frame_of(two_benchmarks, metrics := write_metrics({model: change}))
    one, other = metrics / "groupvit/1/mini_context.json", metrics / model[0] / str(model[1]) / "mini_context.json"
    assert str(caught.value) == (
        f"{one} and {other} cannot stand in one table: {what}. Delete both and run again, so that they are evaluated "
        "alike."
    )


def test_what_differs_between_benchmarks_may(two_benchmarks: Config, write_metrics: Write) -> None:
    metrics = write_metrics()
    for arm, seed in all_models(two_benchmarks):
        change: Changes = {"images": 9, "classes": ["a", "b", "c"], "background": None, "val_miou": None}
        write_result(metrics, arm, seed, "mini_voc", 20.0, change)
    assert set(frame_of(two_benchmarks, metrics).groupby("benchmark")["images"].first()) == {16, 9}


@pytest.mark.parametrize(
    ("arm", "benchmark", "first"),
    [("cocu", "mini_voc", "cocu/2/mini_context"), ("one_label", "mini_context", "cocu/2/mini_context")],
)
def test_a_row_is_one_model(two_benchmarks: Config, write_metrics: Write, arm: str, benchmark: str, first: str) -> None:
    """A model that was trained again stands on every benchmark or on none, and so does what one_label shows of it."""
    metrics = write_metrics()
    write_result(metrics, arm, 2, benchmark, 20.0, {"weights_sha256": "another by its hash"})
    with pytest.raises(DataError) as caught:
        frame_of(two_benchmarks, metrics)
    assert str(caught.value).startswith(
        f"{metrics / first}.json and {metrics / arm}/2/{benchmark}.json cannot stand in one table: they should be of "
        "one model, and are of the weights cocu 2 and another by i. Delete both"
    )
