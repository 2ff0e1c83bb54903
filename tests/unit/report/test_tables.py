import json
import math
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest

from cocu.config import Config, validate
from cocu.errors import DataError
from cocu.report.statistics import Difference, Summary
from cocu.report.tables import compare, interval, main_markdown, number, run

# Differences 5 and 7: mean 6, sd 1.41421, half the interval 12.7062 * 1.41421 / sqrt(2) = 12.7062.
MAIN_CSV = """arm,benchmark,seeds,miou_mean,miou_sd,diff,ci_low,ci_high
groupvit,mini_context,2,15.00,7.07,,,
cocu,mini_context,2,21.00,8.49,6.00,-6.71,18.71
one_label,mini_context,2,8.00,0.00,-7.00,-70.53,56.53
"""


def test_main_table(config: Config, write_metrics: Callable[..., Path], tmp_path: Path) -> None:
    run(config, metrics=write_metrics(), quality=[], out=tmp_path / "tables")
    assert (tmp_path / "tables" / "main.csv").read_text() == MAIN_CSV
    markdown = (tmp_path / "tables" / "main.md").read_text(encoding="utf-8").splitlines()
    assert markdown[0] == "| mIoU | mini_context |"
    assert markdown[2:4] == ["| groupvit | 15.00 ± 7.07 |", "| cocu | 21.00 ± 8.49 |"]
    assert markdown[4].startswith("| one label for the whole image | 8.00 ± 0.00 |")
    assert markdown[6] == "| difference | mini_context |"
    assert markdown[8] == "| cocu | +6.00 [\N{MINUS SIGN}6.71, +18.71] |"
    assert "image (the paper's)" in markdown[-2]
    assert "captions that name what is visible" in markdown[-1]  # what the stand-in CLIP has seen
    assert not (tmp_path / "tables" / "archive.csv").exists()


def test_the_mean_over_benchmarks_is_taken_by_seed_and_a_reference_has_no_seeds(
    two_benchmarks: Config, write_metrics: Callable[..., Path], tmp_path: Path
) -> None:
    run(two_benchmarks, metrics=write_metrics({("clip", 0): {}}), quality=[], out=tmp_path)
    # groupvit: seeds (10 + 20) / 2 and (20 + 30) / 2; the difference of every seed is that of one benchmark.
    csv = (tmp_path / "main.csv").read_text().splitlines()
    assert "groupvit,mean,2,20.00,7.07,,," in csv
    assert "cocu,mean,2,26.00,8.49,6.00,-6.71,18.71" in csv
    assert csv[-3:] == ["clip,mini_context,1,5.00,nan,,,", "clip,mini_voc,1,15.00,nan,,,", "clip,mean,1,10.00,nan,,,"]
    markdown = (tmp_path / "main.md").read_text("utf-8")
    assert markdown.startswith("| mIoU | mini_context | mini_voc | mean |\n")
    assert "| clip | 5.00 | 15.00 | 10.00 |\n" in markdown
    assert markdown.count("| clip |") == markdown.count("| groupvit |") == 1  # neither has a difference
    assert "`clip`: ViT-B-32 by its dense features" in markdown


def test_departure_from_the_paper_is_named(config: Config, write_metrics: Callable[..., Path], tmp_path: Path) -> None:
    arms = {**config.arms, "cocu": {"train": {"multi_label_level": "segment"}}}
    run(config.model_copy(update={"arms": arms}), metrics=write_metrics(), quality=[], out=tmp_path)
    assert "image (`groupvit`), segment (`cocu`) (the paper's is image)" in (tmp_path / "main.md").read_text("utf-8")


def test_one_seed_has_neither_spread_nor_interval(
    config: Config, write_metrics: Callable[..., Path], tmp_path: Path
) -> None:
    run(config.model_copy(update={"seeds": (2,)}), metrics=write_metrics(), quality=[], out=tmp_path)
    assert "\ncocu,mini_context,1,27.00,nan,7.00,nan,nan\n" in (tmp_path / "main.csv").read_text()
    markdown = (tmp_path / "main.md").read_text("utf-8")
    assert "| cocu | 27.00 |\n" in markdown and "| cocu | +7.00 |\n" in markdown


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": "q"}, "'groupvit' seed 1: p, arm 'cocu' seed 2: q"),
        ({"seed": 1}, r"cocu/2/mini_context.json holds the result of \('cocu', 1"),
        ({"arm": "groupvit"}, r"cocu/2/mini_context.json holds the result of \('groupvit', 2"),
        ({"benchmark": "voc"}, r"cocu/2/mini_context.json holds the result of \('cocu', 2, 'voc'"),
        ({"miou": float("nan")}, "cocu/2/mini_context.json .* mIoU nan"),
        ({"miou": None}, "cocu/2/mini_context.json is not a result"),
    ],
)
def test_results_that_do_not_belong_are_refused(
    config: Config, write_metrics: Callable[..., Path], change: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        compare(config, write_metrics({("cocu", 2): change}))


def test_missing_result_is_named(config: Config, write_metrics: Callable[..., Path]) -> None:
    metrics = write_metrics()
    (metrics / "one_label" / "2" / "mini_context.json").unlink()
    with pytest.raises(DataError, match=r"one_label/2/mini_context\.json"):
        compare(config, metrics)


def test_archive_table(
    config: Config, write_metrics: Callable[..., Path], quality_files: list[Path], tmp_path: Path
) -> None:
    run(config, metrics=write_metrics(), quality=quality_files, out=tmp_path)
    lines = (tmp_path / "archive.csv").read_text().splitlines()
    names = "precision_mean,precision_sd,recall_mean,recall_sd,recall_missing_mean,recall_missing_sd"
    assert lines[0] == f"source,corpora,{names},concepts_mean,concepts_sd"
    sources = ["caption", "archive", "uniform", "softmax", "top", "cluster"]
    assert [line.split(",")[0] for line in lines[1:]] == sources
    assert lines[1] == "caption,2,22.50,3.54,27.00,7.07,31.50,10.61,2.50,0.71"
    markdown = (tmp_path / "archive.md").read_text("utf-8")
    heads = "| concepts from | precision | recall of all true | recall of the missing | distinct concepts |\n"
    assert markdown.startswith(heads)
    assert "| drawn by softmax of the score | 52.50 ± 3.54 | 57.00 ± 7.07 | 61.50 ± 10.61 | 2.80 ± 0.71 |" in markdown
    assert "| cluster sampling | 72.50 ± 3.54 | 77.00 ± 7.07 | 81.50 ± 10.61 | 3.00 ± 0.71 |" in markdown
    assert "mean ± sample standard deviation over 2 corpora" in markdown
    # the treatment's settings
    assert "four rows draw 2 concepts a pair at temperature 1 with replacement, as `cocu` is set" in markdown


def test_the_archive_table_of_one_corpus_says_how_the_treatment_draws(
    config: Config, write_metrics: Callable[..., Path], quality_files: list[Path], tmp_path: Path
) -> None:
    prompts = {"source": "archive", "count": 4, "temperature": 0.25, "replacement": False}
    arms = {"groupvit": {}, "cocu": {"train": {"prompts": prompts}}}
    config = config.model_copy(update={"arms": arms})
    run(config, metrics=write_metrics(), quality=quality_files[1:], out=tmp_path)
    markdown = (tmp_path / "archive.md").read_text("utf-8")
    assert "| caption nouns | 25.00 | 32.00 | 39.00 | 3.00 |" in markdown and "corpora" not in markdown
    assert "draw 4 concepts a pair at temperature 0.25 without replacement, as `cocu` is set" in markdown


def test_every_number_of_the_comparison_by_plain_arithmetic(
    three_seeds: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seeds, arms and benchmarks that differ from each other in every way; t is 1.885618 at 90 % with 2 degrees."""
    miou = {
        ("groupvit", "mini_voc"): {4: 30.0, 1: 34.5, 9: 29.0},
        ("groupvit", "mini_context"): {4: 11.0, 1: 8.0, 9: 17.0},
        ("cocu", "mini_voc"): {4: 31.0, 1: 31.5, 9: 36.0},
        ("cocu", "mini_context"): {4: 16.0, 1: 25.0, 9: 21.5},
        ("one_label", "mini_voc"): {4: 20.0, 1: 21.0, 9: 24.0},
        ("one_label", "mini_context"): {4: 3.0, 1: 4.0, 9: 2.5},
    }
    for (arm, benchmark), by_seed in miou.items():
        for seed, value in by_seed.items():
            path = tmp_path / arm / str(seed) / f"{benchmark}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            said = {"arm": arm, "seed": seed, "benchmark": benchmark, "miou": value, "protocol": benchmark}
            path.write_text(json.dumps(said))
    for arm in ("groupvit", "cocu", "one_label"):
        both = [miou[arm, benchmark] for benchmark in ("mini_voc", "mini_context")]
        miou[arm, "mean"] = {seed: (both[0][seed] + both[1][seed]) / 2 for seed in (4, 1, 9)}
    rows = compare(three_seeds, tmp_path)
    order = [
        (arm, column) for arm in ("cocu", "groupvit", "one_label") for column in ("mini_voc", "mini_context", "mean")
    ]
    assert [(row.arm, row.benchmark) for row in rows] == order
    for row in rows:
        values = miou[row.arm, row.benchmark]
        assert row.miou == pytest.approx(values)
        sd = statistics.stdev(values.values())
        assert row.summary == Summary(pytest.approx(statistics.fmean(values.values())), pytest.approx(sd), 3)
        if row.arm == "groupvit":
            assert row.difference is None
            continue
        of_baseline = miou["groupvit", row.benchmark]
        differences = [values[seed] - of_baseline[seed] for seed in values]
        mean, half = statistics.fmean(differences), 1.885618 * statistics.stdev(differences) / math.sqrt(3)
        assert row.difference is not None
        ends = (row.difference.mean, row.difference.low, row.difference.high)
        assert ends == pytest.approx((mean, mean - half, mean + half), abs=1e-5)
    markdown = main_markdown(three_seeds, rows)
    assert (
        "over 3 seeds" in markdown and "Difference: to `groupvit`, paired by seed, with its 80% t interval" in markdown
    )
    assert "the best label that `cocu` finds" in markdown


def test_a_reference_says_what_it_is(config: Config, write_metrics: Callable[..., Path]) -> None:
    references = {"published": {"hf": "nvidia/groupvit-gcc-yfcc"}, "own": {"checkpoint": "models/own"}}
    config = validate(config.model_dump() | {"references": references})
    said = main_markdown(config, compare(config.model_copy(update={"references": {}}), write_metrics()))
    assert "`published`: the checkpoint nvidia/groupvit-gcc-yfcc, not trained here." in said
    assert "`own`: the checkpoint models/own, not trained here." in said


def test_same_results_same_bytes(
    config: Config, write_metrics: Callable[..., Path], quality_files: list[Path], tmp_path: Path
) -> None:
    metrics = write_metrics()
    for name in ("a", "b"):
        run(config, metrics=metrics, quality=quality_files, out=tmp_path / name)
    for name in ("main.csv", "main.md", "archive.csv", "archive.md"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_no_negative_zero() -> None:
    assert [number(v) for v in (-0.001, 0.005001, -0.006)] == ["0.00", "0.01", "-0.01"]
    assert interval(Difference(-0.001, -2.0, 0.5)) == "0.00 [\N{MINUS SIGN}2.00, +0.50]"
    assert interval(Difference(-3.0, math.nan, math.nan)) == "\N{MINUS SIGN}3.00"
    assert interval(None) == "\N{EN DASH}"
