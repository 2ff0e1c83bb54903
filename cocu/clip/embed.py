"""Embeddings: v_i of every image, t_c of "a photo of a {c}" for every concept of the vocabulary.

Takes a corpus's shards, in blocks that are jobs of their own, or the vocabulary; gives one float16 .npy a shard with
rows in tar order, the block's manifest, and vocabulary.npy (float32). Beside each .npy lies a .made file (JSON) that
says what it was made from: a block that was interrupted goes on after the last shard that still matches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
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
from cocu.config import Config
from cocu.device import CPU, pick_device
from cocu.errors import ConfigError, DataError
from cocu.io import atomic_path, code_fingerprint, file_sha256, read_json, write_json
from cocu.layout import WORDS
from cocu.log import RunCard, progress
from cocu.pairs.images import decode_image
from cocu.pairs.shards import Pair, ShardFile, manifest_shards, read_pairs

Floats = NDArray[np.float32]


def run_images(config: Config, *, corpus: Path, clip: Path | None, block: int, out: Path) -> None:
    """Embed the images of one block of shards; `out` is the block's manifest, and the .npy files go beside it.

    Block b holds the shards b * clip.shards_per_job and on. `clip` is the stand-in's folder (None for published
    weights). Raises `ConfigError` for a block beyond the corpus, `DataError` for a shard that is damaged or has not the
    pairs that its manifest counts, `NumericsError` naming shard and key for a vector that is not finite or is zero.
    """
    card = RunCard("embed images", block=block)
    name, per_job = str(read_json(corpus)["corpus"]), config.clip.shards_per_job
    files = manifest_shards(corpus)[block * per_job : (block + 1) * per_job]
    if not files or block < 0:
        raise ConfigError(f"{corpus} has no block {block} of {per_job} shards (clip.shards_per_job): it ends before.")
    encoder = load_encoder(config.clip, clip, _device(config))
    entries = []
    with _threads(config.clip.threads):
        for file in progress(files, total=len(files), what=f"embedding {name}, block {block}, shards"):
            entries.append(_embed_shard(encoder, file, name, out.parent / f"{file.stem}.npy"))
    write_json(out, {"block": block, "clip": encoder.facts, "shards": entries, "card": card.card()})


def run_vocabulary(config: Config, *, captions: Path, clip: Path | None, out: Path) -> None:
    """Write the unit text embeddings (C, d) float32 of captions/vocabulary.txt to `out`, and what made it beside it."""
    card = RunCard("embed vocabulary")
    vocabulary = captions / WORDS
    try:
        concepts = vocabulary.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"Cannot read {vocabulary}: {error.strerror}. Run the captions stage first.") from error
    if not concepts:
        raise DataError(f"{vocabulary} is empty: no concept is frequent enough. Lower curate.vocabulary.min_count.")
    encoder = load_encoder(config.clip, clip, _device(config))
    with _threads(config.clip.threads):
        rows = encoder.texts([PROMPT.format(concept) for concept in concepts])
    check_unit(rows, concepts, where=vocabulary)
    _save(out, rows)
    facts = {"clip": encoder.facts, "prompt": PROMPT, "rows": len(rows), "vocabulary_sha256": file_sha256(vocabulary)}
    write_json(_made(out), {**facts, "sha256": file_sha256(out), "card": card.card()})


def embed_images(encoder: ClipEncoder, pairs: Iterator[Pair]) -> tuple[list[str], Floats]:
    """(keys, unit rows (n, d)) of the pairs' images, in order.

    Images are decoded by threads, as many as torch may use, one batch ahead of the model.
    """
    keys: list[str] = []
    rows: list[Floats] = []

    def prepare(pair: Pair) -> Tensor:
        return encoder.prepare(decode_image(pair.image, pair.key))

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        batch = list(islice(pairs, encoder.batch_size))
        waiting = pool.map(prepare, batch)
        while batch:
            following = list(islice(pairs, encoder.batch_size))
            tensors, waiting = list(waiting), pool.map(prepare, following)
            rows.append(encoder.prepared(tensors))
            keys += [pair.key for pair in batch]
            batch = following
    return keys, np.concatenate(rows)


def _embed_shard(encoder: ClipEncoder, file: ShardFile, corpus: str, out: Path) -> dict[str, Any]:
    """The block manifest's entry of one shard, embedded now or kept from an earlier run that made the same."""
    code = code_fingerprint(__name__)
    made_from = {"shard_sha256": file.sha256, "corpus": corpus, "clip": encoder.facts, "code": code}
    if (kept := _kept(out, made_from)) is not None:
        return kept
    keys, rows = embed_images(encoder, read_pairs(file.path, corpus, file.skipped))
    if len(keys) != file.samples:
        raise DataError(
            f"{file.path} holds {len(keys)} pairs, its manifest says {file.samples}. Run the corpus stage again."
        )
    check_unit(rows, keys, where=file.path)
    _save(out, rows.astype(np.float16))
    keys_sha256 = hashlib.sha256("\n".join(keys).encode()).hexdigest()
    entry = {"stem": file.stem, "rows": len(rows), "keys_sha256": keys_sha256, "sha256": file_sha256(out)}
    write_json(_made(out), {"from": made_from, "entry": entry})
    return entry


def _kept(out: Path, made_from: dict[str, Any]) -> dict[str, Any] | None:
    if not (out.is_file() and _made(out).is_file()):
        return None
    made = read_json(_made(out))
    same = made["from"] == made_from and made["entry"]["sha256"] == file_sha256(out)
    return dict(made["entry"]) if same else None


def _made(out: Path) -> Path:
    return out.with_suffix(".made")


def _save(path: Path, rows: NDArray[Any]) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, rows)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads, and as many as before at the end: other stages follow in the same process."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _device(config: Config) -> torch.device:
    """The stand-in always runs on the CPU: its embeddings are then the same on every machine."""
    return CPU if config.clip.model == STAND_IN else pick_device(config.device)
