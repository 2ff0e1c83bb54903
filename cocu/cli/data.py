"""The verbs for a benchmark's downloaded files: `cocu convert` makes masks of them, `cocu check` looks them over."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cocu.cli.options import OutFolder
from cocu.errors import DataError

DATA = "Data"
Processes = Annotated[int, typer.Option(min=1, help="Processes that share the images.")]
app = typer.Typer()
checks = typer.Typer(no_args_is_help=True)
conversions = typer.Typer(no_args_is_help=True)
app.add_typer(conversions, name="convert", rich_help_panel=DATA, help="Make a benchmark's masks (coco-object).")
app.add_typer(checks, name="check", rich_help_panel=DATA, help="Look a benchmark's files over (benchmark).")


@checks.command("benchmark")
def check_benchmark(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A benchmark, or your config/benchmarks/NAME.yaml.")],
    data: Annotated[Path, typer.Option(metavar="DIR", help="Folder that its files lie under.")] = Path(
        "data/benchmarks"
    ),
    limit: Annotated[int, typer.Option(min=0, metavar="N", help="Look at the first N images only; 0: at all.")] = 0,
    processes: Processes = 1,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the report, every fault in it, as JSON too.")
    ] = None,
) -> None:
    """Look at every image and mask of a benchmark, and report whether it can be evaluated.

    Ends with 0 when it can be, and with 3 when files are missing or damaged.
    """
    from cocu.benchmarks import check

    report = check.run(name, data=data, limit=limit, processes=processes, out=json_file)
    typer.echo(check.format_report(report))
    if not report.sound:
        raise typer.Exit(DataError.exit_code)


@conversions.command("coco-object")
def convert_coco_object(
    maps: Annotated[
        Path, typer.Option(metavar="DIR", help="COCO-Stuff's pixel maps, stuffthingmaps_trainval2017/val2017.")
    ],
    out: OutFolder,
    processes: Processes = 1,
) -> None:
    """Make COCO-Object's masks of COCO-Stuff's pixel maps.

    The same command goes on where an interrupted one ended.
    """
    from cocu.benchmarks import coco_object

    coco_object.run(maps, out=out, processes=processes)
