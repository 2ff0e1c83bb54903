"""Embeddings: v_i of every image, t_c of "a photo of a {c}" for every concept of the vocabulary.

Takes a corpus's shards, in blocks that are jobs of their own, or the vocabulary; gives one float16 .npy a shard with
rows in tar order, the block's manifest, and vocabulary.npy (float32) with its own. A block that was interrupted goes on
after the last shard that a store has kept, and a changed shard leaves the others as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cocu.clip.encoder import PROMPT, STAND_IN, ClipEncoder, load_encoder
from cocu.clip.unit import check_unit
from cocu.config import DataConfig
from cocu.device import CPU, pick_device
from cocu.errors import ConfigError, DataError
from cocu.io import atomic_path, delete_others, file_sha256, read_json, write_json
from cocu.layout import MANIFEST, WORDS, block, blocks, rows, vectors_manifest
from cocu.log import RunCard, progress
from cocu.pairs.images import decode_image
from cocu.pairs.index import read_pairs
from cocu.pairs.shards import Pair, ShardFile, manifest_shards
from cocu.pairs.tables import keys_sha256
from cocu.stamp import Stamp, Store, stamp, still_holds

Floats = NDArray[np.float32]


def run_images(
    config: DataConfig, *, corpus: Path, clip: Path | None, out: Path, store: Store, number: int | None = None
) -> None:
    """Embed the images of a corpus into the folder `out`, and write the manifest.

    With `number`, only those of that block of clip.shards_per_job shards, and the block's manifest. `clip` is the
    stand-in's folder (None for published weights). Raises `ConfigError` for a block beyond the corpus, `DataError` for
    a shard that is damaged or not the manifest's, `NumericsError` naming shard and key for a vector that is not finite
    or is zero.
    """
    card, name = RunCard("embed images", block=number), str(read_json(corpus)["corpus"])
    files = {file.shard: file for file in manifest_shards(corpus)}
    shards = sorted(files) if number is None else _block(corpus, files, number, config.clip.shards_per_job)
    encoder = load_encoder(config.clip, clip, _device(config))
    entries = []
    with _threads(config.clip.threads):
        for shard in progress(shards, total=len(shards), what=f"embedding {name}, shards"):
            inputs = {"clip": encoder.facts, "shard": [shard, files[shard].sha256, files[shard].samples]}
            of = stamp("embed", config, inputs)
            entries.append(_embed_shard(encoder, files[shard], rows(out, shard), store, of))
    store.forget_others([rows(Path(), shard).as_posix() for shard in files])
    described = {"clip": encoder.facts, "shards": entries, "card": card.card()}
    if number is not None:
        write_json(block(out, number), described)
        return
    _finish(out, sorted(files), described)


def join_blocks(config: DataConfig, *, corpus: Path, out: Path) -> None:
    """Write the manifest of embeddings whose blocks are made.

    Raises `DataError` when they are not all there, and when two were made with different weights.
    """
    card, shards = RunCard("embed images"), [file.shard for file in manifest_shards(corpus)]
    parts = [block(out, number) for number, _ in enumerate(blocks(shards, config.clip.shards_per_job))]
    made = [read_json(path) for path in parts]
    for path, one in zip(parts, made, strict=True):
        if one["clip"] != made[0]["clip"]:
            raise DataError(
                f"{path} was made with {one['clip']}, and {parts[0]} with {made[0]['clip']}. Delete {out} and run the "
                "embedding stage again."
            )
    entries = [entry for one in made for entry in one["shards"]]
    if [entry["shard"] for entry in entries] != sorted(shards):
        raise DataError(f"The blocks of {out} are not of the shards of {corpus}. Run the embedding stage again.")
    _finish(out, sorted(shards), {"clip": made[0]["clip"], "shards": entries, "card": card.card()})


def _finish(out: Path, shards: Iterable[str], described: dict[str, Any]) -> None:
    """Write the manifest, and delete the embeddings of shards that the corpus has no more."""
    delete_others(out, {rows(out, shard) for shard in shards})
    write_json(out / MANIFEST, described)


def _block(corpus: Path, shards: Iterable[str], number: int, size: int) -> list[str]:
    parts = blocks(shards, size)
    if not 0 <= number < len(parts):
        raise ConfigError(f"{corpus} has no block {number} of {size} shards (clip.shards_per_job): it ends before.")
    return parts[number]


def run_vocabulary(config: DataConfig, *, captions: Path, clip: Path | None, out: Path) -> None:
    """Write the unit text embeddings (C, d) float32 of captions/vocabulary.txt to `out`, and its manifest beside it.

    Nothing is done where they are there, of the same words and the same weights.
    """
    card = RunCard("embed vocabulary")
    vocabulary = captions / WORDS
    try:
        concepts = vocabulary.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"Cannot read {vocabulary}: {error.strerror}. Run the captions stage first.") from error
    if not concepts:
        raise DataError(f"{vocabulary} is empty: no concept is frequent enough. Lower curate.vocabulary.min_count.")
    encoder = load_encoder(config.clip, clip, _device(config))
    words = file_sha256(vocabulary)
    made_from, described = stamp("embed", config, {"clip": encoder.facts, "vocabulary": words}), vectors_manifest(out)
    if still_holds(described, made_from) and out.is_file() and read_json(described)["sha256"] == file_sha256(out):
        return
    with _threads(config.clip.threads):
        vectors = encoder.texts([PROMPT.format(concept) for concept in concepts])
    check_unit(vectors, concepts, where=vocabulary)
    _save(out, vectors)
    facts = {"clip": encoder.facts, "prompt": PROMPT, "rows": len(vectors), "vocabulary_sha256": words}
    write_json(described, {**facts, "sha256": file_sha256(out), "stamp": made_from, "card": card.card()})


def embed_images(encoder: ClipEncoder, pairs: Iterator[Pair]) -> tuple[list[str], Floats]:
    """(keys, unit rows (n, d)) of the pairs' images, in order.

    Images are decoded by threads, as many as torch may use, one batch ahead of the model.
    """
    keys: list[str] = []
    vectors: list[Floats] = []

    def prepare(pair: Pair) -> Tensor:
        return encoder.prepare(decode_image(pair.image, pair.key))

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        batch = list(islice(pairs, encoder.batch_size))
        waiting = pool.map(prepare, batch)
        while batch:
            following = list(islice(pairs, encoder.batch_size))
            tensors, waiting = list(waiting), pool.map(prepare, following)
            vectors.append(encoder.prepared(tensors))
            keys += [pair.key for pair in batch]
            batch = following
    return keys, np.concatenate(vectors)


def _embed_shard(encoder: ClipEncoder, file: ShardFile, out: Path, store: Store, of: Stamp) -> dict[str, Any]:
    """The block manifest's entry of one shard, embedded now or kept from an earlier run that made the same."""
    part = rows(Path(), file.shard).as_posix()
    if (kept := store.give(part, out, of)) is not None:
        return kept
    keys: list[str] = []
    vectors = np.zeros((0, 0), np.float32)
    if file.samples:  # a shard that is set aside has none
        keys, vectors = embed_images(encoder, read_pairs(file))
    check_unit(vectors, keys, where=file.path)
    _save(out, vectors.astype(np.float16))
    entry = {"shard": file.shard, "rows": len(keys), "keys_sha256": keys_sha256(keys), "sha256": file_sha256(out)}
    store.keep(part, out, of, entry)
    return entry


def _save(path: Path, vectors: NDArray[Any]) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, vectors)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads, and as many as before at the end: other stages follow in the same process."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _device(config: DataConfig) -> torch.device:
    """The stand-in always runs on the CPU: its embeddings are then the same on every machine."""
    return CPU if config.clip.model == STAND_IN else pick_device(config.device)
