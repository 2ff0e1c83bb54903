"""The command line: one verb a stage. The workflow's rules call these verbs and pass nothing but paths.

Takes configuration files and paths; calls the stage's one function. What can go wrong is printed as a sentence, and the
exit code says which kind it was. Stages are imported inside their verbs, so that `cocu --help` loads no torch.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from cocu.cli import checkpoints, curation, data, segmentation
from cocu.cli.options import (
    DEFAULT,
    NONE,
    Captions,
    Checkpoints,
    ClipFolder,
    ConfigFiles,
    CorpusFile,
    Metrics,
    OutFile,
    OutFolder,
    Quality,
)
from cocu.config import dump, json_schema, load
from cocu.errors import CocuError, ConfigError
from cocu.log import say


class CommandLine(typer.Typer):
    """An error that a user can act on ends as a sentence and its exit code; any other keeps its traceback."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except CocuError as error:
            for line in str(error).splitlines():
                say(f"cocu: {line}")
            sys.exit(error.exit_code)


app = CommandLine(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="""Concept curation for language-supervised segmentation (CoCu), from image-text pairs to tables.

    Every verb runs one stage. The workflow calls them in the right order, each when it is needed: run
    `snakemake --cores all` for a whole experiment, and a verb for one stage by hand.

    Exit codes: 2 configuration, 3 data, 4 numbers, 5 environment.""",
)

DATA, MODELS, RESULTS, SETTINGS = "Data", "Models", "Results", "Configuration"


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cocu {version('cocu')}")
        raise typer.Exit


@app.callback()
def main(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take the options that stand before a verb."""


@app.command(rich_help_panel=DATA)
def corpus(
    out: OutFolder,
    name: Annotated[
        str, typer.Option("--corpus", metavar="NAME", help="web or train0, train1, ... (mini), or a name.")
    ],
    truth: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for what the scenes show (mini only).")
    ] = None,
    config: ConfigFiles = DEFAULT,
) -> None:
    """Compose a mini corpus, or verify your own shards; write its manifest."""
    from cocu.mini import build
    from cocu.pairs import verify

    settings = load(config)
    if settings.corpus.kind == "mini":
        build.run(settings, corpus=name, out=out, truth=truth)
    elif truth is not None:
        raise ConfigError("Only the mini corpus has a truth; corpus.kind is 'shards'.")
    else:
        verify.run(settings, corpus=name, out=out)


@app.command(rich_help_panel=DATA)
def benchmarks(
    out: OutFolder,
    split: Annotated[Literal["val", "test"], typer.Option(help="val for choices, test for results.")],
    config: ConfigFiles = DEFAULT,
) -> None:
    """Compose the mini benchmarks, in the formats of eight data sets."""
    from cocu.mini import benchmarks as stage

    stage.run(load(config), split=split, out=out)


app.add_typer(data.app)
app.add_typer(curation.app)


@app.command(rich_help_panel=MODELS)
def train(
    arm: Annotated[str, typer.Option(help="The arm of the experiment, a name under `arms`.")],
    seed: Annotated[int, typer.Option(min=0, help="Decides the initialisation, the order and every draw.")],
    corpus: CorpusFile,
    captions: Captions,
    out: OutFolder,
    state: Annotated[
        Path, typer.Option(metavar="DIR", help="Checkpoints to resume from, and the metrics of every step.")
    ],
    archive: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Archive to draw prompts from; left out when captions give them.")
    ] = None,
    val: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Validation benchmarks, for the curve along the way.")
    ] = None,
    config: ConfigFiles = DEFAULT,
) -> None:
    """Pre-train GroupViT; the same command resumes after an interruption."""
    from cocu.train import loop

    loop.run(
        load(config).arm(arm),
        seed=seed,
        corpus=corpus,
        captions=captions,
        archive=archive,
        val=val,
        out=out,
        state=state,
    )


@app.command(rich_help_panel=MODELS)
def evaluate(
    benchmark: Annotated[str, typer.Option(metavar="NAME", help="A benchmark of config/benchmarks.")],
    test: Annotated[Path, typer.Option(metavar="DIR", help="The benchmark's data.")],
    out: OutFile,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of model.safetensors and model.json.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(metavar="NAME", help="In place of a checkpoint: a CLIP under `references`.")
    ] = None,
    clip: ClipFolder = None,
    val: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Data to choose the background's threshold on; else the published one is used."
        ),
    ] = None,
    one_label: Annotated[bool, typer.Option("--one-label", help="Paint every image with its one best label.")] = False,
    config: ConfigFiles = DEFAULT,
) -> None:
    """Segment a benchmark zero-shot; write mIoU and the confusion matrix."""
    from cocu.evaluate import stage

    stage.run(
        load(config),
        checkpoint=checkpoint,
        reference=reference,
        clip=clip,
        benchmark=benchmark,
        val=val,
        test=test,
        one_label=one_label,
        out=out,
    )


app.add_typer(checkpoints.app)
app.add_typer(segmentation.app)


@app.command(rich_help_panel=RESULTS)
def tables(metrics: Metrics, out: OutFolder, quality: Quality = NONE, config: ConfigFiles = DEFAULT) -> None:
    """Write the comparison of the arms, and the archive's quality, as CSV and Markdown."""
    from cocu.report import tables as stage

    stage.run(load(config), metrics=metrics, quality=quality, out=out)


@app.command(rich_help_panel=RESULTS)
def figures(
    metrics: Metrics, checkpoints: Checkpoints, out: OutFolder, quality: Quality = NONE, config: ConfigFiles = DEFAULT
) -> None:
    """Draw the comparison, the curves and the archive's quality."""
    from cocu.report import figures as stage

    stage.run(load(config), metrics=metrics, checkpoints=checkpoints, quality=quality, out=out)


@app.command(rich_help_panel=RESULTS)
def panel(
    checkpoints: Checkpoints,
    metrics: Metrics,
    test: Annotated[Path, typer.Option(metavar="DIR", help="The benchmarks' data.")],
    out: OutFolder,
    config: ConfigFiles = DEFAULT,
) -> None:
    """Draw test images beside their truth and what both arms make of them."""
    from cocu.report import panel as stage

    stage.run(load(config), checkpoints=checkpoints, metrics=metrics, test=test, out=out)


@app.command("config", rich_help_panel=SETTINGS)
def show_config(config: ConfigFiles = DEFAULT) -> None:
    """Check the configuration as a workflow does at its start, and print it, every key written out."""
    from cocu.clip.check import check_clips
    from cocu.train.check import check_arms

    checked = load(config)
    check_clips(checked)
    check_arms(checked)
    typer.echo(dump(checked), nl=False)


@app.command(rich_help_panel=SETTINGS)
def schema() -> None:
    """Print the JSON schema of the configuration, which workflow/schemas holds."""
    typer.echo(json.dumps(json_schema(), indent=2))
