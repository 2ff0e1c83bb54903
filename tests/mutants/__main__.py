"""`python -m tests.mutants [NAME ...]`: does a fast test fail for every one-line change of the table?

Takes the mutants whose names contain one of the words that are given, or all; prints `killed`, `survived` or `error`
with the seconds for each, and a count. Each is tried in a copy of the working tree, never in the tree itself. The exit
code is 0 when all are killed, else 1: an error is a text that is not in its file exactly once, or tests that fail on
the unchanged code or end in anything but a failed test.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from queue import SimpleQueue

from tests.mutants.mutant import Mutant
from tests.mutants.table import TABLE

ROOT = Path(__file__).parents[2]
LIMIT = 300.0  # seconds that a mutant's tests may take; a loop that does not end is noticed, too
FAILED = 1  # pytest's exit code for "tests ran, and some failed"
PYTEST = ("-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-n0")
COMPILER = "cocu/curate/jit.py"  # numba's cache does not notice edits in it


@dataclass(frozen=True)
class Verdict:
    """What became of one mutant. word: killed, survived or error; said: why, where the word does not say it."""

    name: str
    word: str
    seconds: float
    said: str = ""

    def __str__(self) -> str:
        return f"{self.word:9} {self.seconds:6.1f} s  {self.name}{f': {self.said}' if self.said else ''}"


class Tree:
    """A copy of the files that git tracks or would track, in which one process at a time runs tests.

    Raises `RuntimeError` when the tests in it would import another copy of the package.
    """

    def __init__(self, root: Path, folder: Path, package: str) -> None:
        self.folder, self._caches = folder / "tree", folder / "caches"
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.run(listed, cwd=root, capture_output=True, check=True, text=True).stdout.split("\0"):
            if name and (root / name).is_file():  # a file that was deleted may still be in the index
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, self.folder / name)
        where = f"import {package}; print({package}.__file__)"
        ran = subprocess.run(
            [sys.executable, "-c", where], cwd=self.folder, env=self._environment(self._caches), capture_output=True,
            text=True,
        )  # fmt: skip
        if not Path(ran.stdout.strip()).is_relative_to(self.folder):
            raise RuntimeError(f"The tests would run {ran.stdout or ran.stderr} in place of the copy {self.folder}.")

    def ends(self, tests: Sequence[str], limit: float, mutated: str = "") -> tuple[int | None, str]:
        """pytest's exit code, None where it was stopped at the limit, and the end of what it printed.

        Compiled code is kept for the next run, but not that of a file that is `mutated` now.
        """
        caches = self._caches
        if mutated:
            caches = self._caches.with_name("once")
            if self._caches.is_dir() and mutated != COMPILER:
                shutil.copytree(self._caches, caches)
        with subprocess.Popen(
            [sys.executable, *PYTEST, *tests], cwd=self.folder, env=self._environment(caches), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        ) as process:  # fmt: skip
            try:
                printed, _ = process.communicate(timeout=limit)
                code: int | None = process.returncode
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # the processes that a test started, too
                printed, code = process.communicate()[0], None
        if mutated:
            shutil.rmtree(caches, ignore_errors=True)
        return code, "\n".join(printed.splitlines()[-15:])

    @contextmanager
    def changed(self, mutant: Mutant) -> Iterator[None]:
        """The tree with the mutant in it; afterwards the file is as before, its time included."""
        path = self.folder / mutant.file
        before, text = path.stat(), path.read_bytes()
        path.write_bytes(text.replace(mutant.old.encode(), mutant.new.encode()))
        try:
            yield
        finally:
            path.write_bytes(text)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def occurrences(self, mutant: Mutant) -> int:
        """How often the text that is to be changed is in its file."""
        path = self.folder / mutant.file
        return path.read_text(encoding="utf-8").count(mutant.old) if path.is_file() else 0

    def _environment(self, caches: Path) -> dict[str, str]:
        ours = {"PYTHONPATH": str(self.folder), "NUMBA_CACHE_DIR": str(caches), "OMP_NUM_THREADS": "1"}
        return {**os.environ, **ours, "PYTHONDONTWRITEBYTECODE": "1"}  # .pyc files know seconds only


def verdicts(tree: Tree, mutants: Sequence[Mutant], limit: float) -> Iterator[Verdict]:
    """What becomes of mutants that have the same tests, which first run on the unchanged code."""
    code, printed = tree.ends(mutants[0].tests, limit)
    for mutant in mutants:
        started = time.monotonic()
        if code != 0:
            yield Verdict(mutant.name, "error", 0, f"its tests do not pass on the unchanged code\n{printed}")
        elif (times := tree.occurrences(mutant)) != 1:
            yield Verdict(mutant.name, "error", 0, f"{mutant.old!r} occurs {times} times in {mutant.file}")
        else:
            with tree.changed(mutant):
                word, said = _judged(*tree.ends(mutant.tests, limit, mutant.file), limit)
            yield Verdict(mutant.name, word, time.monotonic() - started, said)


def _judged(code: int | None, printed: str, limit: float) -> tuple[str, str]:
    if code is None:
        return "killed", f"its tests ran for more than {limit:.0f} s"
    if code == 0:
        return "survived", ""
    return ("killed", "") if code == FAILED else ("error", f"pytest ended with exit code {code}\n{printed}")


def main(
    arguments: Sequence[str], table: Sequence[Mutant] = TABLE, root: Path = ROOT, package: str = "cocu",
    limit: float = LIMIT,
) -> int:  # fmt: skip
    """Try the mutants that the arguments select; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.partition("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="a part of the names of the mutants to try")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants side by side (default: cores)")
    options = parser.parse_args(arguments)
    wanted = [m for m in table if not options.names or any(name in m.name for name in options.names)]
    if not wanted or len({m.name for m in table}) < len(table):
        print("No mutant has such a name." if not wanted else "Two mutants have one name.")
        return 1
    by_tests = groupby(sorted(wanted, key=lambda m: m.tests), key=lambda m: m.tests)
    groups = sorted(([*group] for _, group in by_tests), key=len, reverse=True)  # the longest first
    started, found = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        free: SimpleQueue[Tree] = SimpleQueue()
        for job in range(min(options.jobs, len(groups))):
            free.put(Tree(root, Path(folder).resolve() / str(job), package))

        def try_group(group: Sequence[Mutant]) -> None:
            tree = free.get()
            for verdict in verdicts(tree, group, limit):
                found.append(verdict)
                print(verdict, flush=True)
            free.put(tree)

        with ThreadPoolExecutor(free.qsize()) as pool:
            for _ in pool.map(try_group, groups):
                pass
    words = [verdict.word for verdict in found]
    counts = ", ".join(f"{words.count(word)} {word}" for word in ("killed", "survived", "error"))
    print(f"{len(words)} mutants in {time.monotonic() - started:.0f} s: {counts}")
    return int(words.count("killed") < len(wanted))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
