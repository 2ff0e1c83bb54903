"""The training state: what a killed run goes on from, bit by bit. It lives outside the rule's outputs, under a lock.

Two states a folder, each replaced whole; read with `weights_only`, so that a checkpoint can hold no code. A file whose
bytes are damaged is put aside, and the earlier state serves; any other error leaves the files as they are.
"""

from __future__ import annotations

import fcntl
import json
import pickle
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cocu.errors import DataError, NumericsError
from cocu.io import atomic_path, write_text
from cocu.log import say

STATE, EARLIER, METRICS = "state.pt", "state.earlier.pt", "metrics.jsonl"


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


def check_finite(model: nn.Module, step: int) -> None:
    """Raise `NumericsError` when a weight or a buffer is not finite after `step`, before anything of it is kept."""
    bad = [name for name, value in model.state_dict().items() if not torch.isfinite(value).all()]
    if bad:
        raise NumericsError(
            f"After step {step}, {len(bad)} of the model's {len(model.state_dict())} tensors are not finite, the first "
            f"is {bad[0]}. Nothing of it was saved, and the last checkpoint is whole: lower train.lr, and run again."
        )


def save(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """The whole state, atomically; the last one stays as the earlier one. Raises what `check_finite` raises."""
    check_finite(model, progress.step)
    device = next(model.parameters()).device
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "device_rng": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "step": progress.step,
        "curve": [list(point) for point in progress.curve],
    }
    with atomic_path(folder / STATE) as temporary:
        torch.save(state, temporary)
        if (folder / STATE).exists():
            (folder / STATE).replace(folder / EARLIER)


def restore(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device) -> Progress:
    """Load the latest state that is whole, if there is one, into model, optimizer and generators.

    The device's random numbers go on where the state was saved on one of its kind; the number of devices is no matter.
    Raises `DataError` for a state of another model.
    """
    for path in (folder / STATE, folder / EARLIER):
        state = _read(path)
        if state is not None:
            break
    else:
        return Progress()
    try:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    except (KeyError, ValueError) as error:
        raise _of_another_model(path, error) from error
    except RuntimeError as error:
        if "state_dict" not in str(error):  # out of memory, and the like
            raise
        raise _of_another_model(path, error) from error
    torch.set_rng_state(state["rng"])
    if device.type == "cuda" and state["device_rng"] is not None:
        torch.cuda.set_rng_state(state["device_rng"], device)
    progress = Progress(int(state["step"]), tuple((int(s), float(m)) for s, m in state["curve"]))
    _cut_metrics(folder / METRICS, progress.step)
    say(f"Resuming at step {progress.step} from {path}.")
    return progress


def remove_states(folder: Path) -> None:
    """Delete what a finished run has no more use for; the metrics stay."""
    for name in (STATE, EARLIER):
        (folder / name).unlink(missing_ok=True)


def append_metrics(folder: Path, line: dict[str, Any]) -> None:
    """One JSON line; the file outlives retries."""
    with (folder / METRICS).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")


def _read(path: Path) -> dict[str, Any] | None:
    """The state in a file; None where there is none, or its bytes are damaged: it is then put aside, and said."""
    if not path.exists():
        return None
    try:
        # torch's own reader does not compare the checksums of large records
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
        if broken is None:
            # On the CPU: a device has no room for a second copy of everything.
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            return state
        why: object = f"{broken} in it"
    except (zipfile.BadZipFile, zlib.error, EOFError, pickle.UnpicklingError) as error:
        why = error
    aside = path.with_suffix(".damaged")
    path.replace(aside)
    say(f"The training state {path} is damaged ({why}) and was moved to {aside}. The one before it serves, if any.")
    return None


def _of_another_model(path: Path, error: Exception) -> DataError:
    return DataError(
        f"The training state {path} is of another model ({error}). Delete {path.parent}, and run again: training "
        "starts anew."
    )


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
