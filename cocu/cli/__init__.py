"""The command line: the verbs that people type, and `cocu stage`, which the workflow's rules call.

Takes configuration files and paths; calls a stage's one function. What can go wrong is printed as a sentence, and the
exit code says which kind it was. Stages are imported inside their verbs, so that `cocu --help` loads no torch.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer

from cocu.cli import curation, data, models, stage
from cocu.cli.options import DEFAULT, ConfigFiles
from cocu.config import dump, json_schema, load
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


for part in (data, curation, models, stage):
    app.add_typer(part.app)


@app.command("config", rich_help_panel="Configuration")
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
    from cocu.preflight import check

    check(checked)
    typer.echo(dump(checked), nl=False)
