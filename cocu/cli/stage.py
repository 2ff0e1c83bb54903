"""`cocu stage NAME`: one stage of an experiment, as the workflow's rules call it."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from cocu.cli.options import DEFAULT, ConfigFiles
from cocu.config import load, suggest
from cocu.errors import ConfigError
from cocu.stages import STAGES, Job

app = typer.Typer()
Name = Annotated[str | None, typer.Option(metavar="NAME")]
Number = Annotated[int | None, typer.Option(min=0, metavar="N")]


@app.command(rich_help_panel="Workflow")
def stage(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"A rule of the workflow: {', '.join(STAGES)}.")],
    corpus: Name = None,
    split: Literal["val", "test"] | None = None,
    arm: Name = None,
    seed: Number = None,
    block: Number = None,
    benchmark: Name = None,
    config: ConfigFiles = DEFAULT,
) -> None:
    """Run one stage of an experiment in its folder, results/EXPERIMENT, as the workflow's rules do.

    The options say which of the stage's jobs; `snakemake -n -p` prints them.
    """
    given = {"corpus": corpus, "split": split, "arm": arm, "seed": seed, "block": block, "benchmark": benchmark}
    if name not in STAGES:
        raise ConfigError(f"No stage '{name}'{suggest(name, STAGES)}")
    STAGES[name](Job(name, load(config), given))
