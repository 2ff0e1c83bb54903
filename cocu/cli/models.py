"""The verbs of models: pre-train one, score it, segment photographs with it, bring one in or take it out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cocu.cli.options import (
    DEFAULT,
    Checkpoint,
    ConfigFiles,
    OutFile,
    OutFolder,
    OwnConfig,
    Processes,
    Where,
    own_config,
)
from cocu.config import EvaluationConfig, load
from cocu.layout import Curation

MODELS = "Models"
app = typer.Typer()


@app.command(rich_help_panel=MODELS)
def train(
    arm: Annotated[str, typer.Option(metavar="NAME", help="What to train: a name under `arms`.")],
    curation: Annotated[Path, typer.Option(metavar="DIR", help="Pairs and their concepts: what `cocu curate` wrote.")],
    out: OutFolder,
    seed: Annotated[int, typer.Option(min=0, help="Decides the initialisation, the order and every draw.")] = 0,
    val: Annotated[Path | None, typer.Option(metavar="DIR", help="Benchmarks for the curve along the way.")] = None,
    config: ConfigFiles = DEFAULT,
) -> None:
    """Pre-train GroupViT on curated pairs; the same command resumes after an interruption."""
    from cocu.train import loop

    own, here = load(config).arm(arm), Curation(curation)
    loop.run(
        own,
        arm=arm,
        seed=seed,
        corpus=here.corpus.manifest,
        captions=here.captions,
        archive=here.prompts(own.train.prompts.source),
        val=val,
        out=out,
        state=out / "state",
    )


@app.command(rich_help_panel=MODELS)
def evaluate(
    benchmark: Annotated[str, typer.Option(metavar="NAME", help="A benchmark, or your config/benchmarks/NAME.yaml.")],
    test: Annotated[Path, typer.Option(metavar="DIR", help="The benchmark's data.")],
    out: OutFile,
    checkpoint: Checkpoint | None = None,
    reference: Annotated[str | None, typer.Option(metavar="NAME", help="Instead, a CLIP under `references`.")] = None,
    val: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Data to choose the threshold on; else the published one."),
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
        clip=None,
        benchmark=benchmark,
        val=val,
        test=test,
        one_label=one_label,
        out=out,
    )


@app.command(rich_help_panel=MODELS)
def segment(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Image files, and folders of them.")],
    classes: Annotated[str, typer.Option(metavar="WORDS", help="What to find, e.g. 'cat, dog, grass'.")],
    checkpoint: Checkpoint,
    background: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, metavar="SCORE", help="Below it a pixel is of no word; else all have one."),
    ] = None,
    out: OutFolder = Path("segmented"),
    size: Annotated[
        int | None,
        typer.Option(min=16, max=2048, metavar="PIXELS", help="Short side to resize a picture to; else the model's."),
    ] = None,
    processes: Processes = 1,
    device: Where = "auto",
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


@app.command("import", rich_help_panel=MODELS)
def import_checkpoint(
    hf: Annotated[str, typer.Option(metavar="NAME_OR_DIR", help="A name of the hub, or a folder of transformers.")],
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
    checkpoint: Checkpoint,
) -> None:
    """Write a model of the published form for the transformers library; the texts' tokenizer is CLIP's, not written."""
    from cocu.model import transformers

    transformers.export_checkpoint(checkpoint, hf)
