"""The verbs of curation: `cocu curate` for one's own shards, and the stages that it and the workflow are made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cocu.cli.options import (
    DEFAULT,
    Captions,
    ClipFolder,
    ConfigFiles,
    CorpusFile,
    OutFile,
    OutFolder,
    Truth,
)
from cocu.config import Device, load

CURATION = "Curation"
Curation = Annotated[
    Path,
    typer.Option("--curation", metavar="DIR", help="Folder of the curation: archive/, captions/ and embeddings/."),
]
app = typer.Typer()
archives = typer.Typer(no_args_is_help=True)
app.add_typer(
    archives, name="archive", rich_help_panel=CURATION, help="Make the archive (build), or look into it (show, stats)."
)


@app.command("curate", rich_help_panel=CURATION)
def curate_shards(
    shards: Annotated[
        str, typer.Option(metavar="PATTERN", help="WebDataset shards, e.g. 'data/{00000..00331}.tar' (quote it).")
    ],
    clip: Annotated[str, typer.Option(metavar="MODEL", help="A model of open_clip, e.g. ViT-B-16.")],
    pretrained: Annotated[str, typer.Option(metavar="TAG_OR_FILE", help="open_clip's tag, or a file of weights.")],
    out: OutFolder,
    name: Annotated[str, typer.Option(help="Name of the data set; keys are NAME/shard/sample.")] = "pairs",
    pool: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Retrieve from this folder, an earlier --out, not from the shards."),
    ] = None,
    vocabulary: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Concepts, one a line; else the captions' frequent nouns.")
    ] = None,
    min_count: Annotated[int, typer.Option(min=1, help="Captions that a concept must occur in.")] = 20,
    neighbours: Annotated[int, typer.Option(min=1, help="Similar pairs that lend their concepts.")] = 8,
    lenient: Annotated[bool, typer.Option("--lenient", help="Set broken samples aside.")] = False,
    device: Annotated[Device, typer.Option(help="Where CLIP and the search run.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Threads of CLIP and of the search.")] = 1,
    config: Annotated[
        list[Path] | None, typer.Option("--config", metavar="FILE", help="Further keys, as in config/config.yaml.")
    ] = None,
) -> None:
    """Give the pairs of your own shards the visible concepts that their captions miss.

    Writes OUT/archive/SHARD.parquet: key, concepts, scores, clusters. The shards are only read. The same command goes
    on where an interrupted one ended.
    """
    from cocu.curate import pipeline

    options = {
        "device": device,
        "corpus": {"kind": "shards", "name": name, "shards": shards, "lenient": lenient},
        "clip": {"model": clip, "pretrained": pretrained, "threads": threads},
        "curate": {
            "vocabulary": {"file": str(vocabulary or ""), "min_count": min_count},
            "search": {"neighbours": neighbours},
            "pool": str(pool or ""),
            "threads": threads,
        },
    }
    pipeline.run(pipeline.curation_config(config or [], options), out=out)


@app.command(rich_help_panel=CURATION)
def vocabulary(corpus: CorpusFile, out: OutFile, config: ConfigFiles = DEFAULT) -> None:
    """Build a vocabulary from the captions, and report which of the benchmarks' class names it holds."""
    from cocu.concepts import overlap

    overlap.run_vocabulary(load(config), corpus=corpus, out=out)


@app.command(rich_help_panel=CURATION)
def clip(corpus: CorpusFile, out: OutFolder, config: ConfigFiles = DEFAULT) -> None:
    """Train the stand-in CLIP of the mini experiment."""
    from cocu.mini import standin

    standin.run(load(config), corpus=corpus, out=out)


@app.command(rich_help_panel=CURATION)
def captions(corpus: CorpusFile, out: OutFolder, config: ConfigFiles = DEFAULT) -> None:
    """Build the vocabulary from the captions, and find each caption's concepts."""
    from cocu.concepts import captions as stage

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


@archives.command("build")
def build_archive(
    corpus: CorpusFile,
    captions: Captions,
    embeddings: Annotated[Path, typer.Option(metavar="DIR", help="The images' and the vocabulary's embeddings.")],
    out: OutFolder,
    block: Annotated[
        int | None, typer.Option(min=0, help="Only this block of curate.shards_per_job shards, from 0.")
    ] = None,
    config: ConfigFiles = DEFAULT,
) -> None:
    """Give every pair the concepts that its caption leaves out: expand, rank, cluster."""
    from cocu.curate import archive as stage

    stage.run(load(config), corpus=corpus, captions=captions, embeddings=embeddings, out=out, block=block)


@archives.command()
def show(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Key of a pair: corpus/shard/sample.")],
    folder: Curation,
) -> None:
    """Show what a pair's caption names, and what the archive adds to it."""
    from cocu.curate import inspect

    typer.echo(inspect.show(folder / "archive", folder / "captions", key))


@archives.command()
def stats(
    folder: Curation,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Count what an archive adds: concepts a pair, the most added ones, benchmarks' names, examples."""
    from cocu.curate import inspect

    found = inspect.stats(folder / "archive", folder / "captions")
    typer.echo(json.dumps(found, indent=2) if as_json else inspect.format_stats(found))


@app.command(rich_help_panel=CURATION)
def oracle(truth: Truth, captions: Captions, out: OutFolder, config: ConfigFiles = DEFAULT) -> None:
    """Write the archive that a perfect curation would give (mini only)."""
    from cocu.mini import truth as stage

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
    from cocu.mini import quality as stage

    stage.run(load(config), truth=truth, captions=captions, archive=archive, out=out)
