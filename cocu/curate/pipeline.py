"""`cocu curate`: a folder of image-text shards in; beside it, for each shard, what its captions miss.

The stages that the workflow runs as rules, one after the other in one process: corpus, captions, embeddings of images
and vocabulary, archive. Each is skipped when what it was made from is unchanged, and embedding and archive go on shard
by shard, so that the same command finishes what was interrupted, with the same bytes.
"""

from __future__ import annotations

from pathlib import Path

from braceexpand import braceexpand

from cocu.clip import embed
from cocu.concepts import captions
from cocu.concepts.benchmark_names import held_out_names
from cocu.config import Config, digest
from cocu.curate import archive
from cocu.errors import ConfigError
from cocu.io import code_fingerprint, file_sha256, read_json, write_json
from cocu.layout import MANIFEST, Curation
from cocu.log import say
from cocu.pairs import verify
from cocu.pairs.shards import manifest_shards


def run(config: Config, *, out: Path) -> None:
    """Curate config.corpus.shards into the folder `out`: corpus/, captions/, embeddings/ and archive/.

    Raises what the stages raise. `ConfigError` for a folder whose pool would be itself.
    """
    if config.curate.pool and Path(config.curate.pool).resolve() == out.resolve():
        raise ConfigError(f"The pool {config.curate.pool} is the folder that is written: leave --pool out.")
    name = config.corpus.name
    held = held_out_names(config.curate.vocabulary.exclude_benchmarks)
    here = Curation(out)
    corpus = here.corpus
    made = _Stages(out / "stages.json")

    source = [config.corpus.model_dump(mode="json"), _files(config.corpus.shards), code_fingerprint(verify.__name__)]
    if made.missing("corpus", source, corpus):
        verify.run(config, corpus=name, out=corpus.parent)
        made.done("corpus", source)

    shards = manifest_shards(corpus)
    source = [
        [(shard.stem, shard.sha256, shard.samples) for shard in shards],
        config.curate.vocabulary.model_dump(mode="json"),
        held,
        _pool_words(config),
        code_fingerprint(captions.__name__),
    ]
    if made.missing("captions", source, here.captions / MANIFEST):
        captions.run(config, corpus=corpus, out=here.captions)
        made.done("captions", source)

    words = [
        file_sha256(here.words),
        config.clip.model_dump(mode="json", exclude={"threads", "shards_per_job"}),  # how, not what
        code_fingerprint(embed.__name__),
    ]
    if made.missing("vocabulary", words, here.vectors):
        embed.run_vocabulary(config, captions=here.captions, clip=None, out=here.vectors)
        made.done("vocabulary", words)
    for block in range(-(-len(shards) // config.clip.shards_per_job)):
        embed.run_images(config, corpus=corpus, clip=None, block=block, out=here.embedded(block))
    archive.run(config, corpus=corpus, captions=here.captions, embeddings=here.embeddings, out=here.archive)
    counts = read_json(here.archive / MANIFEST)["counts"]
    concepts = counts["concepts"] / counts["images"]
    say(
        f"{counts['images']:,} pairs have {concepts:.1f} concepts each in {here.archive}; "
        f"`cocu archive stats --curation {out}` says which."
    )


class _Stages:
    """Which stages are finished, by a digest of what they were made from; written after each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done: dict[str, str] = read_json(path) if path.is_file() else {}

    def missing(self, stage: str, source: object, output: Path) -> bool:
        return not output.is_file() or self._done.get(stage) != digest(source)

    def done(self, stage: str, source: object) -> None:
        self._done[stage] = digest(source)
        write_json(self._path, self._done)


def _files(pattern: str) -> list[tuple[str, int, int]]:
    """Name, size and time (ns) of the local shards; what is wrong with the pattern is the corpus stage's to say."""
    try:
        paths = [Path(path) for path in braceexpand(pattern)]
    except ValueError:
        return []
    found = [(path, path.stat()) for path in paths if path.is_file()]
    return [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in found]


def _pool_words(config: Config) -> str:
    """What decides the vocabulary besides the configuration: the word list, or the pool's."""
    pool = Curation(Path(config.curate.pool)).words if config.curate.pool else None
    file = Path(config.curate.vocabulary.file) if config.curate.vocabulary.file else pool
    return file_sha256(file) if file and file.is_file() else ""
