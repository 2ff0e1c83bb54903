"""Shards that are no local files: http(s)://, what else fsspec opens, and `pipe:COMMAND`. Copied once, then read."""

from __future__ import annotations

import errno
import hashlib
import subprocess
from pathlib import Path
from typing import Any

from cocu.data_sections import is_remote
from cocu.errors import DataError, missing
from cocu.io import atomic_path
from cocu.log import say

STALL = 60.0  # seconds in which a web server must send something; a shard as a whole may take any time
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What to install for an address; for others, the package that its file system asks for.
_EXTRAS = {"s3": "'cocu[s3]'", "s3a": "'cocu[s3]'", "gs": "'cocu[gs]'", "gcs": "'cocu[gs]'"}


def fetched(shard: str, folder: Path) -> Path:
    """The local path of a shard: itself (absolute), or its copy in `folder`, made now or by an earlier run.

    Web addresses go through the proxy that the environment names (http_proxy, no_proxy and so on). `pipe:COMMAND` is
    what COMMAND, run by the shell, writes to its standard output. Raises `DataError` naming the shard when it cannot be
    had whole, `EnvironmentFault` when a package for its kind of address is missing.
    """
    if not is_remote(shard):
        return Path(shard).absolute()
    # A name for each address: another address with the same last part is another shard.
    path = folder.absolute() / f"{hashlib.sha256(shard.encode()).hexdigest()[:12]}.tar"
    if not path.is_file():
        say(f"fetching {shard}")
        with atomic_path(path) as temporary:
            temporary.touch()  # a folder that cannot be written is not the shard's fault
            _fetch(shard, temporary)
    return path


def _fetch(shard: str, to: Path) -> None:
    try:
        if shard.startswith("pipe:"):
            _run(shard.removeprefix("pipe:"), to)
        else:
            _download(shard, to)
    except ImportError as error:
        package = getattr(error.__cause__, "name", None) or error.name
        raise missing(f"The shard {shard}", _EXTRAS.get(shard.partition("://")[0]) or str(package), error) from error
    except Exception as error:  # each of fsspec's file systems raises what its library does
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise
        raise DataError(
            f"Cannot fetch the shard {shard} ({_reason(error)}). Check its address, and run again."
        ) from error


def _download(shard: str, to: Path) -> None:
    """Copy what fsspec opens. A body that ends before its Content-Length is an error of aiohttp's."""
    from fsspec.core import url_to_fs

    options: dict[str, Any] = {}
    if web := shard.startswith(("http://", "https://")):
        from aiohttp import ClientTimeout

        limits = ClientTimeout(total=None, sock_connect=STALL, sock_read=STALL)
        # An address with a % has been quoted by its author, and a signature in it may hold for these letters alone.
        options = {"client_kwargs": {"trust_env": True, "timeout": limits}, "encoded": "%" in shard}
    files, path = url_to_fs(shard, **options)
    try:
        files.get_file(path, str(to))
    except TimeoutError as error:
        raise TimeoutError(f"nothing came for {STALL:g} s" if web else _reason(error)) from error


def _run(command: str, to: Path) -> None:
    with to.open("wb") as stream:
        ended = subprocess.run(command, shell=True, stdout=stream, stderr=subprocess.PIPE, check=False)
    if ended.returncode:
        said = ended.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise OSError(f"the command ended with status {ended.returncode}: {said[-1]}")


def _reason(error: BaseException) -> str:
    """What an error says; some libraries raise with the address alone, or without a word."""
    if isinstance(error, FileNotFoundError) and error.errno is None:
        return "there is no such file"
    return str(error) or str(error.__cause__ or "") or type(error).__name__
