"""A copy of the repository to run Snakemake in, so that tests may edit code and configuration."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "cocu", "config", "profiles", "workflow")


@dataclass(frozen=True)
class Checkout:
    """A copy of what the workflow needs, at `root`."""

    root: Path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Snakemake with the copy's own code, in a process group of its own."""
        command = [sys.executable, "-m", "snakemake", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(self.root)}
        return subprocess.Popen(
            command,
            cwd=self.root,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def snakemake(self, *arguments: str, code: int = 0) -> str:
        """What Snakemake says; its exit code must be `code`."""
        process = self.start(*arguments)
        said, _ = process.communicate()
        assert process.returncode == code, said
        return said

    def planned(self, *arguments: str) -> dict[str, int]:
        """The jobs that a dry run lists: how many of each rule, without `all`."""
        said = self.snakemake("-n", "--quiet", "rules", *arguments)
        return parse_stats(said)

    def append(self, file: str, text: str) -> None:
        with (self.root / file).open("a") as stream:
            stream.write(text)


def parse_stats(said: str) -> dict[str, int]:
    """Rule -> number of jobs, from the first table of job counts."""
    table = re.search(r"^job +count\n-[- ]+\n((?:\w+ +\d+\n)+)", said, re.MULTILINE)
    if not table:
        assert "Nothing to be done" in said, said
        return {}
    counts = dict(line.split() for line in table[1].splitlines())
    return {rule: int(n) for rule, n in counts.items() if rule not in ("all", "total")}


def make_checkout(root: Path) -> Checkout:
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, root / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            root.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, root / part)
    return Checkout(root)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A fresh copy, without results."""
    return make_checkout(tmp_path / "with blank")
