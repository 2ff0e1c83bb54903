"""Files at the edge: atomic writes, hashes and manifests.

Everything is written under a temporary name and renamed, so that a file that exists is whole.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cocu.errors import DataError, EnvironmentFault


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, for a file or a folder; renamed onto it on success, removed on failure.

    Raises `EnvironmentFault` when the disk is full or the place cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(temporary)
        yield temporary
        if temporary.is_dir() and path.exists():
            _remove(path)
        os.replace(temporary, path)
    except OSError as error:
        _remove(temporary)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise EnvironmentFault(f"No room left while writing {path}: free some disk space and run again.") from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise EnvironmentFault(
                f"{path} cannot be written ({error.strerror}): check the folder's owner and mount."
            ) from error
        raise
    except BaseException:
        _remove(temporary)
        raise


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def delete_others(folder: Path, wanted: Collection[Path]) -> None:
    """Delete the files below `folder` that end like the wanted ones and are none of them: of parts that are no more."""
    ends = {path.suffix for path in wanted}
    for stale in [p for p in folder.rglob("*") if p.suffix in ends and p not in wanted and not p.name.startswith(".")]:
        stale.unlink()


def hold(lock: Path) -> None:
    """Lock a file until this process ends, however it ends: a lock of existence would outlive a kill -9.

    Raises `EnvironmentFault` when another process holds it, or the place cannot be written.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_CREAT | os.O_WRONLY)  # never closed: the lock goes with the process
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise EnvironmentFault(
            f"Another workflow is at work on {lock.parent} (it holds {lock}): wait for it, or end it."
        ) from None
    except OSError as error:
        raise EnvironmentFault(
            f"{lock.parent} cannot be written ({error.strerror}): check the folder's owner and mount."
        ) from error


def write_text(path: Path, text: str) -> None:
    """`text` in UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """`value` as indented JSON with sorted keys, atomically."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def read_json(path: Path) -> Any:
    """The JSON value in `path`; a missing or damaged file is a `DataError`."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}. Run the stage that writes it first.") from error
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON ({error}). Delete it and run again.") from error


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex; a file that cannot be read is a `DataError`."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}. Make it first, or give another path.") from error
