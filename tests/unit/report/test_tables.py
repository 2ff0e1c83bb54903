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
    assert markdown[0] == "| arm | mini_context: mIoU | mini_context: difference |"
    assert markdown[2] == "| groupvit | 15.00 ± 7.07 | \N{EN DASH} |"
    assert markdown[3] == "| cocu | 21.00 ± 8.49 | +6.00 [\N{MINUS SIGN}6.71, +18.71] |"
    assert markdown[4].startswith("| one label for the whole image | 8.00 ± 0.00 |")
    assert "image (the paper's)" in markdown[-2]
    assert "captions that name what is visible" in markdown[-1]  # what the stand-in CLIP has seen
    assert not (tmp_path / "tables" / "archive.csv").exists()


def test_departure_from_the_paper_is_named(config: Config, write_metrics: Callable[..., Path], tmp_path: Path) -> None:
    arms = {**config.arms, "cocu": {"train": {"multi_label_level": "segment"}}}
    run(config.model_copy(update={"arms": arms}), metrics=write_metrics(), quality=[], out=tmp_path)
    assert "image (`groupvit`), segment (`cocu`) (the paper's is image)" in (tmp_path / "main.md").read_text("utf-8")


def test_one_seed_has_neither_spread_nor_interval(
    config: Config, write_metrics: Callable[..., Path], tmp_path: Path
) -> None:
    run(config.model_copy(update={"seeds": (2,)}), metrics=write_metrics(), quality=[], out=tmp_path)
    assert "\ncocu,mini_context,1,27.00,nan,7.00,nan,nan\n" in (tmp_path / "main.csv").read_text()
    assert "| cocu | 27.00 | +7.00 |" in (tmp_path / "main.md").read_text("utf-8")


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
