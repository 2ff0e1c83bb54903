from collections.abc import Callable
from pathlib import Path

import matplotlib.colors
import numpy as np
import pytest

from cocu.config import Config
from cocu.errors import DataError
from cocu.report.figures import arm_colours, draw_curves, draw_miou, draw_quality, read_curves, run
from cocu.report.tables import archive_quality, compare


def _write_curves(folder: Path, last_step: int = 20) -> Path:
    for arm, offset in (("groupvit", 0.0), ("cocu", 10.0)):
        for seed in (1, 2):
            path = folder / arm / str(seed) / "curve.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            last = last_step if (arm, seed) == ("cocu", 2) else 20
            path.write_text(f"step,val_miou\n10,{5 + offset + seed}\n{last},{8 + offset + 3 * seed}\n")
    return folder


def test_an_arm_keeps_its_colour(config: Config) -> None:
    more = config.model_copy(update={"arms": {"oracle": {}, **config.arms, "cocu_top3": {}}})
    few, many = arm_colours(config), arm_colours(more)
    assert few.items() <= many.items()
    assert len(set(many.values())) == 5


def test_miou_figure_shows_the_rows(config: Config, write_metrics: Callable[..., Path]) -> None:
    figure = draw_miou(config, compare(config, write_metrics()))
    left, right = figure.axes
    assert [t.get_text() for t in left.get_yticklabels()] == ["mini_context"]
    named = [t.get_text() for t in figure.legends[0].get_texts()]
    assert named == ["groupvit", "cocu", "one label for the whole image"]
    assert [list(dots.get_offsets()[:, 0]) for dots in left.collections[::2]] == [[10, 20], [15, 27], [8, 8]]
    interval = right.collections[0].get_segments()[0]  # of cocu: the baseline has none
    assert interval[:, 0] == pytest.approx([6 - 12.7062, 6 + 12.7062], abs=1e-3)
    assert right.texts[0].get_text() == "+6.00 [\N{MINUS SIGN}6.71, +18.71]"


def test_curve_is_mean_and_spread(config: Config, tmp_path: Path) -> None:
    axes = draw_curves(config, read_curves(config, _write_curves(tmp_path))).axes[0]
    assert axes.lines[1].get_color() == arm_colours(config)["cocu"]
    assert axes.lines[1].get_xydata() == pytest.approx(np.array([[10, 16.5], [20, 22.5]]))
    band = axes.collections[1].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((16.5 - 0.5**0.5, 22.5 + 4.5**0.5))


def test_curves_of_different_length_are_refused(config: Config, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'cocu' seed 2 has other steps"):
        read_curves(config, _write_curves(tmp_path, last_step=19))


@pytest.mark.parametrize("text", ["step,loss\n10,3\n", "step,val_miou\n10,abc\n", "step,val_miou\n"])
def test_damaged_curve_is_named(config: Config, tmp_path: Path, text: str) -> None:
    folder = _write_curves(tmp_path)
    (folder / "groupvit" / "1" / "curve.csv").write_text(text)
    with pytest.raises(DataError, match=r"groupvit/1/curve\.csv"):
        read_curves(config, folder)


def test_quality_bars_have_the_arms_colours(config: Config, quality_files: list[Path]) -> None:
    axes = draw_quality(config, archive_quality(quality_files)).axes[0]
    colours = arm_colours(config)
    shown = [matplotlib.colors.to_hex(bar.get_facecolor()).upper() for bar in axes.patches]
    assert (shown[0], shown[4]) == (colours["groupvit"], colours["cocu"])
    assert axes.get_yticklabels()[4].get_text() == "cocu: cluster sampling"
    assert axes.patches[0].get_width() == pytest.approx(55.0)


def test_same_results_same_bytes(
    config: Config, write_metrics: Callable[..., Path], quality_files: list[Path], tmp_path: Path
) -> None:
    metrics, checkpoints = write_metrics(), _write_curves(tmp_path / "checkpoints")
    for name in ("a", "b"):
        run(config, metrics=metrics, checkpoints=checkpoints, quality=quality_files, out=tmp_path / name)
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert files == ["archive.png", "archive.svg", "curve.png", "curve.svg", "miou.png", "miou.svg"]
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)
