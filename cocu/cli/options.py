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
NONE: list[Path] = []
CorpusFile = Annotated[Path, typer.Option("--corpus", metavar="FILE", help="The corpus's manifest.json.")]
Captions = Annotated[Path, typer.Option("--captions", metavar="DIR", help="The captions' concepts.")]
Truth = Annotated[Path, typer.Option("--truth", metavar="DIR", help="The truth of a mini corpus.")]
ClipFolder = Annotated[
    Path | None,
    typer.Option("--clip", metavar="DIR", help="The stand-in; left out for a model of open_clip."),
]
Checkpoints = Annotated[Path, typer.Option("--checkpoints", metavar="DIR", help="Trained models: DIR/ARM/SEED.")]
Metrics = Annotated[Path, typer.Option("--metrics", metavar="DIR", help="Results: DIR/ARM/SEED/BENCHMARK.json.")]
Quality = Annotated[
    list[Path], typer.Option("--quality", metavar="FILE", help="A corpus's archive quality; once a corpus (mini only).")
]
OutFolder = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder that the results are written into.")]
OutFile = Annotated[Path, typer.Option("--out", metavar="FILE", help="File that the result is written to.")]
