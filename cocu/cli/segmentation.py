"""The verb for one's own photographs: `cocu segment`, with any words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cocu.config import Device

app = typer.Typer()


@app.command("segment", rich_help_panel="Models")
def segment_photos(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Image files, and folders of them.")],
    classes: Annotated[str, typer.Option(metavar="WORDS", help="What to find, e.g. 'cat, dog, grass'.")],
    checkpoint: Annotated[
        Path, typer.Option(metavar="FILE", help="The model: its folder, or model.safetensors in it.")
    ],
    background: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, metavar="SCORE", help="Below it a pixel is of no word; else all have one."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder that the results are written into.")] = Path(
        "segmented"
    ),
    size: Annotated[
        int | None,
        typer.Option(
            min=16, max=2048, metavar="PIXELS", help="Short side that a picture is resized to; else the model's."
        ),
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Processes, each with the model and one thread.")] = 1,
    device: Annotated[Device, typer.Option(help="Where the model runs.")] = "auto",
) -> None:
    """Segment your own photographs with any words, zero-shot.

    Writes, for NAME.jpg, OUT/NAME.overlay.png (the picture under the words' colours, with a legend),
    OUT/NAME.labels.png (0 background, 1 the first word, ...) and OUT/NAME.json (areas, scores, settings). Images of
    folders keep their place in them.
    """
    from cocu.segment import photos

    photos.run(
        images,
        classes=classes,
        checkpoint=checkpoint,
        background=background,
        size=size,
        out=out,
        processes=processes,
        device=device,
    )
