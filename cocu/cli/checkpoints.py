"""The verbs that bring published checkpoints in, and trained models out, in the format of `transformers`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cocu.cli.options import OutFolder

MODELS = "Models"
app = typer.Typer()


@app.command("import", rich_help_panel=MODELS)
def import_checkpoint(
    hf: Annotated[
        str,
        typer.Option(metavar="NAME_OR_DIR", help="A name of the Hugging Face hub, or a folder of transformers' files."),
    ],
    out: OutFolder,
) -> None:
    """Make a model folder of a published GroupViT, such as nvidia/groupvit-gcc-yfcc.

    `cocu evaluate` reads the folder like one that `cocu train` wrote.
    """
    from cocu.model import transformers

    transformers.import_checkpoint(hf, out)


@app.command("export", rich_help_panel=MODELS)
def export_checkpoint(
    hf: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write, for GroupViTModel.from_pretrained.")],
    checkpoint: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of model.safetensors and model.json, or the former's path.")
    ],
) -> None:
    """Write a model of the published form for the transformers library.

    The texts' tokenizer is CLIP's, and is not written.
    """
    from cocu.model import transformers

    transformers.export_checkpoint(checkpoint, hf)
