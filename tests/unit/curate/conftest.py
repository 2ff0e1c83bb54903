"""A corpus of three small shards, curated from end to end with drawn embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cocu.concepts import captions
from cocu.config import Config, DataConfig, validate
from cocu.curate import archive
from cocu.io import file_sha256, read_json, write_json
from cocu.layout import MANIFEST, Curation, rows, side_car, vectors_manifest
from cocu.pairs.tables import keys_sha256, read_table
from cocu.stamp import Store
from tests.unit.corpora import Samples, write_corpus
from tests.unit.curate.plain import World, make_world

NAMES = [f"{kind}{letter}" for kind in ("dog", "sky", "car") for letter in "abcdefghij"]
SHARDS = {"tiny/00000": 50, "tiny/00001": 40, "tiny/00002": 30}


def make_config(**curate: Any) -> Config:
    return validate(
        {
            "experiment": "test",
            "seeds": [1],
            "arms": {"groupvit": {}, "cocu": {}},
            "curate": {"vocabulary": {"min_count": 1}} | curate,
            "model": {"stem": "patch", "stages": [{"depth": 0, "group_tokens": 2}]},
            "evaluate": {"benchmarks": ["mini_voc"]},
        }
    )


@dataclass(frozen=True)
class Folders:
    """Where the stages of one run read and write."""

    root: Path

    @property
    def curation(self) -> Curation:
        return Curation(self.root)

    @property
    def corpus(self) -> Path:
        """The corpus's manifest."""
        return self.curation.corpus.manifest

    @property
    def captions(self) -> Path:
        return self.curation.captions

    @property
    def embeddings(self) -> Path:
        return self.curation.embeddings

    @property
    def archive(self) -> Path:
        return self.curation.archive

    @property
    def store(self) -> Store:
        return Store(self.curation.state / "archive")

    def write_corpus(self, texts: list[str], order: list[str], aside: tuple[str, ...] = ()) -> None:
        """The shards `aside` are damaged, and set aside."""
        shards: dict[str, Samples | None] = dict.fromkeys(order)
        first = 0
        for shard, size in SHARDS.items():
            shards[shard] = [(f"{first + i:07}", b"jpeg", text) for i, text in enumerate(texts[first : first + size])]
            first += size
        write_corpus(self.curation.corpus, "tiny", {**shards, **dict.fromkeys(aside)})

    def write_embeddings(self, world: World) -> None:
        """The images' rows, none for a shard without pairs; the concepts' rows in the order of vocabulary.txt."""
        described = []
        for shard in [str(s["shard"]) for s in read_json(self.captions / MANIFEST)["shards"]]:
            keys = read_table(side_car(self.captions, shard), ["key"])["key"].to_pylist()
            first = sum(size for name, size in SHARDS.items() if name < shard)
            path = rows(self.embeddings, shard)
            path.parent.mkdir(parents=True, exist_ok=True)
            images = world.images[first : first + len(keys)].astype(np.float16)
            np.save(path, images if keys else np.zeros((0, 0), np.float16))
            facts = {"shard": shard, "rows": len(keys), "keys_sha256": keys_sha256(keys), "sha256": file_sha256(path)}
            described.append(facts)
        write_json(self.embeddings / MANIFEST, {"clip": {}, "shards": described})
        names = self.curation.words.read_text().split()
        path = self.curation.vectors
        np.save(path, world.vocabulary[[NAMES.index(name) for name in names]])
        of = {"vocabulary_sha256": file_sha256(self.curation.words), "sha256": file_sha256(path)}
        write_json(vectors_manifest(path), of)

    def curate(self, config: DataConfig, number: int | None = None) -> None:
        near = self.root / "state/neighbours"
        archive.run(
            config, corpus=self.corpus, curation=self.curation, store=self.store, neighbours=near, number=number
        )


def curated(root: Path, config: Config, order: list[str], aside: tuple[str, ...] = ()) -> Folders:
    """Every stage, on the plain oracle's world with words for its concepts."""
    world, folders = make_world(), Folders(root)
    texts = [" and ".join(NAMES[c] for c in caption) or "nothing to see" for caption in world.captions]
    folders.write_corpus(texts, order, aside)
    words = root / "words.txt"
    words.write_text("".join(f"{name}\n" for name in NAMES))
    captions.run(config, corpus=folders.corpus, out=folders.captions)
    folders.write_embeddings(world)
    folders.curate(config)
    return folders


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return curated(tmp_path, make_config(), list(SHARDS))
