"""The figures of an experiment: the comparison, the curves, and the archive's quality.

Takes what the tables take, and R/checkpoints/{arm}/{seed}/curve.csv; gives miou, curve and archive as SVG and PNG.
An arm has one colour (Okabe and Ito's) in every figure. Nothing in a file depends on the clock or on a random id.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cocu import layout
from cocu.config import ONE_LABEL, Config
from cocu.errors import DataError
from cocu.io import atomic_path
from cocu.mini.quality import SOURCES
from cocu.report.collect import all_models, collect
from cocu.report.render import arm_title, interval
from cocu.report.tables import QualityRow, Row, archive_quality, clip_note, columns, compare

STYLE: Any = {  # matplotlib types its keys as a list of literals
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "legend.frameon": False,
    "svg.hashsalt": "cocu",
}
GREY = "#8c8c8c"
BASELINE, TREATMENT = "#E69F00", "#0072B2"
NEUTRAL, BAR = "#bdbdbd", 0.68  # a bar of no arm; the height of a bar, of the distance between two
OTHERS = ("#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
MEASURE_TITLES = {"precision": "precision", "recall": "recall of all true", "recall_missing": "recall of the missing"}
Values = npt.NDArray[np.float64]


def run(config: Config, *, metrics: Path, checkpoints: Path, quality: list[Path], out: Path) -> None:
    """Write miou, curve (when the arms were validated along the way) and archive (when there is quality) into `out`."""
    with matplotlib.rc_context(STYLE):
        results = collect(config, metrics, all_models(config))
        save(draw_miou(config, compare(config, results)), out, "miou")
        if config.train.validate_every:
            save(draw_curves(config, read_curves(config, checkpoints)), out, "curve")
        if quality:
            save(draw_quality(config, archive_quality(quality)), out, "archive")


def arm_colours(config: Config) -> dict[str, str]:
    """The colour of every arm; the baseline's and the treatment's do not depend on which other arms there are."""
    fixed = {config.report.baseline: BASELINE, config.report.treatment: TREATMENT, ONE_LABEL: GREY}
    others = [arm for arm in (*config.arms, *config.references) if arm not in fixed]
    return fixed | {arm: OTHERS[i % len(OTHERS)] for i, arm in enumerate(others)}


def sides(config: Config) -> list[str]:
    """Baseline and treatment."""
    return list(dict.fromkeys((config.report.baseline, config.report.treatment)))


def draw_miou(config: Config, rows: Sequence[Row]) -> Figure:
    """Left mIoU (seeds, mean and sd), right the paired differences with their intervals; a group a benchmark."""
    colours, groups = arm_colours(config), columns(config)
    arms = list(dict.fromkeys(row.arm for row in rows))
    figure = Figure(figsize=(8.6, 0.19 * len(groups) * (len(arms) + 1.0) + 1.25), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": [1.15, 1]})
    ticks = []
    for i, group in enumerate(groups):
        first = i * (len(arms) + 1.0)
        ticks.append(first + (len(arms) - 1) / 2)
        for row in (r for r in rows if r.benchmark == group):
            y = first + arms.index(row.arm)
            _miou_line(left, y, row, colours[row.arm])
            _difference_line(right, y, row, colours[row.arm], said=row.arm == config.report.treatment)
        if i:
            for axes in (left, right):
                axes.axhline(first - 1, color="#eeeeee", linewidth=0.8, zorder=0)
    left.set_yticks(ticks, groups, weight="bold")
    left.set_ylim(len(groups) * (len(arms) + 1.0) - 1.2, -0.8)
    left.set_xlim(left=0)
    left.set_title(f"mIoU: mean ± sd over {_seeds(config)}")
    left.set_xlabel("mIoU on test (%), a small dot a seed")
    right.axvline(0, color="#444444", linewidth=1)
    right.set_title(f"difference to {config.report.baseline}, {config.report.confidence:.0%} interval")
    right.set_xlabel("paired difference in mIoU (points)")
    for axes in (left, right):
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    handles = [Line2D([], [], marker="o", linestyle="", color=colours[arm], label=arm_title(arm)) for arm in arms]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(arms))
    _note(figure, config)
    return figure


def _miou_line(axes: Axes, y: float, row: Row, colour: str) -> None:
    values = list(row.miou.values())
    axes.scatter(values, np.full(len(values), y), s=9, color=colour, alpha=0.4, linewidths=0)
    sd = 0.0 if math.isnan(row.summary.sd) else row.summary.sd
    axes.errorbar(row.summary.mean, y, xerr=sd, fmt="o", color=colour, markersize=4.5, capsize=2, linewidth=1.4)


def _difference_line(axes: Axes, y: float, row: Row, colour: str, *, said: bool) -> None:
    d = row.difference
    if d is None:
        return
    half = 0.0 if math.isnan(d.low) else d.mean - d.low
    axes.errorbar(d.mean, y, xerr=half, fmt="o", color=colour, markersize=4.5, capsize=2, linewidth=1.4)
    if said:
        axes.text(1.02, y, interval(d), transform=axes.get_yaxis_transform(), va="center", fontsize=8, color="#333333")


def read_curves(config: Config, checkpoints: Path) -> dict[str, tuple[Values, Values]]:
    """By arm: the steps (t,) and the validation mIoU in percent (seeds, t).

    Raises `DataError` when a curve is missing, damaged, or has other steps than the arm's first seed.
    """
    curves: dict[str, tuple[Values, Values]] = {}
    for arm in config.arms:
        tracks = [_read_curve(layout.checkpoint(checkpoints, arm, seed) / layout.CURVE) for seed in config.seeds]
        for seed, track in zip(config.seeds, tracks, strict=True):
            if not np.array_equal(track[0], tracks[0][0]):
                raise DataError(
                    f"The curve of arm '{arm}' seed {seed} has other steps than that of seed {config.seeds[0]}. "
                    f"Delete {layout.checkpoint(checkpoints, arm, seed)} and run again."
                )
        curves[arm] = (tracks[0][0], np.stack([track[1] for track in tracks]))
    return curves


def _read_curve(path: Path) -> tuple[Values, Values]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            lines = [(float(line["step"]), float(line["val_miou"])) for line in csv.DictReader(stream)]
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}. Run the training first.") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is not a curve with the columns step and val_miou ({error}).") from error
    if not lines:
        raise DataError(f"{path} holds no point. Delete it and run the training again.")
    table = np.array(lines, dtype=np.float64)
    return table[:, 0], table[:, 1]


def draw_curves(config: Config, curves: Mapping[str, tuple[Values, Values]]) -> Figure:
    """mIoU on val against steps: mean and sd over seeds for baseline and treatment, thin means for other arms."""
    colours = arm_colours(config)
    figure = Figure(figsize=(6.4, 3.7), layout="constrained")
    axes = figure.subplots()
    ends: list[tuple[float, str]] = []
    main = sides(config)
    for arm, (steps, values) in curves.items():
        mean = values.mean(axis=0)
        if arm in main and len(values) > 1:
            sd = values.std(axis=0, ddof=1)
            axes.fill_between(steps, mean - sd, mean + sd, color=colours[arm], alpha=0.16, linewidth=0)
        axes.plot(
            steps, mean, color=colours[arm], linewidth=2.2 if arm in main else 1.0, zorder=3 if arm in main else 2
        )
        ends.append((float(mean[-1]), arm))
    axes.set_xlim(0, max(steps[-1] for steps, _ in curves.values()))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("training step")
    axes.set_ylabel("mIoU on val (%)")
    axes.set_title(f"mean over {_seeds(config)}" + (", band: ± sd" if len(config.seeds) > 1 else ""))
    axes.grid(axis="y")
    _label_ends(axes, ends, colours, {arm: float(curves[arm][0][-1]) for arm in curves})
    _note(figure, config)
    return figure


def _label_ends(
    axes: Axes, ends: Sequence[tuple[float, str]], colours: Mapping[str, str], last: Mapping[str, float]
) -> None:
    """Each line's name at its end, moved apart where lines end close together."""
    gap = 0.065 * axes.get_ylim()[1]
    level = -math.inf
    for value, arm in sorted(ends):
        level = max(value, level + gap)
        axes.annotate(
            arm_title(arm), (last[arm], level), xytext=(6, 0), textcoords="offset points", color=colours[arm],
            va="center", annotation_clip=False,
        )  # fmt: skip


def arms_of_sources(config: Config) -> dict[str, list[str]]:
    """The sides of the comparison that each source of concepts feeds; the truth, as a source, has no row."""
    fed: dict[str, list[str]] = {source: [] for source in SOURCES}
    for arm in sides(config):
        prompts = config.arm(arm).train.prompts
        if prompts.source != "truth":
            fed["caption" if prompts.source == "caption" else prompts.sampling].append(arm)
    return fed


def draw_quality(config: Config, rows: Sequence[QualityRow]) -> Figure:
    """A panel a measure, a bar a source, with the names and colours of the arms that it feeds: two share the bar."""
    colours, fed = arm_colours(config), arms_of_sources(config)
    figure = Figure(figsize=(8.6, 0.25 * len(rows) + 1.1), layout="constrained")
    panels = figure.subplots(1, len(MEASURE_TITLES), sharey=True)
    positions = np.arange(len(rows))
    for axes, (measure, title) in zip(panels, MEASURE_TITLES.items(), strict=True):
        for y, row in zip(positions, rows, strict=True):
            summary = row.measures[measure]
            shades = [colours[arm] for arm in fed[row.source]] or [NEUTRAL]
            tops = np.linspace(y - BAR / 2, y + BAR / 2, len(shades), endpoint=False)
            axes.barh(tops, summary.mean, height=BAR / len(shades), align="edge", color=shades)
            if not math.isnan(summary.sd):
                axes.errorbar(summary.mean, y, xerr=summary.sd, color="#333333", capsize=2, linewidth=1)
            end = summary.mean + (0.0 if math.isnan(summary.sd) else summary.sd)
            axes.text(end + 2, y, f"{summary.mean:.1f}", va="center", fontsize=8)
        axes.set_xlim(0, 118)
        axes.set_xticks([0, 25, 50, 75, 100])
        axes.set_title(title)
        axes.set_xlabel("%")
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(positions, [_bar_name(fed[row.source], row.source) for row in rows])
    panels[0].set_ylim(len(rows) - 0.45, -0.55)
    fed_none = [arm for arm in sides(config) if not any(arm in arms for arms in fed.values())]
    _note(figure, config, *(f"No bar is {arm}'s: its concepts are the truth." for arm in fed_none))
    return figure


def _bar_name(arms: Sequence[str], source: str) -> str:
    return f"{' and '.join(arms)}: {SOURCES[source]}" if arms else SOURCES[source]


def _note(figure: Figure, config: Config, *more: str) -> None:
    if sentences := [*clip_note(config), *more]:
        figure.supxlabel("\n".join(sentences), x=0.995, ha="right", fontsize=7.5, color="#666666")


def _seeds(config: Config) -> str:
    return f"{len(config.seeds)} {'seed' if len(config.seeds) == 1 else 'seeds'}"


def save(figure: Figure, out: Path, name: str) -> None:
    """`name`.svg and `name`.png in the folder `out`, atomically, with the same bytes for the same figure."""
    metadata: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "png": {"Software": None}}
    for kind, values in metadata.items():
        with atomic_path(out / f"{name}.{kind}") as temporary:
            figure.savefig(temporary, format=kind, dpi=200, metadata=values)
