"""`python -m tests.mutants [NAME ...]`: does a fast test fail for every one-line change of the table?

Takes the mutants whose names contain one of the words that are given, or all; prints `killed`, `survived` or `error`
with the seconds for each, and a count. Each is tried in a copy of the working tree, never in the tree itself. The exit
code is 0 when all are killed, else 1: an error is a text that is not in its file exactly once, or tests that fail on
the unchanged code or end in anything but a failed test.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
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
from threading import Event

from tests.mutants import nursery
from tests.mutants.mutant import Mutant
from tests.mutants.table import TABLE

ROOT = Path(__file__).parents[2]
LIMIT = 300.0  # seconds that a mutant's tests may take; a loop that does not end is noticed, too
FAILED = 1  # pytest's exit code for "tests ran, and some failed"
LIBRARIES = ("torch", "torchvision", "open_clip", "transformers", "numba", "faiss", "pyarrow.parquet", "lemminflect")
COMPILER = "cocu/jit.py"  # numba's cache does not notice edits in it


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
    """A copy of the files that git tracks or would track, in which one process at a time runs tests."""

    def __init__(self, root: Path, folder: Path, package: str, libraries: Sequence[str]) -> None:
        self.folder, self._caches, self._log = folder / "tree", folder / "caches", folder / "log"
        self._package = package
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.run(listed, cwd=root, capture_output=True, check=True, text=True).stdout.split("\0"):
            if name and (root / name).is_file():  # a file that was deleted may still be in the index
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, self.folder / name)
        self._nursery = subprocess.Popen(
            [sys.executable, "-m", nursery.__name__, *libraries], cwd=ROOT, env=nursery.environment(ROOT, self._caches),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def close(self) -> None:
        """End the process that runs the tests."""
        self._nursery.communicate()

    def ends(self, tests: Sequence[str], limit: float, mutated: str = "") -> tuple[int | None, str]:
        """pytest's exit code, None where it was stopped at the limit, and the end of what it printed.

        Compiled code is kept for the next run, but not that of a file that is `mutated` now.
        """
        caches = self._caches
        if mutated:
            caches = self._caches.with_name("once")
            if self._caches.is_dir() and mutated != COMPILER:
                shutil.copytree(self._caches, caches)
        self._log.write_text("")
        job = nursery.Job(str(self.folder), self._package, tests, str(caches), str(self._log), limit)
        assert self._nursery.stdin is not None and self._nursery.stdout is not None
        self._nursery.stdin.write(job.line())
        self._nursery.stdin.flush()
        code = json.loads(self._nursery.stdout.readline())
        if mutated:
            shutil.rmtree(caches, ignore_errors=True)
        return code, "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])

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
    libraries: Sequence[str] = LIBRARIES, limit: float = LIMIT,
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
    started, found, stop = time.monotonic(), list[Verdict](), Event()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        trees = [
            Tree(root, Path(folder).resolve() / str(job), package, libraries)
            for job in range(min(options.jobs, len(groups)))
        ]
        free: SimpleQueue[Tree] = SimpleQueue()
        for tree in trees:
            free.put(tree)

        def try_group(group: Sequence[Mutant]) -> None:
            tree = free.get()
            for verdict in verdicts(tree, group, limit):
                found.append(verdict)
                print(verdict, flush=True)
                if stop.is_set():
                    break
            free.put(tree)

        with ThreadPoolExecutor(len(trees)) as pool:
            try:
                for _ in pool.map(try_group, groups):
                    pass
            except KeyboardInterrupt:
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            finally:
                pool.shutdown()
                for tree in trees:
                    tree.close()
    words = [verdict.word for verdict in found]
    counts = ", ".join(f"{words.count(word)} {word}" for word in ("killed", "survived", "error"))
    print(f"{len(words)} mutants in {time.monotonic() - started:.0f} s: {counts}")
    return int(words.count("killed") < len(wanted))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
