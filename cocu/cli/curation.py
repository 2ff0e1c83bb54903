"""The verbs of curation: `cocu curate` for one's own shards, and what looks into its results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from cocu.cli.options import OutFile, OutFolder, OwnConfig, Where, own_config
from cocu.config import DataConfig, read, validate_part
from cocu.layout import Curation
from cocu.yaml_file import merge

CURATION = "Curation"
Folder = Annotated[
    Curation,
    typer.Option("--curation", parser=lambda name: Curation(Path(name)), metavar="DIR", help="A curation's folder."),
]
app = typer.Typer()
archives = typer.Typer(no_args_is_help=True)
app.add_typer(archives, name="archive", rich_help_panel=CURATION, help="Look into an archive (show, stats, export).")


@app.command("curate", rich_help_panel=CURATION)
def curate_shards(
    shards: Annotated[
        str, typer.Option(metavar="PATTERN", help="WebDataset shards, e.g. 'data/{00000..00331}.tar' (quote it).")
    ],
    clip: Annotated[str, typer.Option(metavar="MODEL", help="A model of open_clip, e.g. ViT-B-16.")],
    pretrained: Annotated[str, typer.Option(metavar="TAG_OR_FILE", help="open_clip's tag, or a file of weights.")],
    out: OutFolder,
    name: Annotated[str, typer.Option(help="Name of the data set; keys are NAME/shard/sample.")] = "pairs",
    pool: Annotated[str, typer.Option(metavar="DIR", help="Retrieve from this earlier --out, not the shards.")] = "",
    vocabulary: Annotated[str, typer.Option(metavar="FILE", help="Concepts, one a line; else frequent nouns.")] = "",
    min_count: Annotated[int, typer.Option(min=1, help="Captions that a concept must occur in.")] = 20,
    neighbours: Annotated[int, typer.Option(min=1, help="Similar pairs that lend their concepts.")] = 8,
    lenient: Annotated[bool, typer.Option("--lenient", help="Set broken samples aside.")] = False,
    device: Where = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Threads of CLIP and of the search.")] = 1,
    config: Annotated[
        list[Path] | None, typer.Option("--config", metavar="FILE", help="Further keys, as in config/config.yaml.")
    ] = None,
) -> None:
    """Give the pairs of your own shards the visible concepts that their captions miss.

    Writes OUT/archive/NAME/SHARD.parquet: key, concepts, scores, clusters. The shards are only read. The same command
    goes on where an interrupted one ended.
    """
    from cocu.curate import pipeline

    options = {
        "device": device,
        "corpus": {"kind": "shards", "name": name, "sets": [{"name": name, "shards": shards}], "lenient": lenient},
        "clip": {"model": clip, "pretrained": pretrained, "threads": threads},
        "curate": {
            "vocabulary": {"file": vocabulary, "min_count": min_count},
            "search": {"neighbours": neighbours},
            "pool": pool,
            "threads": threads,
        },
    }
    pipeline.run(validate_part(DataConfig, merge(read(config or []), options)), out=out)


@app.command(rich_help_panel=CURATION)
def vocabulary(
    corpus: Annotated[Path, typer.Option(metavar="FILE", help="The manifest.json of a corpus.")],
    out: OutFile,
    config: OwnConfig = None,
) -> None:
    """Build a vocabulary from the captions, and report which of the benchmarks' class names it holds."""
    from cocu.concepts import overlap

    overlap.run_vocabulary(own_config(DataConfig, config), corpus=corpus, out=out)


@archives.command()
def show(key: Annotated[str, typer.Argument(metavar="SET/SHARD/SAMPLE")], folder: Folder) -> None:
    """Show what a pair's caption names, and what the archive adds to it."""
    from cocu.curate import inspect

    typer.echo(inspect.show(folder.archive, folder.captions, key))


@archives.command()
def stats(folder: Folder, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Count what an archive adds: concepts a pair, the most added ones, benchmarks' names, examples."""
    from cocu.curate import inspect

    found = inspect.stats(folder.archive, folder.captions)
    typer.echo(json.dumps(found, indent=2) if as_json else inspect.format_stats(found))


@archives.command()
def export(
    folder: Folder,
    out: OutFile,
    kind: Annotated[Literal["parquet", "jsonl", "csv"], typer.Option("--format")] = "parquet",
) -> None:
    """Write an archive in words: a row a pair, with its key, its caption and the concepts of both."""
    from cocu.curate import export

    typer.echo(f"{export.run(folder.archive, folder.captions, kind, out):,} pairs in {out}")
