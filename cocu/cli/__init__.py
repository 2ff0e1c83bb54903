"""The command line: the verbs that people type, and `cocu stage`, which the workflow's rules call.

Takes configuration files and paths; calls a stage's one function. What can go wrong is printed as a sentence, and the
exit code says which kind it was. Stages are imported inside their verbs, so that `cocu --help` loads no torch.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from cocu.cli import checkpoints, curation, data, segmentation, stage
from cocu.cli.options import (
    DEFAULT,
    Captions,
    ClipFolder,
    ConfigFiles,
    CorpusFile,
    OutFile,
    OutFolder,
    OwnConfig,
    own_config,
)
from cocu.config import EvaluationConfig, dump, json_schema, load
from cocu.errors import CocuError
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

    Run `snakemake --cores all` for a whole experiment: its rules call `cocu stage` in the right order, each when it is
    needed. The other verbs are for your own files.

    Exit codes: 2 configuration, 3 data, 4 numbers, 5 environment.""",
)

MODELS, SETTINGS = "Models", "Configuration"


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
        arm=arm,
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
    benchmark: Annotated[str, typer.Option(metavar="NAME", help="A benchmark, or your config/benchmarks/NAME.yaml.")],
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
    name: Annotated[str, typer.Option(help="What the result is called.")] = "checkpoint",
    config: OwnConfig = None,
) -> None:
    """Segment a benchmark zero-shot; write mIoU and the confusion matrix."""
    from cocu.evaluate import stage

    stage.run(
        own_config(EvaluationConfig, config),
        arm=name,
        seed=0,
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


app.add_typer(stage.app)


@app.command("config", rich_help_panel=SETTINGS)
def show_config(
    config: ConfigFiles = DEFAULT,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of a configuration instead, for editors.")
    ] = False,
) -> None:
    """Check the configuration as a workflow does at its start, and print it, every key written out."""
    if schema:
        return typer.echo(json.dumps(json_schema(), indent=2))
    checked = load(config)  # before the imports, which take seconds
    from cocu.benchmarks.definitions import read_benchmark
    from cocu.clip.check import check_clips
    from cocu.concepts.benchmark_names import held_out_names
    from cocu.train.check import check_arms

    for name in checked.evaluate.benchmarks:
        read_benchmark(name)
    held_out_names(checked.curate.vocabulary.exclude_benchmarks)
    check_clips(checked)
    check_arms(checked)
    typer.echo(dump(checked), nl=False)
