"""The tables of an experiment, from the metrics of its arms, seeds and benchmarks and from the archive's quality.

Takes R/metrics/{arm}/{seed}/{benchmark}.json and the quality.json of each corpus; gives main.csv (one row an arm and
benchmark, and one for the mean over benchmarks; diff = mean over seeds of arm - baseline), main.md, archive.csv and
archive.md. Decimals are fixed and nothing depends on the clock, so the same results give the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cocu import layout
from cocu.config import ONE_LABEL, Config
from cocu.errors import DataError
from cocu.io import read_json, write_text
from cocu.mini.quality import MEASURES, SOURCES
from cocu.report.statistics import Difference, Summary, paired_difference, summarise

MEAN = "mean"  # over the benchmarks, in the place of one
REFERENCE_SEED = 0  # a reference's one result is no seed's, and stands there
MAIN_COLUMNS = ("arm", "benchmark", "seeds", "miou_mean", "miou_sd", "diff", "ci_low", "ci_high")
UNITS = {measure: 1.0 if measure == "concepts" else 100.0 for measure in MEASURES}  # shares are shown in percent


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
    """Write main.csv and main.md into the folder `out`, and archive.csv and archive.md when `quality` names files."""
    rows = compare(config, metrics)
    write_text(out / "main.csv", main_csv(rows))
    write_text(out / "main.md", main_markdown(config, rows))
    if quality:
        archive = archive_quality(quality)
        write_text(out / "archive.csv", archive_csv(archive))
        write_text(out / "archive.md", archive_markdown(config, archive))


def columns(config: Config) -> list[str]:
    """The columns of the comparison: the benchmarks, and their mean where there are several."""
    benchmarks = config.evaluate.benchmarks
    return [*benchmarks, MEAN] if len(benchmarks) > 1 else [*benchmarks]


def compare(config: Config, metrics: Path) -> list[Row]:
    """The rows of the comparison: columns within arms; arms in the configuration's order, `one_label`, references.

    Raises `DataError` when a result is missing, is not the one its path says, is not finite, or was made under
    another protocol than the rest of its column.
    """
    trained = (*config.arms, ONE_LABEL)
    seeds = {arm: config.seeds for arm in trained} | {name: (REFERENCE_SEED,) for name in config.references}
    values: dict[tuple[str, str], dict[int, float]] = {}
    for benchmark in config.evaluate.benchmarks:
        results = {arm: _by_seed(metrics, arm, benchmark, seeds[arm]) for arm in seeds}
        _same_protocol(benchmark, results)
        for arm, by_seed in results.items():
            values[arm, benchmark] = {seed: float(r["miou"]) for seed, r in by_seed.items()}
    for arm in seeds:
        of_benchmarks = [values[arm, benchmark] for benchmark in config.evaluate.benchmarks]
        values[arm, MEAN] = {seed: sum(v[seed] for v in of_benchmarks) / len(of_benchmarks) for seed in seeds[arm]}
    rows: list[Row] = []
    for arm in seeds:
        for column in columns(config):
            miou, difference = values[arm, column], None
            if arm in trained and arm != config.report.baseline:
                baseline = values[config.report.baseline, column]
                difference = paired_difference(miou, baseline, name=arm, confidence=config.report.confidence)
            rows.append(Row(arm, column, miou, summarise(list(miou.values())), difference))
    return rows


def _by_seed(metrics: Path, arm: str, benchmark: str, seeds: Sequence[int]) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for seed in seeds:
        path = layout.result(metrics, arm, seed, benchmark)
        result = read_json(path)
        try:
            said = (result["arm"], result["seed"], result["benchmark"])
            whole = math.isfinite(result["miou"]) and isinstance(result["protocol"], str)
        except (KeyError, TypeError) as error:
            raise DataError(f"{path} is not a result of the evaluation ({error}). Delete it and run again.") from error
        if said != (arm, seed, benchmark) or not whole:
            raise DataError(f"{path} holds the result of {said} with mIoU {result['miou']}. Delete it and run again.")
        found[seed] = result
    return found


def _same_protocol(benchmark: str, arms: dict[str, dict[int, dict[str, Any]]]) -> None:
    seen: dict[str, str] = {}
    for arm, by_seed in arms.items():
        for seed, result in by_seed.items():
            seen.setdefault(result["protocol"], f"arm '{arm}' seed {seed}")
    if len(seen) > 1:
        (one, first), (other, second) = list(seen.items())[:2]
        raise DataError(
            f"The results on '{benchmark}' follow different protocols ({first}: {one}, {second}: {other}) and cannot "
            "share a column. Delete the older metrics and run again."
        )


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


def main_csv(rows: Iterable[Row]) -> str:
    """`MAIN_COLUMNS`; empty cells where a value does not apply (the baseline), `nan` where one seed defines none."""
    lines = [",".join(MAIN_COLUMNS)]
    for row in rows:
        d = row.difference
        cells = [row.arm, row.benchmark, str(row.summary.count), number(row.summary.mean), number(row.summary.sd)]
        lines.append(",".join(cells + (["", "", ""] if d is None else [number(v) for v in (d.mean, d.low, d.high)])))
    return "\n".join(lines) + "\n"


def main_markdown(config: Config, rows: Sequence[Row]) -> str:
    """The same for people: mIoU, a line an arm and a column a benchmark; then the differences, and what they are."""
    arms = list(dict.fromkeys(row.arm for row in rows))
    cells = {(row.arm, row.benchmark): row for row in rows}
    heads = columns(config)
    compared = [arm for arm in arms if cells[arm, heads[0]].difference is not None]
    seeds, report = len(config.seeds), config.report
    lines = [
        *_grid("mIoU", heads, {arm: [spread(cells[arm, c].summary) for c in heads] for arm in arms}),
        "",
        *_grid("difference", heads, {arm: [interval(cells[arm, c].difference) for c in heads] for arm in compared}),
        "",
        f"mIoU in percent, mean ± sample standard deviation over {seeds} {'seed' if seeds == 1 else 'seeds'}. "
        f"Difference: to `{report.baseline}`, paired by seed, with its {report.confidence:.0%} t interval.",
        f"One label for the whole image: the best label that `{report.treatment}` finds, painted on every pixel.",
        *_references(config),
        *_departures(config),
    ]
    return "\n".join(lines) + "\n"


def _grid(corner: str, heads: Sequence[str], lines: dict[str, list[str]]) -> list[str]:
    """A Markdown table with a line an arm."""
    return [
        f"| {corner} | {' | '.join(heads)} |",
        "|---|" + "---:|" * len(heads),
        *(f"| {arm_title(arm)} | {' | '.join(texts)} |" for arm, texts in lines.items()),
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


def archive_csv(rows: Sequence[QualityRow]) -> str:
    """A row a source; mean and sample standard deviation over the corpora of every measure, shares in percent."""
    columns = [f"{measure}_{part}" for measure in MEASURES for part in ("mean", "sd")]
    lines = [",".join(["source", "corpora", *columns])]
    for row in rows:
        count = str(row.measures[MEASURES[0]].count)
        values = [number(v) for m in MEASURES for v in (row.measures[m].mean, row.measures[m].sd)]
        lines.append(",".join([row.source, count, *values]))
    return "\n".join(lines) + "\n"


def archive_markdown(config: Config, rows: Sequence[QualityRow]) -> str:
    """The archive against the known truth, for people."""
    lines = [
        "| concepts from | precision | recall of all true | recall of the missing | distinct concepts |",
        "|---|" + "---:|" * len(MEASURES),
    ]
    for row in rows:
        lines.append(f"| {SOURCES[row.source]} | {' | '.join(spread(row.measures[m]) for m in MEASURES)} |")
    count = rows[0].measures[MEASURES[0]].count
    prompts = config.arm(config.report.treatment).train.prompts
    again = "with" if prompts.replacement else "without"
    lines += [
        "",
        "Against the truth of the composed scenes, in percent, over all pairs of a corpus"
        + (f"; mean ± sample standard deviation over {count} corpora." if count > 1 else "."),
        f"The last four rows draw {prompts.count} concepts a pair at temperature {prompts.temperature:g} {again} "
        f"replacement, as `{config.report.treatment}` is set. Missing: visible, and not named by the caption. "
        "Distinct concepts: how many a pair is given, on average.",
        *clip_note(config),
    ]
    return "\n".join(lines) + "\n"


def arm_title(arm: str) -> str:
    """An arm's name for people."""
    return "one label for the whole image" if arm == ONE_LABEL else arm


def number(value: float) -> str:
    """Two decimals, without a negative zero."""
    text = f"{value:.2f}"
    return "0.00" if text == "-0.00" else text


def spread(summary: Summary) -> str:
    """`mean ± sd`, or the mean alone where one value has no spread."""
    return number(summary.mean) if math.isnan(summary.sd) else f"{number(summary.mean)} ± {number(summary.sd)}"


def interval(difference: Difference | None) -> str:
    """`difference [low, high]` with signs, a dash for the baseline, and no interval for one seed."""
    if difference is None:
        return "\N{EN DASH}"
    mean, low, high = (_signed(v) for v in (difference.mean, difference.low, difference.high))
    return mean if math.isnan(difference.low) else f"{mean} [{low}, {high}]"


def _signed(value: float) -> str:
    text = number(value)
    if text.startswith("-"):
        return "\N{MINUS SIGN}" + text[1:]
    return text if text in ("0.00", "nan") else f"+{text}"
