"""How tables look: numbers as text, and frames of texts as CSV, Markdown and LaTeX.

Takes frames whose cells are texts and whose index is named for the table's corner. Markdown is written here and not by
`DataFrame.to_markdown`, which pads its cells: a changed number would then change every line of its column.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import pandas as pd

from cocu.config import ONE_LABEL
from cocu.report.statistics import Difference, Summary

LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{sign: f"\\{sign}" for sign in "_%&#${}"},
        "±": r"$\pm$",
        "\N{MINUS SIGN}": "$-$",
        "\N{EN DASH}": "--",
    }
)


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


def csv(frame: pd.DataFrame) -> str:
    """A frame without its index, a line a row."""
    return frame.to_csv(index=False, lineterminator="\n")


def markdown(frames: Sequence[pd.DataFrame], notes: Sequence[str]) -> str:
    """The tables, and below them the notes, a line each."""
    return "\n".join([*(_grid(frame) for frame in frames), *notes]) + "\n"


def _grid(frame: pd.DataFrame) -> str:
    lines = [f"| {corner} | {' | '.join(cells)} |" for corner, *cells in [_heads(frame), *frame.itertuples()]]
    return "\n".join([lines[0], "|---|" + "---:|" * len(frame.columns), *lines[1:], ""])


def _heads(frame: pd.DataFrame) -> list[str]:
    return [str(frame.index.name), *frame.columns]


def latex(frames: Sequence[pd.DataFrame], notes: Sequence[str], label: str) -> str:
    """One float with the tables in booktabs' style, and the notes as its caption."""
    caption = " ".join(map(latex_text, notes))
    lines = [
        "% In the preamble: \\usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        "\\par\\medskip\n".join(map(_tabular, frames)) + rf"\caption{{{caption}}}",
        rf"\label{{tab:{label}}}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _tabular(frame: pd.DataFrame) -> str:
    escaped = frame.map(latex_text).rename(index=latex_text, columns=latex_text)
    flat = escaped.reset_index(names=latex_text(_heads(frame)[0]))
    return flat.to_latex(index=False, column_format="l" + "r" * len(frame.columns))


def latex_text(text: str) -> str:
    """A text with LaTeX's own signs escaped; what stands in backticks is set in typewriter."""
    return re.sub("`([^`]*)`", r"\\texttt{\1}", text.translate(LATEX))
