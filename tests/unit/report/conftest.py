"""A small experiment: two arms, two seeds, one benchmark, or two and a reference."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cocu.config import Config, validate

MIOU = {"groupvit": (10.0, 20.0), "cocu": (15.0, 27.0), "one_label": (8.0, 8.0)}  # by seed 1, 2


@pytest.fixture
def config() -> Config:
    return validate(
        {
            "experiment": "small",
            "seeds": [1, 2],
            "arms": {"groupvit": {}, "cocu": {"train": {"prompts": {"source": "archive", "count": 2}}}},
            "model": {"stem": "patch", "stages": [{"depth": 0, "group_tokens": 8}]},
            "evaluate": {"benchmarks": ["mini_context"]},
            "train": {"validate_every": 10},
        }
    )


@pytest.fixture
def two_benchmarks(config: Config) -> Config:
    """The same with a second benchmark and a CLIP as a reference."""
    references = {"clip": {"clip": "ViT-B-32", "pretrained": "openai"}}
    return validate(
        config.model_dump() | {"evaluate": {"benchmarks": ["mini_context", "mini_voc"]}, "references": references}
    )


@pytest.fixture
def write_metrics(tmp_path: Path) -> Callable[..., Path]:
    """Writes the metrics of `MIOU`, on mini_voc with 10 points more; `changes` maps (arm, seed) to keys that differ."""

    def write(changes: dict[tuple[str, int], dict[str, object]] | None = None) -> Path:
        for benchmark, more in (("mini_context", 0.0), ("mini_voc", 10.0)):
            for arm, values in (MIOU | {"clip": (5.0,)}).items():
                for seed, miou in zip((0,) if arm == "clip" else (1, 2), values, strict=True):
                    result = {"arm": arm, "seed": seed, "benchmark": benchmark, "miou": miou + more, "protocol": "p"}
                    path = tmp_path / "metrics" / arm / str(seed) / f"{benchmark}.json"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(json.dumps(result | (changes or {}).get((arm, seed), {})))
        return tmp_path / "metrics"

    return write


@pytest.fixture
def quality_files(tmp_path: Path) -> list[Path]:
    """Two corpora; in the second every share is 0.1 larger and a pair has one concept more."""
    paths = []
    for i in range(2):
        shares = dict.fromkeys(("precision", "recall", "recall_missing"), 0.5 + 0.1 * i)
        sources = {s: {**shares, "concepts": 2.0 + i} for s in ("caption", "archive", "uniform", "top", "cluster")}
        paths.append(tmp_path / f"quality{i}.json")
        paths[-1].write_text(json.dumps({"sources": sources}))
    return paths
