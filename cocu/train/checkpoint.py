"""The training state: what a killed run goes on from, bit by bit. It lives outside the rule's outputs, under a lock.

One file a state folder, replaced whole; read with `weights_only`, so that a checkpoint can hold no code.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cocu.errors import DataError
from cocu.io import atomic_path, write_text
from cocu.log import say

STATE, METRICS = "state.pt", "metrics.jsonl"


@dataclass(frozen=True)
class Progress:
    """Where a run stands: steps done, and the validation curve so far as (step, mIoU in percent)."""

    step: int = 0
    curve: tuple[tuple[int, float], ...] = ()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the state folder for one process. Raises `DataError` when another one, an orphan maybe, holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataError(
                f"Another process is training in {folder}. Wait for it, or end it (`fuser {folder / 'lock'}` names it)."
            ) from error
        yield


def save(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """The whole state, atomically."""
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "step": progress.step,
        "curve": [list(point) for point in progress.curve],
    }
    with atomic_path(folder / STATE) as temporary:
        torch.save(state, temporary)


def restore(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device) -> Progress:
    """Load the state, if there is one, into model, optimizer and generators. A damaged one is put aside and said."""
    path = folder / STATE
    if not path.exists():
        return Progress()
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    except Exception as error:  # torch raises whatever the damaged bytes lead it to
        aside = path.with_suffix(".damaged")
        path.replace(aside)
        raise DataError(
            f"{path} is damaged ({error}) and was moved to {aside}. Run again: training starts anew."
        ) from error
    torch.set_rng_state(state["rng"].cpu())
    if state["cuda_rng"]:
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda_rng"]])
    progress = Progress(int(state["step"]), tuple((int(s), float(m)) for s, m in state["curve"]))
    _cut_metrics(folder / METRICS, progress.step)
    say(f"Resuming at step {progress.step} from {path}.")
    return progress


def append_metrics(folder: Path, line: dict[str, Any]) -> None:
    """One JSON line; the file outlives retries."""
    with (folder / METRICS).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")


def _cut_metrics(path: Path, step: int) -> None:
    """Drop the lines of steps that will run again, and a last line that a kill left unfinished."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except ValueError:
            break
    write_text(path, "".join(f"{line}\n" for line in kept))
