"""A tiny mini world."""

import pytest

from cocu.config import Config, validate
from tests.unit.clip.conftest import clip, corpus

__all__ = ["clip", "corpus"]


def tiny_config() -> Config:
    world = {
        "image_size": 32,
        "web_pairs": 5,
        "train_pairs": 7,
        "pairs_per_shard": 3,
        "val_images": 3,
        "test_images": 4,
    }
    return validate(
        {
            "experiment": "tiny",
            "seeds": [0],
            "arms": {"groupvit": {}, "cocu": {}},
            "corpus": {"mini": world},
            "clip": {"stand_in": {"batch_size": 5}},
            "curate": {"vocabulary": {"min_count": 7}, "search": {"neighbours": 6}},
            "model": {
                "width": 8,
                "stem_channels": [8],
                "stem_strides": [4],
                "stages": [{"depth": 0, "group_tokens": 2}],
            },
            "train": {"batch_size": 7},
            "evaluate": {"benchmarks": ["mini_context"]},
        }
    )


@pytest.fixture
def config() -> Config:
    return tiny_config()
