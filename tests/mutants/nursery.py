"""A process that has imported the large libraries and forks once for each run of pytest: to import torch takes longer
than most tests.

`python -m tests.mutants.nursery LIBRARY ...` reads jobs as lines of JSON and answers each with a line, the exit code or
null where the run was stopped. The package under test is imported in the forked process alone, from the job's folder.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

PYTEST = ("-x", "-q", "-p", "no:cacheprovider", "-n0")
ELSEWHERE = 70  # exit code: the tests would run another copy of the package


@dataclass(frozen=True)
class Job:
    """Run `tests` in `folder`, for `limit` seconds at most, and write what pytest prints to the file `log`.

    package: what must be imported from `folder`; caches: the folder of numba's compiled code.
    """

    folder: str
    package: str
    tests: Sequence[str]
    caches: str
    log: str
    limit: float

    def line(self) -> str:
        """The job as the nursery reads it."""
        return json.dumps(asdict(self)) + "\n"


def environment(folder: Path, caches: Path) -> dict[str, str]:
    """Of the tests, and of the processes that they start."""
    ours = {"PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(caches), "OMP_NUM_THREADS": "1"}
    return {**os.environ, **ours, "PYTHONDONTWRITEBYTECODE": "1"}  # .pyc files know a source's time in seconds only


def main(libraries: Sequence[str]) -> None:
    """Serve until the input ends."""
    for library in libraries:
        import_module(library)
    for line in sys.stdin:
        job = Job(**json.loads(line))
        child = os.fork()
        if not child:
            _run(job)
        print(json.dumps(_ended(child, job.limit)), flush=True)


def _ended(child: int, limit: float) -> int | None:
    """The exit code of a child, or None when it had to be killed, with the processes that it started."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        finished, status = os.waitpid(child, os.WNOHANG)
        if finished:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _run(job: Job) -> None:
    """pytest, in the forked process, which ends here."""
    code = ELSEWHERE
    try:
        os.setsid()
        for descriptor, path, flags in ((0, os.devnull, os.O_RDONLY), (1, job.log, os.O_WRONLY | os.O_APPEND)):
            os.dup2(os.open(path, flags), descriptor)
        os.dup2(1, 2)
        os.chdir(job.folder)
        os.environ |= environment(Path(job.folder), Path(job.caches))
        sys.path.insert(0, job.folder)
        if numba := sys.modules.get("numba"):
            numba.config.CACHE_DIR = job.caches  # it has read the environment already
        for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", job.package)]:
            del sys.modules[name]
        spec = find_spec(job.package)
        if spec is None or not Path(str(spec.origin)).is_relative_to(job.folder):
            print(f"The tests would run {spec and spec.origin}, which is not in {job.folder}")
            return
        import pytest

        code = int(pytest.main([*PYTEST, *job.tests]))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
