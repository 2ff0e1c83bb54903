import math
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest

from cocu.config import Config, validate
from cocu.report.statistics import Summary
from cocu.report.tables import main_markdown, run
from tests.unit.report.conftest import compared, write_result

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


MARKDOWN = """| mIoU | mini_context |
|---|---:|
| groupvit | 15.00 ± 7.07 |
| cocu | 21.00 ± 8.49 |
| one label for the whole image | 8.00 ± 0.00 |

| difference | mini_context |
|---|---:|
| cocu | +6.00 [−6.71, +18.71] |
| one label for the whole image | −7.00 [−70.53, +56.53] |

mIoU in percent, mean ± sample standard deviation over 2 seeds. Difference: to `groupvit`, paired by seed, with """
LATEX = r"""% In the preamble: \usepackage{booktabs}
\begin{table}
\centering
\begin{tabular}{lrrr}
\toprule
mIoU & groupvit & cocu & one label for the whole image \\
\midrule
mini\_context & 15.00 $\pm$ 7.07 & 21.00 $\pm$ 8.49 & 8.00 $\pm$ 0.00 \\
\bottomrule
\end{tabular}
\par\medskip
\begin{tabular}{lrr}
\toprule
difference & cocu & one label for the whole image \\
\midrule
mini\_context & +6.00 [$-$6.71, +18.71] & $-$7.00 [$-$70.53, +56.53] \\
\bottomrule
\end{tabular}
\caption{mIoU in percent, mean $\pm$ sample standard deviation over 2 seeds. """


def test_main_table_for_people_and_for_a_paper(
    config: Config, write_metrics: Callable[..., Path], tmp_path: Path
) -> None:
    run(config, metrics=write_metrics(), quality=[], out=tmp_path)
    assert (tmp_path / "main.md").read_text("utf-8").startswith(MARKDOWN)
    latex = (tmp_path / "main.tex").read_text("utf-8")
    assert latex.startswith(LATEX)
    assert r"Difference: to \texttt{groupvit}, paired by seed, with its 95\% t interval. One label" in latex
    assert latex.endswith(
        "captions that name what is visible.}\n\\label{tab:main}\n\\end{table}\n"  # the stand-in CLIP's note
    )
    latex.encode("ascii")  # compiles with any engine


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
    latex = (tmp_path / "archive.tex").read_text("utf-8")
    assert r"top of the ranking & 62.50 $\pm$ 3.54 & 67.00 $\pm$ 7.07 & 71.50 $\pm$ 10.61 & 2.90 $\pm$ 0.71 \\" in latex
    assert r"\caption{Against the truth of" in latex and r"\label{tab:archive}" in latex
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


def test_every_number_of_the_comparison_by_plain_arithmetic(three_seeds: Config, tmp_path: Path) -> None:
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
            write_result(tmp_path, arm, seed, benchmark, value)
    for arm in ("groupvit", "cocu", "one_label"):
        both = [miou[arm, benchmark] for benchmark in ("mini_voc", "mini_context")]
        miou[arm, "mean"] = {seed: (both[0][seed] + both[1][seed]) / 2 for seed in (4, 1, 9)}
    rows = compared(three_seeds, tmp_path)
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
    said = main_markdown(config, compared(config.model_copy(update={"references": {}}), write_metrics()))
    assert "`published`: the checkpoint nvidia/groupvit-gcc-yfcc, not trained here." in said
    assert "`own`: the checkpoint models/own, not trained here." in said


def test_same_results_same_bytes(
    config: Config, write_metrics: Callable[..., Path], quality_files: list[Path], tmp_path: Path
) -> None:
    metrics = write_metrics()
    for name in ("a", "b"):
        run(config, metrics=metrics, quality=quality_files, out=tmp_path / name)
    names = {f"{table}.{kind}" for table in ("main", "archive") for kind in ("csv", "md", "tex")} | {"results.csv"}
    assert {path.name for path in (tmp_path / "a").iterdir()} == names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
