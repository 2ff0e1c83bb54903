"""A server with nothing installed but Python: no git, no curl, nothing of PATH but the environment's own programs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cocu.log import RunCard

ROOT = Path(__file__).parents[2]
BARE = str(Path(sys.executable).parent)
TOUCHING_FILES = (  # shards, their copies from elsewhere, and what is written
    "tests/unit/pairs",
    "tests/unit/mini/test_build.py",
    "tests/unit/benchmarks/test_coco_object.py",
    "tests/unit/cli/test_data.py",
    "tests/unit/test_io.py",
    "tests/failure/test_damaged_shards.py",
)


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", BARE)
    if found := [program for program in ("git", "curl", "cat") if shutil.which(program)]:
        pytest.skip(f"{BARE} is no environment of its own: it holds {', '.join(found)}")


def test_a_run_card_names_no_commit_without_git() -> None:
    card = RunCard("corpus").card()
    assert card["commit"] == "" and card["python"]


@pytest.mark.slow
def test_files_and_shards_need_no_program() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *TOUCHING_FILES]
    ran = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
