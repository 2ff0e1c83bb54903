"""The runner on a toy project: what is killed, what survives, and what is no experiment at all."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.mutants import nursery
from tests.mutants.__main__ import ROOT, Tree, main
from tests.mutants.mutant import Mutant, changes
from tests.mutants.table import TABLE

ADD = "def add(x, y):\n    return x + y\n\n\ndef sub(x, y):\n    return x - y\n"
TEST = "from toy.sums import add\n\n\ndef test_add():\n    assert add(2, 1) == 3\n"
SUMS = ("test_sums.py",)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A git checkout of a package `toy`, and a file that git ignores."""
    folder = tmp_path / "project"
    files = {"toy/__init__.py": "", "toy/sums.py": ADD, "test_sums.py": TEST, ".gitignore": "/large\n", "large": ""}
    files["test_broken.py"] = "def test_that_fails_already():\n    assert False\n"
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    return folder


def run(root: Path, *table: Mutant, names: tuple[str, ...] = ()) -> int:
    return main([*names, "--jobs", "1"], table, root, "toy", ())


KILLED, SURVIVED, ABSENT, TWICE, BROKEN = changes(
    "toy/sums.py",
    SUMS,
    ("subtracts", "x + y", "x - y"),
    ("turns the other function round", "x - y", "y - x"),
    ("is not there", "x * y", "x"),
    ("is there twice", "return x", "return y"),
    ("cannot be imported", "x + y", "x +"),
)


def test_only_a_test_that_fails_kills(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(root, KILLED, SURVIVED, ABSENT, TWICE, BROKEN) == 1
    printed = capsys.readouterr().out.splitlines()
    lines = [line for line in printed if re.match(r"(killed|survived|error) +\d+\.\d s|\d+ mutants", line)]
    assert [re.sub(r" +\d+\.\d s  |in \d+ s", " ", line) for line in lines] == [
        "killed subtracts",
        "survived turns the other function round",
        "error is not there: 'x * y' occurs 0 times in toy/sums.py",
        "error is there twice: 'return x' occurs 2 times in toy/sums.py",
        "error cannot be imported: pytest ended with exit code 2",
        "5 mutants  : 1 killed, 1 survived, 3 error",
    ]
    assert (root / "toy/sums.py").read_text() == ADD


def test_tests_that_fail_already_or_are_none_kill_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failing = Mutant("fails", "toy/sums.py", "x + y", "x - y", ("test_broken.py",))
    nowhere = Mutant("nowhere", "toy/sums.py", "x + y", "x - y", ("test_sums.py::test_subtract",))
    assert run(root, failing, nowhere) == 1
    said = capsys.readouterr().out
    assert said.count("its tests do not pass on the unchanged code") == 2
    assert "test_that_fails_already" in said and "not found" in said
    assert said.splitlines()[-1].endswith(": 0 killed, 0 survived, 2 error")


def test_names_select(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(root, KILLED, SURVIVED, names=("subt", "nothing")) == 0
    assert re.fullmatch(
        r"killed +\d+\.\d s  subtracts\n1 mutants in \d+ s: 1 killed, 0 survived, 0 error\n", capsys.readouterr().out
    )
    assert run(root, KILLED, SURVIVED, names=("nothing",)) == 1


def test_the_copy_has_what_git_tracks_or_would_track_and_is_what_runs(root: Path, tmp_path: Path) -> None:
    tree = Tree(root, tmp_path / "copies", "toy", ())
    assert sorted(p.name for p in tree.folder.iterdir()) == [".gitignore", "test_broken.py", "test_sums.py", "toy"]
    time = (tree.folder / "toy/sums.py").stat().st_mtime_ns
    with tree.changed(KILLED):
        assert "x - y\n\n\ndef sub" in (tree.folder / "toy/sums.py").read_text()
    assert (tree.folder / "toy/sums.py").stat().st_mtime_ns == time == (root / "toy/sums.py").stat().st_mtime_ns
    assert tree.ends(SUMS, 0.01) == (None, "")  # stopped before it printed anything
    tree.close()
    other = Tree(root, tmp_path / "other", "numpy", ())
    code, said = other.ends(SUMS, 60)
    other.close()
    assert code == nursery.ELSEWHERE and re.match(r"The tests would run .*/numpy/__init__\.py", said)


def test_the_table_has_one_name_a_mutant_and_changes_each_line() -> None:
    assert len({mutant.name for mutant in TABLE}) == len(TABLE)
    assert all(mutant.old != mutant.new and mutant.tests for mutant in TABLE)


def test_the_table_is_of_this_code() -> None:
    stale = [m.name for m in TABLE if (ROOT / m.file).read_text(encoding="utf-8").count(m.old) != 1]
    assert not stale, f"what these change is not there, or twice: {stale}"
    lost = {test for m in TABLE for test in m.tests if not (ROOT / test.partition("::")[0]).is_file()}
    assert not lost, f"no such tests: {lost}"
