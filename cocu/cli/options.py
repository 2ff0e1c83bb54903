"""Options that several verbs have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cocu.config import Part, read, validate_part

ConfigFiles = Annotated[
    list[Path],
    typer.Option(
        "--config", metavar="FILE", help="Configuration; given again, the later file is laid over the earlier."
    ),
]
DEFAULT = [Path("config/config.yaml")]
OwnConfig = Annotated[
    list[Path] | None,
    typer.Option("--config", metavar="FILE", help="As elsewhere; else config/config.yaml, where there is one."),
]
CorpusFile = Annotated[Path, typer.Option("--corpus", metavar="FILE", help="The corpus's manifest.json.")]
Captions = Annotated[Path, typer.Option("--captions", metavar="DIR", help="The captions' concepts.")]
ClipFolder = Annotated[
    Path | None,
    typer.Option("--clip", metavar="DIR", help="The stand-in; left out for a model of open_clip."),
]
OutFolder = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder that the results are written into.")]
OutFile = Annotated[Path, typer.Option("--out", metavar="FILE", help="File that the result is written to.")]


def own_config(kind: type[Part], given: list[Path] | None) -> Part:
    """The keys that a verb for one's own files reads; it needs none: what is not set is the sections' default."""
    return validate_part(kind, read(given or [file for file in DEFAULT if file.is_file()]))
