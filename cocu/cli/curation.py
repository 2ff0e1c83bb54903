"""The verbs of curation: `cocu curate` for one's own shards, and what looks into its results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cocu import layout
from cocu.cli.options import CorpusFile, OutFile, OutFolder, OwnConfig, own_config
from cocu.config import DataConfig, Device, read, validate_part
from cocu.yaml_file import merge

CURATION = "Curation"
Curation = Annotated[
    Path,
    typer.Option("--curation", metavar="DIR", help="Folder of the curation: archive/, captions/ and embeddings/."),
]
app = typer.Typer()
archives = typer.Typer(no_args_is_help=True)
app.add_typer(archives, name="archive", rich_help_panel=CURATION, help="Look into an archive (show, stats).")


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
        "corpus": {"kind": "shards", "name": name, "sets": [{"name": name, "shards": shards}], "lenient": lenient},
        "clip": {"model": clip, "pretrained": pretrained, "threads": threads},
        "curate": {
            "vocabulary": {"file": str(vocabulary or ""), "min_count": min_count},
            "search": {"neighbours": neighbours},
            "pool": str(pool or ""),
            "threads": threads,
        },
    }
    pipeline.run(validate_part(DataConfig, merge(read(config or []), options)), out=out)


@app.command(rich_help_panel=CURATION)
def vocabulary(corpus: CorpusFile, out: OutFile, config: OwnConfig = None) -> None:
    """Build a vocabulary from the captions, and report which of the benchmarks' class names it holds."""
    from cocu.concepts import overlap

    overlap.run_vocabulary(own_config(DataConfig, config), corpus=corpus, out=out)


@archives.command()
def show(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Key of a pair: set/shard/sample.")],
    folder: Curation,
) -> None:
    """Show what a pair's caption names, and what the archive adds to it."""
    from cocu.curate import inspect

    typer.echo(inspect.show(layout.Curation(folder).archive, layout.Curation(folder).captions, key))


@archives.command()
def stats(
    folder: Curation,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Count what an archive adds: concepts a pair, the most added ones, benchmarks' names, examples."""
    from cocu.curate import inspect

    found = inspect.stats(layout.Curation(folder).archive, layout.Curation(folder).captions)
    typer.echo(json.dumps(found, indent=2) if as_json else inspect.format_stats(found))
