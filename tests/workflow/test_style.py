"""The checks of `make lint`, as tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def complaints(*module_and_arguments: str) -> str:
    """What a checker prints, with its exit code; nothing when it is content."""
    run = subprocess.run([sys.executable, "-m", *module_and_arguments], cwd=ROOT, capture_output=True, text=True)
    return f"exit code {run.returncode}\n{run.stdout}{run.stderr}" if run.returncode else ""


@pytest.mark.parametrize("arguments", [("check",), ("format", "--check")], ids=["lint", "format"])
def test_ruff(arguments: tuple[str, ...]) -> None:
    assert complaints("ruff", *arguments, ".") == ""


@pytest.mark.slow
def test_mypy() -> None:
    assert complaints("mypy") == ""


def test_snakefmt() -> None:
    assert complaints("snakefmt.snakefmt", "--check", "Snakefile", "workflow") == ""


def test_snakemake_lint() -> None:
    assert complaints("snakemake", "--lint") == ""


def test_the_lock_is_complete_and_needs_no_display_library() -> None:
    from importlib.metadata import distributions

    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
    assert all(line.count("==") == 1 for line in lines)
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    assert "opencv-python-headless" in pinned
    assert "opencv-python" not in pinned
    installed = {d.metadata["Name"].lower().replace("_", "-") for d in distributions()}
    assert installed >= {"torch", "snakemake"}


def test_no_file_names_a_package_index() -> None:
    names = ["requirements.lock", "pyproject.toml", "Makefile", "workflow/envs/cocu.yaml"]
    assert not [name for name in names if "index-url" in (ROOT / name).read_text()]
