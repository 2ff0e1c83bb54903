"""Options that several verbs have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cocu.config import Device, Part, read, validate_part

DEFAULT = [Path("config/config.yaml")]
CONFIG = typer.Option("--config", metavar="FILE", help="Configuration; a later file is laid over an earlier one.")
OWN = typer.Option("--config", metavar="FILE", help="As elsewhere; else config/config.yaml, where there is one.")
ConfigFiles = Annotated[list[Path], CONFIG]
OwnConfig = Annotated[list[Path] | None, OWN]
OutFolder = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder that the results are written into.")]
OutFile = Annotated[Path, typer.Option("--out", metavar="FILE", help="File that the result is written to.")]
Checkpoint = Annotated[Path, typer.Option(metavar="DIR", help="The model: its folder, or model.safetensors in it.")]
Where = Annotated[Device, typer.Option("--device", help="Where it is computed.")]
Processes = Annotated[int, typer.Option(min=1, help="Processes that share the images, a thread each.")]


def own_config(kind: type[Part], given: list[Path] | None) -> Part:
    """The keys that a verb for one's own files reads; it needs none: what is not set is the sections' default."""
    return validate_part(kind, read(given or [file for file in DEFAULT if file.is_file()]))
