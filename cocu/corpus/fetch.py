"""Shards that are no local files: whatever webdataset opens (http://, s3://, pipe: ...) is copied once, then read."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

from cocu.errors import DataError
from cocu.io import atomic_path
from cocu.log import say

_TAR = re.compile(r"([^\s/'\"=?&]+\.tar)\b")


def fetched(shard: str, folder: Path) -> Path:
    """The local path of a shard: itself (absolute), or its copy in `folder`, made now or by an earlier run.

    Raises `DataError` naming the shard when it cannot be opened or its address names no .tar file.
    """
    if not (shard.startswith("pipe:") or "://" in shard):
        return Path(shard).absolute()
    names = _TAR.findall(shard)
    if not names:
        raise DataError(f"The shard {shard} names no .tar file, after which its pairs are called. Correct the pattern.")
    # A folder for each address: another address with the same last part is another shard.
    path = folder.absolute() / hashlib.sha256(shard.encode()).hexdigest()[:12] / str(names[-1])
    if not path.is_file():
        from webdataset.gopen import gopen

        say(f"fetching {shard}")
        try:
            with atomic_path(path) as temporary, gopen(shard, "rb") as stream, temporary.open("wb") as copy:
                shutil.copyfileobj(stream, copy, 1 << 20)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"Cannot fetch the shard {shard} ({error}). Check its address, and run again.") from error
    return path
