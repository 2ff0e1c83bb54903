"""Progress and run cards: a bar on a terminal, plain lines in a log; what ran, on what, for how long."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
PACKAGES = ("cocu", "torch", "numpy", "open_clip_torch", "faiss-cpu", "faiss-gpu", "mmsegmentation", "snakemake")
LOG_SECONDS = 15.0


def say(message: str) -> None:
    """One line for the user, on standard error."""
    print(message, file=sys.stderr, flush=True)


def progress(items: Iterable[T], *, total: int, what: str) -> Iterator[T]:
    """Pass `items` through; show a bar on a terminal, or a line every 15 seconds elsewhere."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track

        yield from track(items, description=what, total=total, console=Console(stderr=True))
        return
    started = last = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - last >= LOG_SECONDS:
            last = now
            say(f"{what}: {done:,} of {total:,} ({done / (now - started):.1f}/s)")
        yield item
    say(f"{what}: {total:,} in {time.monotonic() - started:.1f} s")


class RunCard:
    """What a result was made by. Make one when a stage begins; `card()` when it ends."""

    def __init__(self, stage: str, **facts: Any) -> None:
        self._stage, self._facts = stage, facts
        self._wall, self._cpu = time.monotonic(), time.process_time()
        self._at = datetime.now(UTC).isoformat(timespec="seconds")

    def card(self) -> dict[str, Any]:
        """Stage, facts, versions, commit, hardware, start (UTC), wall and CPU seconds."""
        return {
            "stage": self._stage,
            **self._facts,
            "started": self._at,
            "wall_s": round(time.monotonic() - self._wall, 1),
            "cpu_s": round(time.process_time() - self._cpu, 1),
            "commit": _commit(),
            "python": platform.python_version(),
            "versions": {p: v for p in PACKAGES if (v := _version(p))},
            "hardware": {"machine": platform.machine(), "cpu": _cpu(), "cores": os.cpu_count(), "gpus": _gpus()},
        }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _commit() -> str:
    """The checkout's commit, with `+` when files differ from it; empty outside a checkout."""
    here = Path(__file__).parent
    try:
        run = ["git", "-C", str(here), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
        return subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def _gpus() -> list[str]:
    torch = sys.modules.get("torch")  # naming the GPUs is not worth an import of torch
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
