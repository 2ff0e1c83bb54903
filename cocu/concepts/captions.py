"""The captions stage: shards in; vocabulary.txt and, for each shard, captions/SET/SHARD.parquet out.

Captions are cleaned (tags, entities, white space, length); C_i are the vocabulary's concepts in caption i. Rows are in
tar order. The manifest holds the hashes by which later stages notice files that do not belong together.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cocu.concepts.benchmark_names import held_out_names
from cocu.concepts.matcher import Matcher
from cocu.concepts.vocabulary import build_vocabulary, read_vocabulary
from cocu.config import DataConfig
from cocu.errors import DataError
from cocu.io import atomic_path, file_sha256, read_json, write_json, write_text
from cocu.layout import MANIFEST, WORDS, Curation, side_car
from cocu.log import RunCard, progress
from cocu.pairs.index import read_captions
from cocu.pairs.shards import ShardFile, manifest_shards
from cocu.pairs.tables import CAPTIONS, keys_sha256, list_column, write_table
from cocu.stamp import Stamp, stamp

MAX_CHARACTERS = 1_000
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<!--.*?-->", re.DOTALL)


def clean(caption: str) -> str:
    """A caption on one line without HTML tags and entities, at most 1,000 characters."""
    return " ".join(html.unescape(_TAG.sub(" ", caption)).split())[:MAX_CHARACTERS].rstrip()


def run(config: DataConfig, *, corpus: Path, out: Path) -> None:
    """Write the vocabulary, the captions and the manifest of a corpus into the folder `out`.

    `corpus` is the corpus's manifest. Raises `DataError` when no caption has a concept, and for shards that cannot be
    read or are not those of the manifest.
    """
    card, made_from = RunCard("captions"), inputs(config, corpus)
    name = str(read_json(corpus)["corpus"])
    shards = manifest_shards(corpus)
    texts = [clean_captions(shard) for shard in progress(shards, total=len(shards), what="captions")]

    def captions() -> Iterator[str]:
        for text in texts:
            yield from text["caption"].to_pylist()

    settings, file = config.curate.vocabulary, word_list(config)
    vocabulary = read_vocabulary(file, settings) if file else build_vocabulary(captions, settings)
    matcher = Matcher(vocabulary)
    counts: Counter[str] = Counter()
    with atomic_path(out) as temporary:
        temporary.mkdir()
        rows = [_write(temporary, shard, text, matcher, counts) for shard, text in zip(shards, texts, strict=True)]
        if not counts["concepts"]:
            raise DataError(
                f"No caption of the corpus '{name}' holds a concept of its vocabulary ({len(vocabulary)} concepts). "
                "Lower curate.vocabulary.min_count, or name another curate.vocabulary.file."
            )
        write_text(temporary / WORDS, "".join(f"{concept}\n" for concept in vocabulary))
        described = {
            "corpus": name,
            "vocabulary": {"concepts": len(vocabulary), "sha256": file_sha256(temporary / WORDS)},
            "settings": settings.model_dump(mode="json"),
            "shards": rows,
            "counts": dict(counts),
            "stamp": made_from,
            "card": card.card(),
        }
        write_json(temporary / MANIFEST, described)


def word_list(config: DataConfig) -> Path | None:
    """The file that concepts are read from, if any; archives hold the pool's, so captions must speak of the same."""
    if config.curate.vocabulary.file:
        return Path(config.curate.vocabulary.file)
    return Curation(Path(config.curate.pool)).words if config.curate.pool else None


def inputs(config: DataConfig, corpus: Path) -> Stamp:
    """What the captions of a corpus are made from; `corpus` is its manifest."""
    words, held = word_list(config), held_out_names(config.curate.vocabulary.exclude_benchmarks)
    shards = {shard.shard: [shard.sha256, shard.samples] for shard in manifest_shards(corpus)}
    return stamp(
        "captions",
        config,
        {"shards": shards, "held_out": held, "words": file_sha256(words) if words and words.is_file() else None},
    )


def clean_captions(shard: ShardFile) -> pa.Table:
    """Keys and clean captions of a shard, packed: millions of str objects would fill the memory."""
    keys, captions = read_captions(shard)
    return pa.table({"key": pa.array(keys, pa.string()), "caption": pa.array(map(clean, captions), pa.string())})


def _write(folder: Path, shard: ShardFile, text: pa.Table, matcher: Matcher, counts: Counter[str]) -> dict[str, Any]:
    """Write one shard's captions with their concepts, add to `counts`, and describe the file for the manifest."""
    captions = text["caption"].to_pylist()
    indptr, concepts = matcher.batch(captions)
    counts["pairs"] += len(captions)
    counts["empty_captions"] += sum(not caption for caption in captions)
    counts["captions_without_concepts"] += int((np.diff(indptr) == 0).sum())
    counts["concepts"] += len(concepts)
    path = side_car(folder, shard.shard)
    lists = list_column(indptr, concepts)
    write_table(path, CAPTIONS, {"key": text["key"], "caption": text["caption"], "concepts": lists})
    return {
        "shard": shard.shard,
        "rows": len(captions),
        "keys_sha256": keys_sha256(text["key"].to_pylist()),
        "shard_sha256": shard.sha256,
        "sha256": file_sha256(path),
    }
