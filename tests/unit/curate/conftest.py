"""A corpus of three small shards, curated from end to end with drawn embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cocu.concepts import captions
from cocu.config import Config, validate
from cocu.curate import archive
from cocu.io import file_sha256, write_json
from cocu.pairs.shards import write_shard
from cocu.pairs.tables import keys_sha256, read_table
from tests.unit.curate.plain import World, make_world

NAMES = [f"{kind}{letter}" for kind in ("dog", "sky", "car") for letter in "abcdefghij"]
SHARDS = {"00000": 50, "00001": 40, "00002": 30}


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
    def corpus(self) -> Path:
        return self.root / "corpus"

    @property
    def captions(self) -> Path:
        return self.root / "captions"

    @property
    def embeddings(self) -> Path:
        return self.root / "embeddings"

    @property
    def archive(self) -> Path:
        return self.root / "archive"

    def write_corpus(self, texts: list[str], order: list[str]) -> None:
        first = 0
        for stem, size in SHARDS.items():
            some = texts[first : first + size]
            write_shard(
                self.corpus / "shards" / f"{stem}.tar", [(f"{first + i:07}", b"jpeg", t) for i, t in enumerate(some)]
            )
            first += size
        shards = [self.corpus / "shards" / f"{stem}.tar" for stem in order]
        listed = [{"path": f"shards/{p.name}", "samples": SHARDS[p.stem], "sha256": file_sha256(p)} for p in shards]
        write_json(self.corpus / "manifest.json", {"corpus": "tiny", "shards": listed, "counts": {}, "card": {}})

    def write_embeddings(self, world: World) -> None:
        """Two blocks: shards 0 and 1, and shard 2; the concepts' rows in the order of vocabulary.txt."""
        self.embeddings.mkdir(exist_ok=True)
        first, described = 0, []
        for stem, size in SHARDS.items():
            path = self.embeddings / f"{stem}.npy"
            np.save(path, world.images[first : first + size].astype(np.float16))
            keys = read_table(self.captions / f"{stem}.parquet", ["key"])["key"].to_pylist()
            facts = {"stem": stem, "rows": size, "keys_sha256": keys_sha256(keys), "sha256": file_sha256(path)}
            described.append(facts)
            first += size
        write_json(self.embeddings / "0.json", {"block": 0, "shards": described[:2]})
        write_json(self.embeddings / "1.json", {"block": 1, "shards": described[2:]})
        names = (self.captions / "vocabulary.txt").read_text().split()
        path = self.embeddings / "vocabulary.npy"
        np.save(path, world.vocabulary[[NAMES.index(name) for name in names]])
        of = {"vocabulary_sha256": file_sha256(self.captions / "vocabulary.txt"), "sha256": file_sha256(path)}
        write_json(path.with_suffix(".made"), of)

    def curate(self, config: Config) -> None:
        archive.run(config, corpus=self.corpus, captions=self.captions, embeddings=self.embeddings, out=self.archive)


def curated(root: Path, config: Config, order: list[str]) -> Folders:
    """Every stage, on the plain oracle's world with words for its concepts."""
    world, folders = make_world(), Folders(root)
    texts = [" and ".join(NAMES[c] for c in caption) or "nothing to see" for caption in world.captions]
    folders.write_corpus(texts, order)
    words = root / "words.txt"
    words.write_text("".join(f"{name}\n" for name in NAMES))
    captions.run(config, corpus=folders.corpus, out=folders.captions)
    folders.write_embeddings(world)
    folders.curate(config)
    return folders


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return curated(tmp_path, make_config(), list(SHARDS))
