"""Options that several verbs have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigFiles = Annotated[
    list[Path],
    typer.Option(
        "--config", metavar="FILE", help="Configuration; given again, the later file is laid over the earlier."
    ),
]
DEFAULT = [Path("config/config.yaml")]
CorpusFile = Annotated[Path, typer.Option("--corpus", metavar="FILE", help="The corpus's manifest.json.")]
Captions = Annotated[Path, typer.Option("--captions", metavar="DIR", help="The captions' concepts.")]
ClipFolder = Annotated[
    Path | None,
    typer.Option("--clip", metavar="DIR", help="The stand-in; left out for a model of open_clip."),
]
OutFolder = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder that the results are written into.")]
OutFile = Annotated[Path, typer.Option("--out", metavar="FILE", help="File that the result is written to.")]
