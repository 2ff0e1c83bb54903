"""The command line: one verb a stage. The workflow's rules call these verbs and pass nothing but paths.

Takes configuration files and paths; calls the stage's one function. What can go wrong is printed as a sentence, and the
exit code says which kind it was. Stages are imported inside their verbs, so that `cocu --help` loads no torch.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

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

    Every verb runs one stage. The workflow calls them in the right order, each when it is needed: run
    `snakemake --cores all` for a whole experiment, and a verb for one stage by hand.

    Exit codes: 2 configuration, 3 data, 4 numbers, 5 environment.""",
)

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
    typer.Option("--clip", metavar="DIR", help="The stand-in; left out when clip.model is an open_clip model."),
]
Checkpoints = Annotated[Path, typer.Option("--checkpoints", metavar="DIR", help="Trained models: DIR/ARM/SEED.")]
Metrics = Annotated[Path, typer.Option("--metrics", metavar="DIR", help="Results: DIR/ARM/SEED/BENCHMARK.json.")]
Quality = Annotated[
    list[Path], typer.Option("--quality", metavar="FILE", help="A corpus's archive quality; once a corpus (mini only).")
]
OutFolder = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder that the results are written into.")]
OutFile = Annotated[Path, typer.Option("--out", metavar="FILE", help="File that the result is written to.")]


DATA, CURATION, MODELS, RESULTS, SETTINGS = "Data", "Curation", "Models", "Results", "Configuration"


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


@app.command(rich_help_panel=DATA)
def corpus(
    out: OutFolder,
    name: Annotated[
        str, typer.Option("--corpus", metavar="NAME", help="web or train0, train1, ... (mini), or a name.")
    ],
    truth: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for what the scenes show (mini only).")
    ] = None,
    config: ConfigFiles = DEFAULT,
) -> None:
    """Compose a mini corpus, or verify your own shards; write its manifest."""
    from cocu.corpus import build

    build.run(load(config), corpus=name, out=out, truth=truth)


@app.command(rich_help_panel=DATA)
def benchmarks(
    out: OutFolder,
    split: Annotated[Literal["val", "test"], typer.Option(help="val for choices, test for results.")],
    config: ConfigFiles = DEFAULT,
) -> None:
    """Compose the mini benchmarks, in VOC's and PASCAL-Context's own formats."""
    from cocu.corpus import benchmarks as stage

    stage.run(load(config), split=split, out=out)


@app.command(rich_help_panel=CURATION)
def clip(corpus: CorpusFile, out: OutFolder, config: ConfigFiles = DEFAULT) -> None:
    """Train the stand-in CLIP of the mini experiment."""
    from cocu.clip import standin

    standin.run(load(config), corpus=corpus, out=out)


@app.command(rich_help_panel=CURATION)
def captions(corpus: CorpusFile, out: OutFolder, config: ConfigFiles = DEFAULT) -> None:
    """Build the vocabulary from the captions, and find each caption's concepts."""
    from cocu.curate import captions as stage

    stage.run(load(config), corpus=corpus, out=out)


@app.command(rich_help_panel=CURATION)
def embed(
    corpus: CorpusFile,
    block: Annotated[int, typer.Option(min=0, help="Number of the block of clip.shards_per_job shards, from 0.")],
    out: OutFile,
    clip: ClipFolder = None,
    config: ConfigFiles = DEFAULT,
) -> None:
    """Embed the images of one block of shards with CLIP."""
    from cocu.clip import embed as stage

    stage.run_images(load(config), corpus=corpus, clip=clip, block=block, out=out)


@app.command(rich_help_panel=CURATION)
def embed_vocabulary(captions: Captions, out: OutFile, clip: ClipFolder = None, config: ConfigFiles = DEFAULT) -> None:
    """Embed `a photo of a CONCEPT` for every concept of the vocabulary."""
    from cocu.clip import embed as stage

    stage.run_vocabulary(load(config), captions=captions, clip=clip, out=out)


@app.command(rich_help_panel=CURATION)
def archive(
    corpus: CorpusFile,
    captions: Captions,
    embeddings: Annotated[Path, typer.Option(metavar="DIR", help="The images' and the vocabulary's embeddings.")],
    out: OutFolder,
    config: ConfigFiles = DEFAULT,
) -> None:
    """Give every pair the concepts that its caption leaves out: expand, rank, cluster."""
    from cocu.curate import archive as stage

    stage.run(load(config), corpus=corpus, captions=captions, embeddings=embeddings, out=out)


@app.command(rich_help_panel=CURATION)
def oracle(truth: Truth, captions: Captions, out: OutFolder, config: ConfigFiles = DEFAULT) -> None:
    """Write the archive that a perfect curation would give (mini only)."""
    from cocu.corpus import truth as stage

    stage.run_oracle(load(config), truth=truth, captions=captions, out=out)


@app.command(rich_help_panel=CURATION)
def quality(
    truth: Truth,
    captions: Captions,
    archive: Annotated[Path, typer.Option(metavar="DIR", help="The archive to measure.")],
    out: OutFile,
    config: ConfigFiles = DEFAULT,
) -> None:
    """Measure an archive against the truth: precision and recall (mini only)."""
    from cocu.report import quality as stage

    stage.run(load(config), truth=truth, captions=captions, archive=archive, out=out)


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
    checkpoint: Annotated[Path, typer.Option(metavar="DIR", help="Folder of model.safetensors and model.json.")],
    benchmark: Annotated[str, typer.Option(metavar="NAME", help="A benchmark of config/benchmarks.")],
    test: Annotated[Path, typer.Option(metavar="DIR", help="The benchmark's data.")],
    out: OutFile,
    val: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Data to choose the background's threshold on; else the published one is used."
        ),
    ] = None,
    one_label: Annotated[bool, typer.Option("--one-label", help="Paint every image with its one best label.")] = False,
    config: ConfigFiles = DEFAULT,
) -> None:
    """Segment a benchmark zero-shot; write mIoU and the confusion matrix."""
    from cocu.segment import evaluate as stage

    stage.run(
        load(config), checkpoint=checkpoint, benchmark=benchmark, val=val, test=test, one_label=one_label, out=out
    )


@app.command(rich_help_panel=RESULTS)
def tables(metrics: Metrics, out: OutFolder, quality: Quality = NONE, config: ConfigFiles = DEFAULT) -> None:
    """Write the comparison of the arms, and the archive's quality, as CSV and Markdown."""
    from cocu.report import tables as stage

    stage.run(load(config), metrics=metrics, quality=quality, out=out)


@app.command(rich_help_panel=RESULTS)
def figures(
    metrics: Metrics, checkpoints: Checkpoints, out: OutFolder, quality: Quality = NONE, config: ConfigFiles = DEFAULT
) -> None:
    """Draw the comparison, the curves and the archive's quality."""
    from cocu.report import figures as stage

    stage.run(load(config), metrics=metrics, checkpoints=checkpoints, quality=quality, out=out)


@app.command(rich_help_panel=RESULTS)
def panel(
    checkpoints: Checkpoints,
    metrics: Metrics,
    test: Annotated[Path, typer.Option(metavar="DIR", help="The benchmarks' data.")],
    out: OutFolder,
    config: ConfigFiles = DEFAULT,
) -> None:
    """Draw test images beside their truth and what both arms make of them."""
    from cocu.report import panel as stage

    stage.run(load(config), checkpoints=checkpoints, metrics=metrics, test=test, out=out)


@app.command("config", rich_help_panel=SETTINGS)
def show_config(config: ConfigFiles = DEFAULT) -> None:
    """Check the configuration and print it, every key written out."""
    typer.echo(dump(load(config)), nl=False)


@app.command(rich_help_panel=SETTINGS)
def schema() -> None:
    """Print the JSON schema of the configuration, which workflow/schemas holds."""
    typer.echo(json.dumps(json_schema(), indent=2))
