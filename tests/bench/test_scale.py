"""bench/scale.py runs, prints its figure, and leaves nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_scale_prints_its_peak_memory(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.scale", "--pairs", "25000", "--folder", str(tmp_path)]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    figure = json.loads(printed[0])
    assert figure.keys() == {"bench", "ratio", "target", "equal", "max_abs_diff"}
    assert figure["ratio"] > 1
    assert [line.split("  ")[0] for line in printed[3:6]] == ["similarities of the pool", "archives", "writing"]
    assert not list(tmp_path.iterdir())
