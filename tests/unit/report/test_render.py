import math

import pandas as pd

from cocu.report.render import interval, latex, latex_text, markdown, number
from cocu.report.statistics import Difference


def test_no_negative_zero() -> None:
    assert [number(v) for v in (-0.001, 0.005001, -0.006)] == ["0.00", "0.01", "-0.01"]
    assert interval(Difference(-0.001, -2.0, 0.5)) == "0.00 [\N{MINUS SIGN}2.00, +0.50]"
    assert interval(Difference(-3.0, math.nan, math.nan)) == "\N{MINUS SIGN}3.00"
    assert interval(None) == "\N{EN DASH}"


def test_markdown_is_not_padded() -> None:
    frame = pd.DataFrame({"a_long_name": ["1", "-"], "b": ["2", "3"]}, index=["x", "y"]).rename_axis("corner")
    expected = "| corner | a_long_name | b |\n|---|---:|---:|\n| x | 1 | 2 |\n| y | - | 3 |\n\nSaid.\nMore.\n"
    assert markdown([frame], ["Said.", "More."]) == expected


def test_what_means_something_to_latex_is_escaped_everywhere() -> None:
    assert latex_text("a_b 95% c&d #1 $2 {x}") == r"a\_b 95\% c\&d \#1 \$2 \{x\}"
    assert latex_text("~/my\\x^2") == r"\textasciitilde{}/my\textbackslash{}x\textasciicircum{}2"
    assert latex_text("3 ± 1, \N{MINUS SIGN}2, \N{EN DASH}") == r"3 $\pm$ 1, $-$2, --"
    assert latex_text("`a_b` and `c`") == r"\texttt{a\_b} and \texttt{c}"
    frame = pd.DataFrame({"head_1": ["5 %"]}, index=["row_1"]).rename_axis("corner_1")
    text = latex([frame], ["100 % of `it`.", "Yes."], "name")
    assert (
        text
        == r"""% In the preamble: \usepackage{booktabs}
\begin{table}
\centering
\begin{tabular}{lr}
\toprule
corner\_1 & head\_1 \\
\midrule
row\_1 & 5 \% \\
\bottomrule
\end{tabular}
\caption{100 \% of \texttt{it}. Yes.}
\label{tab:name}
\end{table}
"""
    )
