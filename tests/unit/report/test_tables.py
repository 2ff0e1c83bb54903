from collections.abc import Callable
from pathlib import Path

import pytest

from cocu.config import Config
from cocu.errors import DataError
from cocu.report.tables import compare, number, run

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
    assert lines[0].startswith("source,corpora,precision_mean,precision_sd,recall_mean")
    assert [line.split(",")[0] for line in lines[1:]] == ["caption", "archive", "uniform", "top", "cluster"]
    assert lines[1] == "caption,2,55.00,7.07,55.00,7.07,55.00,7.07,2.50,0.71"
    markdown = (tmp_path / "archive.md").read_text("utf-8")
    assert "| cluster sampling | 55.00 ± 7.07 | 55.00 ± 7.07 | 55.00 ± 7.07 | 2.50 ± 0.71 |" in markdown
    assert "draw 2 concepts a pair" in markdown  # the treatment's count


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
