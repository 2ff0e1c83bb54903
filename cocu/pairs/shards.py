"""WebDataset shards: a strict reader and a deterministic writer.

Takes tar files of `NAME.jpg` + `NAME.txt` members; gives where their pairs lie, in tar order. A pair's key is
`set/shard/NAME`. WebDataset's own reader ends quietly where a tar is cut; here the whole tar is checked before its
first pair is known, and all that could shift or shorten the join between a shard and its side-cars is a `DataError`.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cocu.errors import DataError
from cocu.io import atomic_path, read_json
from cocu.layout import Corpus, side_car

IMAGE_SUFFIXES = frozenset({"jpg", "jpeg", "png", "webp"})
TEXT_SUFFIX = "txt"
END_OF_ARCHIVE = 2 * tarfile.BLOCKSIZE  # POSIX: two blocks of zeros


@dataclass(frozen=True)
class Pair:
    """One image-text pair; `image` is the encoded file."""

    key: str
    image: bytes
    caption: str


@dataclass(frozen=True)
class ShardFile:
    """A shard of a manifest: `shard`, SET/SHARD, begins its keys and names every file that is made from it.

    samples: its pairs, without those that are set aside; none where it is damaged and set aside as a whole. size: of
    the tar, in bytes, and sha256 its hash. index: the file that says where the pairs lie.
    """

    path: Path
    shard: str
    samples: int
    size: int
    sha256: str
    index: Path

    def key(self, name: str) -> str:
        """The key of its sample `name`."""
        return f"{self.shard}/{name}"


@dataclass(frozen=True)
class ShardIndex:
    """Where the pairs of a tar lie. `spans`: int64 (n, 4), image offset, image size, text offset, text size (bytes)."""

    names: pa.StringArray  # a tenth of the memory of str objects
    spans: NDArray[np.int64]
    other: int = 0  # members that are neither image nor text, such as img2dataset's .json


def write_shard(path: Path, samples: Iterable[tuple[str, bytes, str]]) -> int:
    """Write (name, encoded JPEG, caption) samples as a USTAR tar, atomically; returns their number.

    The same samples give the same bytes: no times, owners or host names go in. Raises `DataError` on a name that is
    used twice or that the reader would refuse.
    """
    seen: set[str] = set()
    with atomic_path(path) as temporary, _open_for_writing(temporary) as tar:
        for name, image, caption in samples:
            # WebDataset ends the sample's name at the first dot, so a dot in it would join or split samples.
            if name in seen or "." in name or _plain_name(name) != name:
                why = "is used twice" if name in seen else "has a dot, '..', a leading '/', or a control character"
                raise DataError(f"Cannot write {path}: the sample name {name!r} {why}. Rename the sample.")
            seen.add(name)
            for suffix, data in (("jpg", image), (TEXT_SUFFIX, caption.encode())):
                member = tarfile.TarInfo(f"{name}.{suffix}")
                member.size, member.mode = len(data), 0o644
                tar.addfile(member, io.BytesIO(data))
    return len(seen)


def index_shard(path: Path, skipped: Set[str] = frozenset()) -> ShardIndex:
    """Check all of a tar's headers and find its pairs, in tar order, without reading the images.

    Samples and members in `skipped` are passed over. Raises `DataError` naming the shard, and the member where there
    is one: a tar that is cut, damaged, compressed or empty; an image without text or a text without image; a name
    given twice; a link, a device, an unsafe name.
    """
    found: dict[str, dict[str, tarfile.TarInfo]] = {}
    other = 0
    for member in members(path):
        if member.name in skipped:
            continue
        kind, name = classify(path, member)
        if not kind or name in skipped:
            other += not kind and not member.isdir()
            continue
        parts = found.setdefault(name, {})
        if kind in parts:
            raise DataError(
                f"{path}: {member.name} is the second {kind} of the sample '{name}'. "
                "Names must differ within a shard: rewrite the shard."
            )
        parts[kind] = member
    for name, parts in found.items():
        for kind, missing in (("image", "text"), ("text", "image")):
            if missing not in parts:
                raise DataError(
                    f"{path}: {parts[kind].name} has no {missing} beside it (sample '{name}'). "
                    "Every image needs a .txt of the same name: add it or remove the member."
                )
    if not found:
        raise DataError(f"The shard {path} holds no pairs. Re-download it or remove it from the list.")
    spans = [(p["image"].offset_data, p["image"].size, p["text"].offset_data, p["text"].size) for p in found.values()]
    return ShardIndex(pa.array(found, pa.string()), np.array(spans, np.int64), other)


def members(path: Path) -> Iterator[tarfile.TarInfo]:
    """The members of a tar, whose end is checked after the last; `DataError` where it is cut or damaged."""
    try:
        with tarfile.open(path, "r:", encoding="utf-8") as tar:
            yield from tar
            _check_end(path, tar.offset)
    except OSError as error:
        raise DataError(f"Cannot read the shard {path}: {error.strerror or error}.") from error
    except tarfile.TarError as error:
        raise _damaged(path, str(error)) from error


def manifest_shards(manifest: Path) -> list[ShardFile]:
    """The shards that a corpus's `manifest.json` lists, in order, with resolved paths."""
    value, folder = read_json(manifest), Corpus(manifest.parent)
    try:
        return [
            ShardFile(
                (folder.root / entry["path"]).resolve(),
                str(entry["shard"]),
                int(entry["samples"]),
                int(entry["bytes"]),
                str(entry["sha256"]),
                side_car(folder.index, entry["shard"]),
            )
            for entry in value["shards"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{manifest} is not the manifest of a corpus ({error!r}). Run the corpus stage again."
        ) from error


def manifest_entry(file: ShardFile, folder: Path, damage: str = "") -> dict[str, Any]:
    """What the manifest in `folder` says of a shard; one of its own has a path in it."""
    inside = file.path.is_relative_to(folder.resolve())
    path = file.path.relative_to(folder.resolve()) if inside else file.path
    entry = {"shard": file.shard, "path": str(path), "samples": file.samples, "bytes": file.size, "sha256": file.sha256}
    return {**entry, "damage": damage} if damage else entry


def _open_for_writing(path: Path) -> tarfile.TarFile:
    return tarfile.open(path, "w:", format=tarfile.USTAR_FORMAT, encoding="utf-8")  # not the locale's encoding


def classify(path: Path, member: tarfile.TarInfo) -> tuple[str, str]:
    """('image' | 'text' | '', sample name) of a member, split at the first dot of its last part, as WebDataset does."""
    name = _plain_name(member.name)
    if name is None:
        raise DataError(
            f"{path}: the member name {member.name!r} is absolute, climbs out with '..', or is not plain text."
        )
    if member.isdir():
        return "", ""
    if not member.isreg():
        raise DataError(f"{path}: {member.name} is a link or a device, not a file. Rewrite the shard without it.")
    folder, _, last = name.rpartition("/")
    base, _, suffix = last.partition(".")
    kind = "image" if suffix.lower() in IMAGE_SUFFIXES else "text" if suffix.lower() == TEXT_SUFFIX else ""
    return kind, f"{folder}/{base}" if folder else base


def _plain_name(name: str) -> str | None:
    """The name without './' and doubled slashes; None when it is unsafe or cannot be written as UTF-8."""
    parts = PurePosixPath(name).parts
    if not name or name.startswith("/") or ".." in parts or not name.isprintable():  # surrogates are not printable
        return None
    return "/".join(parts)


def _check_end(path: Path, offset: int) -> None:
    """Python's tarfile takes a damaged header for the end; only zeros to the end of the file are one."""
    with path.open("rb") as stream:
        stream.seek(offset)
        zeros = 0
        while block := stream.read(1 << 20):
            zeros += len(block)
            if block.count(0) != len(block):
                raise _damaged(path, f"a damaged header, or a second archive, after byte {offset}")
    # tarfile has stepped over the first block of zeros where it met one, and stays before anything else.
    if zeros < END_OF_ARCHIVE:
        raise _damaged(path, f"it is cut at byte {offset + zeros}")


def _damaged(path: Path, why: str) -> DataError:
    return DataError(f"The shard {path} is not a whole tar file: {why}. Re-download it or remove it from the list.")


def read_span(descriptor: int, path: Path, offset: int, size: int) -> bytes:
    """`size` bytes of an open shard; a `DataError` naming its path when it has become shorter."""
    data = os.pread(descriptor, size, offset)
    if len(data) != size:
        raise _damaged(path, f"it became shorter than byte {offset + size} while it was in use")
    return data


def decode_caption(data: bytes, path: Path, key: str) -> str:
    """The text of a caption; a `DataError` naming its key when it is not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: the caption of {key} is not UTF-8 ({error}). Convert or remove it.") from error
