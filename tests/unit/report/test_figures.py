import itertools
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import matplotlib.colors
import numpy as np
import pytest

from cocu.config import Config, validate
from cocu.errors import DataError
from cocu.report.figures import arm_colours, arms_of_sources, draw_curves, draw_miou, draw_quality, read_curves, run
from cocu.report.tables import archive_quality
from cocu.sections import Sampling
from tests.unit.report.conftest import compared

TITLES = {
    "caption": "caption nouns",
    "archive": "whole archive",
    "uniform": "drawn at random from it",
    "softmax": "drawn by softmax of the score",
    "top": "top of the ranking",
    "cluster": "cluster sampling",
}
SOURCES = list(TITLES)


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
    figure = draw_miou(config, compared(config, write_metrics()))
    left, right = figure.axes
    assert [t.get_text() for t in left.get_yticklabels()] == ["mini_context"]
    named = [t.get_text() for t in figure.legends[0].get_texts()]
    assert named == ["groupvit", "cocu", "one label for the whole image"]
    assert [list(dots.get_offsets()[:, 0]) for dots in left.collections[::2]] == [[10, 20], [15, 27], [8, 8]]
    interval = right.collections[0].get_segments()[0]  # of cocu: the baseline has none
    assert interval[:, 0] == pytest.approx([6 - 12.7062, 6 + 12.7062], abs=1e-3)
    assert right.texts[0].get_text() == "+6.00 [\N{MINUS SIGN}6.71, +18.71]"


def test_a_colour_is_a_role_s_and_not_a_name_s(config: Config) -> None:
    assert arm_colours(config) == {"groupvit": "#E69F00", "cocu": "#0072B2", "one_label": "#8c8c8c"}
    turned = validate(config.model_dump() | {"report": {"baseline": "cocu", "treatment": "groupvit"}})
    assert arm_colours(turned) == {"cocu": "#E69F00", "groupvit": "#0072B2", "one_label": "#8c8c8c"}


def test_the_comparison_of_two_benchmarks_with_a_reference(
    two_benchmarks: Config, write_metrics: Callable[..., Path]
) -> None:
    """Three groups of four rows from the top: groupvit, cocu, one label, clip; the reference has no difference."""
    config = two_benchmarks.model_copy(update={"report": two_benchmarks.report.model_copy(update={"confidence": 0.8})})
    figure = draw_miou(config, compared(config, write_metrics({("cocu", 2): {"miou": 40.0}})))
    left, right = figure.axes
    groups = dict(zip([text.get_text() for text in left.get_yticklabels()], left.get_yticks(), strict=True))
    assert groups == {"mini_context": 1.5, "mini_voc": 6.5, "mean": 11.5}
    assert left.get_ylim()[0] > 13 and left.get_ylim()[1] < 0  # the first group is the upper one
    bars = [bar.get_segments()[0] for bar in left.collections[1::2]]
    assert [bar[0, 1] for bar in bars] == [0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13]
    assert bars[1][:, 0] == pytest.approx([27.5 - 17.678, 27.5 + 17.678], abs=1e-3)  # cocu, mini_context: 15 and 40
    assert bars[3][:, 0] == pytest.approx([5.0, 5.0])  # the reference's one value
    drawn = right.collections
    assert len(drawn) == 6 and [text.get_position()[1] for text in right.texts] == [1, 6, 11]
    half = 3.077684 * 15 / 2  # differences 5 and 20, whose sd is 15 / sqrt(2); t at 90 % with one degree of freedom
    assert drawn[0].get_segments()[0][:, 0] == pytest.approx([12.5 - half, 12.5 + half], abs=1e-4)
    assert left.get_title() == "mIoU: mean ± sd over 2 seeds"
    assert right.get_title() == "difference to groupvit, 80% interval"


def test_curve_is_mean_and_spread(config: Config, tmp_path: Path) -> None:
    axes = draw_curves(config, read_curves(config, _write_curves(tmp_path))).axes[0]
    assert axes.lines[1].get_color() == arm_colours(config)["cocu"]
    assert axes.lines[1].get_xydata() == pytest.approx(np.array([[10, 16.5], [20, 22.5]]))
    band = axes.collections[1].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((16.5 - 0.5**0.5, 22.5 + 4.5**0.5))


def test_curves_are_named_at_their_ends_apart_from_each_other(config: Config, tmp_path: Path) -> None:
    arms = {**config.arms, "oracle": {}, "other": {}}
    config = config.model_copy(update={"arms": arms})
    for folder in ("oracle", "other"):  # they end where cocu does, the one seed above it and the other below
        for seed in (1, 2):
            path = tmp_path / folder / str(seed) / "curve.csv"
            path.parent.mkdir(parents=True)
            path.write_text(f"step,val_miou\n10,1\n20,{22.4 if folder == 'oracle' else 22.6}\n")
    axes = draw_curves(config, read_curves(config, _write_curves(tmp_path))).axes[0]
    assert len(axes.collections) == 2  # bands of baseline and treatment
    assert [line.get_linewidth() for line in axes.lines] == [2.2, 2.2, 1.0, 1.0]
    assert [text.get_text() for text in axes.texts] == ["groupvit", "oracle", "cocu", "other"]
    heights = [text.xy[1] for text in axes.texts]
    gap = 0.065 * axes.get_ylim()[1]
    assert heights == pytest.approx([12.5, 22.4, 22.4 + gap, 22.4 + 2 * gap])
    assert [text.xy[0] for text in axes.texts] == [20] * 4 and axes.get_xlim() == (0, 20)
    assert axes.get_title() == "mean over 2 seeds, band: ± sd"


def test_one_seed_has_no_band(config: Config, tmp_path: Path) -> None:
    config = config.model_copy(update={"seeds": (2,)})
    axes = draw_curves(config, read_curves(config, _write_curves(tmp_path))).axes[0]
    assert not axes.collections and axes.get_title() == "mean over 1 seed"
    assert axes.lines[1].get_xydata() == pytest.approx(np.array([[10, 17], [20, 24]]))


def test_what_was_not_measured_is_not_drawn(config: Config, write_metrics: Callable[..., Path], tmp_path: Path) -> None:
    config = validate(config.model_dump() | {"train": {"validate_every": 0}})
    run(config, metrics=write_metrics(), checkpoints=tmp_path, quality=[], out=tmp_path / "figures")
    assert sorted(p.name for p in (tmp_path / "figures").iterdir()) == ["miou.png", "miou.svg"]


def test_curves_of_different_length_are_refused(config: Config, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'cocu' seed 2 has other steps"):
        read_curves(config, _write_curves(tmp_path, last_step=19))


@pytest.mark.parametrize("text", ["step,loss\n10,3\n", "step,val_miou\n10,abc\n", "step,val_miou\n"])
def test_damaged_curve_is_named(config: Config, tmp_path: Path, text: str) -> None:
    folder = _write_curves(tmp_path)
    (folder / "groupvit" / "1" / "curve.csv").write_text(text)
    with pytest.raises(DataError, match=r"groupvit/1/curve\.csv"):
        read_curves(config, folder)


def shown_quality(config: Config, files: list[Path]) -> tuple[dict[str, str], list[list[str]]]:
    """What the archive's figure says: by source, its bar's label; and its bars' colours, in the order of the rows."""
    axes = draw_quality(config, archive_quality(files)).axes[0]
    labels = dict(zip(SOURCES, [text.get_text() for text in axes.get_yticklabels()], strict=True))
    colours: list[list[str]] = [[] for _ in SOURCES]
    for bar in axes.patches:
        middle = bar.get_y() + bar.get_height() / 2
        colours[round(middle)].append(matplotlib.colors.to_hex(bar.get_facecolor()).upper())
    return labels, colours


def with_prompts(config: Config, baseline: tuple[str, str], treatment: tuple[str, str]) -> Config:
    """The two arms with a source and a sampling each."""
    prompts = {"groupvit": baseline, "cocu": treatment}
    arms = {arm: {"train": {"prompts": {"source": source, "sampling": s}}} for arm, (source, s) in prompts.items()}
    return config.model_copy(update={"arms": arms})


def test_every_source_and_sampling_feeds_its_row(config: Config) -> None:
    row = {("archive", sampling): sampling for sampling in get_args(Sampling)}
    row |= {("caption", sampling): "caption" for sampling in get_args(Sampling)}
    legal = list(itertools.product(("caption", "archive", "truth"), get_args(Sampling)))
    assert len(legal) == 12
    for baseline, treatment in itertools.product(legal, legal):
        fed = arms_of_sources(with_prompts(config, baseline, treatment))
        assert list(fed) == SOURCES
        expected: dict[str, list[str]] = {source: [] for source in SOURCES}
        for arm, prompts in (("groupvit", baseline), ("cocu", treatment)):
            if prompts in row:
                expected[row[prompts]].append(arm)
        assert fed == expected


@pytest.mark.parametrize(
    ("baseline", "treatment", "named"),
    [
        (("caption", "cluster"), ("archive", "cluster"), {"caption": "groupvit", "cluster": "cocu"}),
        (("caption", "cluster"), ("archive", "softmax"), {"caption": "groupvit", "softmax": "cocu"}),
        (("archive", "top"), ("caption", "softmax"), {"top": "groupvit", "caption": "cocu"}),
        (("caption", "cluster"), ("truth", "uniform"), {"caption": "groupvit"}),
        (("truth", "cluster"), ("archive", "uniform"), {"uniform": "cocu"}),
        (("archive", "cluster"), ("archive", "cluster"), {"cluster": "groupvit and cocu"}),
        (("caption", "top"), ("caption", "cluster"), {"caption": "groupvit and cocu"}),
    ],
)
def test_a_bar_has_the_names_and_colours_of_the_arms_that_it_feeds(
    config: Config,
    quality_files: list[Path],
    baseline: tuple[str, str],
    treatment: tuple[str, str],
    named: dict[str, str],
) -> None:
    labels, colours = shown_quality(with_prompts(config, baseline, treatment), quality_files)
    own = {"groupvit": ["#E69F00"], "cocu": ["#0072B2"], "groupvit and cocu": ["#E69F00", "#0072B2"]}
    for k, source in enumerate(SOURCES):
        name = named.get(source)
        assert labels[source] == (f"{name}: {TITLES[source]}" if name else TITLES[source])
        assert colours[k] == (own[name] if name else ["#BDBDBD"])


def test_an_arm_without_a_bar_is_accounted_for(config: Config, quality_files: list[Path]) -> None:
    rows = archive_quality(quality_files)
    figure = draw_quality(with_prompts(config, ("caption", "cluster"), ("truth", "uniform")), rows)
    assert figure.get_supxlabel().splitlines()[1:] == ["No bar is cocu's: its concepts are the truth."]
    assert "No bar" not in draw_quality(config, rows).get_supxlabel()


def test_a_bar_is_as_long_as_its_mean_with_its_spread(config: Config, quality_files: list[Path]) -> None:
    panels = draw_quality(config, archive_quality(quality_files)).axes
    assert [axes.get_title() for axes in panels] == [
        "precision", "recall of all true", "recall of the missing",
    ]  # fmt: skip
    for axes, first, sd in zip(panels, (22.5, 27.0, 31.5), (3.54, 7.07, 10.61), strict=True):
        assert [bar.get_width() for bar in axes.patches] == pytest.approx([first + 10 * k for k in range(6)])
        ends = [line.get_segments()[0][:, 0] for line in axes.collections]
        assert np.array(ends) == pytest.approx(
            np.array([[first + 10 * k - sd, first + 10 * k + sd] for k in range(6)]), abs=0.01
        )
        assert [text.get_text() for text in axes.texts] == [f"{first + 10 * k:.1f}" for k in range(6)]
        assert [text.get_position()[0] for text in axes.texts] == pytest.approx(np.array(ends)[:, 1] + 2)
    top, bottom = panels[0].get_ylim()[::-1]
    assert top < 0 < 5 < bottom  # the caption's bar is the upper one


def test_same_results_same_bytes(
    config: Config, write_metrics: Callable[..., Path], quality_files: list[Path], tmp_path: Path
) -> None:
    metrics, checkpoints = write_metrics(), _write_curves(tmp_path / "checkpoints")
    for name in ("a", "b"):
        run(config, metrics=metrics, checkpoints=checkpoints, quality=quality_files, out=tmp_path / name)
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert files == ["archive.png", "archive.svg", "curve.png", "curve.svg", "miou.png", "miou.svg"]
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)
