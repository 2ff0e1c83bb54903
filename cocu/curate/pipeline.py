"""`cocu curate`: a folder of image-text shards in; beside it, for each shard, what its captions miss.

The stages that the workflow runs as rules, one after the other in one process: corpus, captions, embeddings of images
and vocabulary, archive. Each is skipped when its result's stamp still holds, and embedding and archive go on shard by
shard, so that the same command finishes what was interrupted, with the same bytes.
"""

from __future__ import annotations

from pathlib import Path

from cocu.clip import embed
from cocu.concepts import captions
from cocu.config import DataConfig
from cocu.curate import archive
from cocu.errors import ConfigError
from cocu.io import read_json
from cocu.layout import MANIFEST, Curation, side_car
from cocu.log import say
from cocu.pairs import verify
from cocu.stamp import Stamp, Store, still_holds


def run(config: DataConfig, *, out: Path) -> None:
    """Curate the shards of config.corpus into the folder `out`: corpus/, captions/, embeddings/ and archive/.

    Raises what the stages raise. `ConfigError` for a folder whose pool would be itself.
    """
    if config.curate.pool and Path(config.curate.pool).resolve() == out.resolve():
        raise ConfigError(f"The pool {config.curate.pool} is the folder that is written: leave --pool out.")
    here = Curation(out)
    corpus = here.corpus.manifest
    if not _made(corpus, verify.inputs(config), here.corpus.index):
        verify.run(config, corpus=config.corpus.name, out=here.corpus, copies=here.state / "shards")
    if not (_made(here.captions / MANIFEST, captions.inputs(config, corpus), here.captions) and here.words.is_file()):
        captions.run(config, corpus=corpus, out=here.captions)
    embed.run_vocabulary(config, captions=here.captions, clip=None, out=here.vectors)
    store = Store(here.state / "embeddings")
    embed.run_images(config, corpus=corpus, clip=None, out=here.embeddings, store=store)
    store, near = Store(here.state / "archive"), here.state / "neighbours"
    archive.run(config, corpus=corpus, curation=here, store=store, neighbours=near)
    counts = read_json(here.archive / MANIFEST)["counts"]
    concepts = counts["concepts"] / counts["images"]
    say(
        f"{counts['images']:,} pairs have {concepts:.1f} concepts each in {here.archive}; "
        f"`cocu archive stats --curation {out}` says which."
    )


def _made(manifest: Path, made_from: Stamp, side_cars: Path) -> bool:
    """Whether a stage's result still holds, and no side-car of a shard has been deleted since."""
    if not still_holds(manifest, made_from):
        return False
    return all(side_car(side_cars, shard["shard"]).is_file() for shard in read_json(manifest)["shards"])
