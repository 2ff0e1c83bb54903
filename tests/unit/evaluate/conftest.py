"""The model that can be read by eye, its benchmarks, and a checkpoint on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from cocu.benchmarks.definitions import Benchmark
from cocu.model.groupvit import GroupViT
from cocu.model.hub import save_model
from tests.unit.segment.conftest import benchmark_of, model, normalisation, scenes, write_voc

__all__ = ["benchmark_of", "model", "normalisation", "scenes", "write_voc"]


@pytest.fixture
def checkpoint(
    tmp_path: Path, model: Any, benchmark_of: Callable[..., Benchmark], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A GroupViT that learned nothing, and the benchmark's YAML where the working directory has it."""
    torch.manual_seed(0)
    save_model(tmp_path / "checkpoint", GroupViT(model.config), {})
    (tmp_path / "config/benchmarks").mkdir(parents=True)
    fields = benchmark_of().model_dump(mode="json", exclude={"name"})
    (tmp_path / "config/benchmarks/tiny.yaml").write_text(yaml.safe_dump(fields))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "checkpoint"
