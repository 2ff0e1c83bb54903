"""A tiny mini world, and a stand-in CLIP that has hardly been trained."""

from pathlib import Path

import pytest

from cocu.config import Config, validate
from cocu.layout import Corpus
from cocu.mini import build, standin


def tiny_config() -> Config:
    return validate(
        {
            "experiment": "tiny",
            "seeds": [0],
            "arms": {"groupvit": {}, "cocu": {}},
            "corpus": {"mini": {"image_size": 32, "web_pairs": 40, "pairs_per_shard": 16}},
            "clip": {"stand_in": {"steps": 3, "batch_size": 8}, "shards_per_job": 2, "batch_size": 5},
            "model": {
                "width": 8,
                "stem_channels": [8],
                "stem_strides": [4],
                "stages": [{"depth": 0, "group_tokens": 2}],
            },
            "evaluate": {"benchmarks": ["mini_context"]},
        }
    )


@pytest.fixture(scope="session")
def config() -> Config:
    return tiny_config()


@pytest.fixture(scope="session")
def corpus(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of three shards: 16, 16 and 8 pairs."""
    web = Corpus(tmp_path_factory.mktemp("web"))
    build.run(config, corpus="web", out=web, truth=None)
    return web.manifest


@pytest.fixture(scope="session")
def clip(config: Config, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    standin.run(config, corpus=corpus, out=folder)
    return folder
