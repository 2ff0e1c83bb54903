"""A tiny corpus with captions, side-cars and an archive, for the training tests."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from cocu.config import Config, validate
from cocu.io import file_sha256, write_json, write_text
from cocu.layout import MANIFEST, WORDS, Corpus, side_car
from cocu.pairs.tables import CAPTIONS, Archive, keys_sha256, write_archive, write_table
from tests.unit.corpora import Samples, write_corpus

PAIRS, SHARDS = 12, 2
VOCABULARY = ("dog", "cat", "grass")


@dataclass(frozen=True)
class Files:
    """Where the corpus lies."""

    corpus: Path
    captions: Path
    archive: Path


def make_files(root: Path, name: str = "toy", side: int = 32, aside: int | None = None) -> Files:
    """24 pairs in two shards; every caption names a dog, every archive row a cat and then grass.

    The captions in the tars have tags, which the side-cars have not. `aside` is a number of a shard that is set aside,
    and has no pairs.
    """
    rng = np.random.default_rng(0)
    shards: dict[str, Samples | None] = {}
    described = []
    captions, archive = root / "captions", root / "archive"
    for s in range(SHARDS):
        shard, count = f"{name}/{s:05d}", 0 if s == aside else PAIRS
        samples = []
        for i in range(count):
            stream = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(stream, "JPEG")
            samples.append((f"{i:05d}", stream.getvalue(), f"<b>a photo</b> of dog {s}{i}"))
        shards[shard] = samples or None
        keys = [f"{shard}/{sample}" for sample, _, _ in samples]
        clean = [f"a photo of dog {s}{i}" for i in range(count)]
        columns = {"key": keys, "caption": clean, "concepts": [[0]] * count}
        write_table(side_car(captions, shard), CAPTIONS, columns)
        row = np.arange(count + 1, dtype=np.int64) * 2
        ids, scores = np.array([1, 2] * count, np.uint16), np.array([2.0, 1.0] * count, np.float32)
        found = Archive(row, ids, scores, np.zeros(2 * count, np.uint16))
        write_archive(side_car(archive, shard), keys, found)
        described.append({"shard": shard, "rows": count, "keys_sha256": keys_sha256(keys)})
    write_corpus(Corpus(root), name, shards)
    write_json(captions / MANIFEST, {"vocabulary": {"concepts": len(VOCABULARY)}, "shards": described})
    write_text(captions / WORDS, "\n".join(VOCABULARY) + "\n")
    write_json(archive / MANIFEST, {"vocabulary_sha256": file_sha256(captions / WORDS)})
    return Files(Corpus(root).manifest, captions, archive)


def tiny_config(**train: object) -> Config:
    """The smallest configuration that trains."""
    return validate(
        {
            "experiment": "toy",
            "seeds": [1],
            "arms": {"groupvit": {}, "cocu": {"train": {"prompts": {"source": "archive"}}}},
            "model": {
                "image_size": 32,
                "patch_size": 4,
                "stem": "convolutional",
                "stem_channels": [8, 16],
                "stem_strides": [2, 2],
                "width": 16,
                "heads": 2,
                "stages": [{"depth": 0, "group_tokens": 4}],
                "text_width": 16,
                "text_heads": 2,
                "text_layers": 1,
                "context_length": 16,
                "embed_dim": 8,
                "projector_layers": 1,
            },
            "train": {"steps": 6, "batch_size": 8, "log_every": 1, "checkpoint_every": 2, "lr": 1e-3, **train},
            "evaluate": {"benchmarks": ["mini_voc"]},
        }
    )
