"""Files at the edge: atomic writes, hashes, manifests, and the fingerprint of the code that a stage runs.

Everything is written under a temporary name and renamed, so that a file that exists is whole.
"""

from __future__ import annotations

import ast
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cocu.errors import DataError, EnvironmentFault

# Modules that carry values, files or messages but decide no number: a stage's fingerprint leaves them out, since the
# values they carry are fingerprinted by configuration section.
PLUMBING = frozenset(
    {"cocu.cli", "cocu.config", "cocu.data_sections", "cocu.errors", "cocu.fit", "cocu.io", "cocu.layout"}
    | {"cocu.log", "cocu.rand_augment", "cocu.sections"}
)


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


def code_fingerprint(module: str) -> str:
    """12 hex digits of the sources of `module` and of everything it imports from `cocu`, plumbing aside.

    Snakemake does not see edits in a package that a shell command calls; a rule passes this as a parameter instead.
    """
    root = Path(__file__).parent.parent
    seen: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name in seen or name in PLUMBING or not (path := _source(root, name)):
            continue
        seen.add(name)
        todo += _imports(path)
    joined = hashlib.sha256()
    for name in sorted(seen):
        path = _source(root, name)
        assert path is not None
        joined.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return joined.hexdigest()[:12]


def _source(root: Path, module: str) -> Path | None:
    base = root.joinpath(*module.split("."))
    return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)


def _imports(path: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names += [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
    return [n for n in names if n.startswith("cocu.")]
