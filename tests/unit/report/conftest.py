"""A small experiment: two arms, two seeds, one benchmark, or two and a reference."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cocu.config import Config, validate
from cocu.report.collect import all_models, collect
from cocu.report.tables import Row, compare

Changes = dict[str, object]  # of a result, by key
SOURCES = ("caption", "archive", "uniform", "softmax", "top", "cluster")
SHARES = ("precision", "recall", "recall_missing")
MIOU = {"groupvit": (10.0, 20.0), "cocu": (15.0, 27.0), "one_label": (8.0, 8.0)}  # by seed 1, 2


def two_arms() -> Config:
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
def config() -> Config:
    return two_arms()


@pytest.fixture
def two_benchmarks(config: Config) -> Config:
    """The same with a second benchmark and a CLIP as a reference."""
    references = {"clip": {"clip": "ViT-B-32", "pretrained": "openai"}}
    return validate(
        config.model_dump() | {"evaluate": {"benchmarks": ["mini_context", "mini_voc"]}, "references": references}
    )


@pytest.fixture
def three_seeds(config: Config) -> Config:
    """Another order of arms, benchmarks and seeds, and an interval of 80 %."""
    return validate(
        config.model_dump()
        | {
            "seeds": [4, 1, 9],
            "arms": {"cocu": {"train": {"prompts": {"source": "archive"}}}, "groupvit": {}},
            "evaluate": {"benchmarks": ["mini_voc", "mini_context"]},
            "report": {"confidence": 0.8},
        }
    )


def write_result(
    metrics: Path, arm: str, seed: int, benchmark: str, miou: float, changes: Changes | None = None
) -> None:
    """A result as the evaluation writes it, of two classes that are 2 points apart and one that does not occur."""
    one_label = arm == "one_label"
    result = {
        "arm": arm,
        "seed": seed,
        "benchmark": benchmark,
        "miou": miou,
        "iou": [miou + 1, miou - 1, None],
        "classes": ["background", "trait d'union", "caf\N{LATIN SMALL LETTER E WITH ACUTE}, noir"],
        "confusion": [[1, 0, 0], [0, 1, 0], [0, 0, 0]],
        "images": 16,
        "background": None if one_label else 0.25,
        "val_miou": None if one_label else miou + 0.1,
        "protocol": f"0123e{len(benchmark)}",  # a number to who does not know that it is a text
        "weights_sha256": f"{'cocu' if one_label else arm} {seed}",
        "card": {"limit": 0},
    }
    path = metrics / arm / str(seed) / f"{benchmark}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result | (changes or {})))


def compared(config: Config, metrics: Path) -> list[Row]:
    """The rows of the comparison of what lies in a folder of metrics."""
    return compare(config, collect(config, metrics, all_models(config)))


@pytest.fixture
def write_metrics(tmp_path: Path) -> Callable[..., Path]:
    """Writes the metrics of `MIOU`, on mini_voc with 10 points more; `changes` maps (arm, seed) to keys that differ."""

    def write(changes: dict[tuple[str, int], Changes] | None = None) -> Path:
        for benchmark, more in (("mini_context", 0.0), ("mini_voc", 10.0)):
            for arm, values in (MIOU | {"clip": (5.0,)}).items():
                for seed, miou in zip((0,) if arm == "clip" else (1, 2), values, strict=True):
                    other = (changes or {}).get((arm, seed))
                    write_result(tmp_path / "metrics", arm, seed, benchmark, miou + more, other)
        return tmp_path / "metrics"

    return write


@pytest.fixture
def quality_files(tmp_path: Path) -> list[Path]:
    """Two corpora; every source and measure has a value of its own, and the measures rise by different steps.

    Source k has precision 0.2 + k/10 and 0.05 more in the second corpus, recall 0.22 + k/10 and 0.1 more, recall of the
    missing 0.24 + k/10 and 0.15 more, and 2 + k/10 concepts and one more.
    """
    paths = []
    for i in range(2):
        sources = {}
        for k, source in enumerate(SOURCES):
            shares = {m: 0.2 + 0.1 * k + 0.02 * j + 0.05 * (j + 1) * i for j, m in enumerate(SHARES)}
            sources[source] = {**shares, "concepts": 2.0 + 0.1 * k + i}
        paths.append(tmp_path / f"quality{i}.json")
        paths[-1].write_text(json.dumps({"sources": sources}))
    return paths
