"""The tables of an experiment, from the frame of its results and from the archive's quality.

Gives results.csv (the frame), main (one row an arm and benchmark, and one for the mean over benchmarks; diff = mean
over seeds of arm - baseline) and archive, these two as CSV, Markdown and LaTeX. Decimals are fixed and nothing depends
on the clock, so the same results give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cocu import layout
from cocu.config import Config
from cocu.errors import DataError
from cocu.io import read_json, write_text
from cocu.mini.quality import MEASURES, SOURCES
from cocu.report.collect import all_models, collect, results_csv
from cocu.report.render import arm_title, csv, interval, latex, markdown, number, spread
from cocu.report.statistics import Difference, Summary, paired_difference, summarise

MEAN = "mean"  # over the benchmarks, in the place of one
MAIN_COLUMNS = ("arm", "benchmark", "seeds", "miou_mean", "miou_sd", "diff", "ci_low", "ci_high")
UNITS = {measure: 1.0 if measure == "concepts" else 100.0 for measure in MEASURES}  # shares are shown in percent
ARCHIVE_HEADS = ("precision", "recall of all true", "recall of the missing", "distinct concepts")  # of MEASURES


@dataclass(frozen=True)
class Row:
    """One arm or reference on one benchmark, or on all of them (`MEAN`).

    mIoU (percent) by seed, its summary, and the paired difference to the baseline: None for the baseline itself and for
    a reference, which has no seeds to pair.
    """

    arm: str
    benchmark: str
    miou: dict[int, float]
    summary: Summary
    difference: Difference | None


@dataclass(frozen=True)
class QualityRow:
    """One source of concepts: each measure (percent, and distinct concepts a pair) summarised over the corpora."""

    source: str
    measures: dict[str, Summary]


def run(config: Config, *, metrics: Path, quality: list[Path], out: Path) -> None:
    """Write the tables into the folder `out`: results and main, and archive when `quality` names files."""
    results = collect(config, metrics, all_models(config))
    write_text(out / layout.RESULTS, results_csv(results))
    rows = compare(config, results)
    write_text(out / "main.csv", csv(main_frame(rows)))
    write_text(out / "main.md", main_markdown(config, rows))
    write_text(out / "main.tex", main_latex(config, rows))
    if quality:
        archive = archive_quality(quality)
        write_text(out / "archive.csv", csv(archive_frame(archive)))
        write_text(out / "archive.md", markdown([archive_grid(archive)], archive_notes(config, archive)))
        write_text(out / "archive.tex", latex([archive_grid(archive)], archive_notes(config, archive), "archive"))


def columns(config: Config) -> list[str]:
    """The columns of the comparison: the benchmarks, and their mean where there are several."""
    benchmarks = config.evaluate.benchmarks
    return [*benchmarks, MEAN] if len(benchmarks) > 1 else [*benchmarks]


def compare(config: Config, results: pd.DataFrame) -> list[Row]:
    """The rows of the comparison, from the frame of `collect`: columns within arms, and arms in the frame's order."""
    benchmarks = list(config.evaluate.benchmarks)
    by_model = results.pivot(index=["arm", "seed"], columns="benchmark", values="miou")
    by_model[MEAN] = by_model[benchmarks].mean(axis=1)
    seeds = {str(arm): rows["seed"].unique().tolist() for arm, rows in results.groupby("arm", sort=False)}
    values: dict[tuple[str, str], dict[int, float]] = {
        (arm, column): dict(zip(seeds[arm], by_model.loc[arm].loc[seeds[arm], column].tolist(), strict=True))
        for arm in seeds
        for column in columns(config)
    }
    rows: list[Row] = []
    for (arm, column), miou in values.items():
        difference = None
        if arm != config.report.baseline and arm not in config.references:
            baseline = values[config.report.baseline, column]
            difference = paired_difference(miou, baseline, name=arm, confidence=config.report.confidence)
        rows.append(Row(arm, column, miou, summarise(list(miou.values())), difference))
    return rows


def archive_quality(paths: Sequence[Path]) -> list[QualityRow]:
    """The quality of every source of concepts, summarised over the corpora of `paths`."""
    files = [read_json(path) for path in paths]
    return [
        QualityRow(
            source,
            {
                m: summarise([UNITS[m] * _measure(f, p, source, m) for f, p in zip(files, paths, strict=True)])
                for m in MEASURES
            },
        )
        for source in SOURCES
    ]


def _measure(file: Any, path: Path, source: str, measure: str) -> float:
    try:
        return float(file["sources"][source][measure])
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} has no {measure} of '{source}' ({error}). Delete it and run again.") from error


def main_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """`MAIN_COLUMNS` as text: "" where a value does not apply (the baseline), `nan` where one seed defines none."""
    lines = []
    for row in rows:
        d = row.difference
        known = [row.arm, row.benchmark, str(row.summary.count), number(row.summary.mean), number(row.summary.sd)]
        lines.append(known + (["", "", ""] if d is None else [number(v) for v in (d.mean, d.low, d.high)]))
    return pd.DataFrame(lines, columns=list(MAIN_COLUMNS))


def main_markdown(config: Config, rows: Sequence[Row]) -> str:
    """The same for people: a line an arm and a column a benchmark; then the differences, and what they are."""
    return markdown(main_grids(config, rows), main_notes(config))


def main_latex(config: Config, rows: Sequence[Row]) -> str:
    """The same for a paper. On a page there is room for the arms side by side, and not for the benchmarks."""
    upright = [grid.T.rename_axis(str(grid.index.name)) for grid in main_grids(config, rows)]
    return latex(upright, main_notes(config), "main")


def main_grids(config: Config, rows: Sequence[Row]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """mIoU and differences as text, a line an arm and a column a benchmark."""
    heads = columns(config)
    miou: dict[str, list[str]] = {}
    differences: dict[str, list[str]] = {}
    for row in rows:
        miou.setdefault(arm_title(row.arm), []).append(spread(row.summary))
        if row.difference is not None:
            differences.setdefault(arm_title(row.arm), []).append(interval(row.difference))
    return _grid("mIoU", heads, miou), _grid("difference", heads, differences)


def _grid(corner: str, heads: Sequence[str], lines: dict[str, list[str]]) -> pd.DataFrame:
    return pd.DataFrame.from_dict(lines, orient="index", columns=list(heads)).rename_axis(corner)


def main_notes(config: Config) -> list[str]:
    """What the numbers of the comparison are, a sentence or two each."""
    seeds, report = len(config.seeds), config.report
    return [
        f"mIoU in percent, mean ± sample standard deviation over {seeds} {'seed' if seeds == 1 else 'seeds'}. "
        f"Difference: to `{report.baseline}`, paired by seed, with its {report.confidence:.0%} t interval.",
        f"One label for the whole image: the best label that `{report.treatment}` finds, painted on every pixel.",
        *_references(config),
        *_departures(config),
    ]


def _references(config: Config) -> list[str]:
    """What the rows are that were not trained here."""
    said = []
    for name, reference in config.references.items():
        if reference.clip:
            said.append(f"`{name}`: {reference.clip} by its dense features, zero-shot, as MaskCLIP has it.")
        else:
            said.append(f"`{name}`: the checkpoint {reference.hf or reference.checkpoint}, not trained here.")
    return said


def _departures(config: Config) -> list[str]:
    """What a reader of any table must know: the level of the multi-label loss, and what the stand-in CLIP has seen."""
    levels = {name: config.arm(name).train.multi_label_level for name in config.arms}
    if len(set(levels.values())) == 1:
        said = str(next(iter(levels.values())))
    else:
        said = ", ".join(f"{level} (`{name}`)" for name, level in levels.items())
    note = " (the paper's)" if set(levels.values()) == {"image"} else " (the paper's is image)"
    return [f"Level of the multi-label loss: {said}{note}.", *clip_note(config)]


def clip_note(config: Config) -> list[str]:
    """One sentence when the CLIP is the stand-in, which has to be said wherever a result is shown; else nothing."""
    if config.clip.model != "stand-in":
        return []
    return ["CLIP is a small stand-in, trained on scenes of the same world with captions that name what is visible."]


def archive_frame(rows: Sequence[QualityRow]) -> pd.DataFrame:
    """A row a source; mean and sample standard deviation over the corpora of every measure, shares in percent."""
    lines = []
    for row in rows:
        line = {"source": row.source, "corpora": str(row.measures[MEASURES[0]].count)}
        for measure in MEASURES:
            summary = row.measures[measure]
            line |= {f"{measure}_mean": number(summary.mean), f"{measure}_sd": number(summary.sd)}
        lines.append(line)
    return pd.DataFrame(lines)


def archive_grid(rows: Sequence[QualityRow]) -> pd.DataFrame:
    """The archive against the known truth, for people: a line a source and a column a measure."""
    lines = {SOURCES[row.source]: [spread(row.measures[m]) for m in MEASURES] for row in rows}
    return _grid("concepts from", ARCHIVE_HEADS, lines)


def archive_notes(config: Config, rows: Sequence[QualityRow]) -> list[str]:
    """What the archive's numbers are."""
    count = rows[0].measures[MEASURES[0]].count
    prompts = config.arm(config.report.treatment).train.prompts
    again = "with" if prompts.replacement else "without"
    return [
        "Against the truth of the composed scenes, in percent, over all pairs of a corpus"
        + (f"; mean ± sample standard deviation over {count} corpora." if count > 1 else "."),
        f"The last four rows draw {prompts.count} concepts a pair at temperature {prompts.temperature:g} {again} "
        f"replacement, as `{config.report.treatment}` is set. Missing: visible, and not named by the caption. "
        "Distinct concepts: how many a pair is given, on average.",
        *clip_note(config),
    ]
