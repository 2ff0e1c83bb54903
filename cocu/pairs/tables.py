"""The Parquet side-cars of curation, one file a shard: captions and archives, and the check that they belong together.

Rows are in tar order and joined by key. A list column is given and taken as CSR: row i is
`values[indptr[i]:indptr[i + 1]]`. The same content gives the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cocu.errors import DataError
from cocu.io import atomic_path, read_json
from cocu.layout import MANIFEST, side_car

CAPTIONS = pa.schema([("key", pa.string()), ("caption", pa.string()), ("concepts", pa.list_(pa.uint16()))])
ARCHIVE = pa.schema(
    [
        ("key", pa.string()),
        ("concepts", pa.list_(pa.uint16())),
        ("scores", pa.list_(pa.float32())),
        ("clusters", pa.list_(pa.uint16())),
    ]
)

Ints = NDArray[np.int64]
Ids = NDArray[np.uint16]


@dataclass(frozen=True)
class Archive:
    """The archives of a corpus, in the order of its shards: row i is `indptr[i]:indptr[i + 1]` of the three arrays."""

    indptr: Ints
    concepts: Ids
    scores: NDArray[np.float32]
    clusters: Ids

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def row(self, i: int) -> tuple[Ids, NDArray[np.float32], Ids]:
        """Concepts, scores and clusters of image i, sorted by falling score."""
        span = slice(self.indptr[i], self.indptr[i + 1])
        return self.concepts[span], self.scores[span], self.clusters[span]


def keys_sha256(keys: Iterable[str]) -> str:
    """The hash by which files made from the same rows know each other."""
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()


def write_table(path: Path, schema: pa.Schema, columns: Mapping[str, Any]) -> None:
    """Write columns (Arrow's, or lists) as one Parquet file, atomically."""
    table = pa.table({field.name: _column(columns[field.name], field.type) for field in schema}, schema=schema)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def _column(values: Any, kind: pa.DataType) -> Any:
    return values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values, kind)


def write_archive(path: Path, keys: Any, archive: Archive) -> None:
    """Write one shard's archive; `keys` (n) are Arrow strings or str."""
    lists = {name: list_column(archive.indptr, getattr(archive, name)) for name in ("concepts", "scores", "clusters")}
    write_table(path, ARCHIVE, {"key": keys, **lists})


def list_column(indptr: Ints, values: NDArray[Any]) -> pa.ListArray:
    """A list column from CSR."""
    return pa.ListArray.from_arrays(pa.array(indptr, pa.int32()), pa.array(values))


def read_table(path: Path, columns: Sequence[str]) -> pa.Table:
    """Columns of a Parquet file; a file that is missing or damaged is a `DataError`."""
    try:
        return pq.read_table(path, columns=list(columns)).combine_chunks()
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DataError(f"Cannot read {path} ({error}). Delete it and run again what writes it.") from error


def csr(table: pa.Table, column: str) -> tuple[Ints, NDArray[Any]]:
    """Row bounds int64 (n + 1,) and values of a list column."""
    lists = table[column].combine_chunks()
    if table.num_rows == 0:
        return np.zeros(1, np.int64), np.zeros(0, lists.type.value_type.to_pandas_dtype())
    bounds = lists.offsets.to_numpy().astype(np.int64)
    return bounds - bounds[0], lists.flatten().to_numpy(zero_copy_only=False)


def join(parts: Sequence[tuple[Ints, NDArray[Any]]]) -> tuple[Ints, NDArray[Any]]:
    """One CSR from the CSRs of successive rows."""
    lengths = np.concatenate([np.diff(indptr) for indptr, _ in parts])
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), np.concatenate([v for _, v in parts])


def read_archive(archive: Path, captions: Path, shards: Sequence[tuple[str, str]] | None = None) -> Archive:
    """The archive in the folder `archive` of the corpus whose captions are in the folder `captions`.

    `shards` are name and `keys_sha256` of each, in the order of the rows; else those of the captions' manifest. Raises
    `DataError` when a shard's archive is missing, when its keys are not the shard's in their order, and when it holds
    concepts that the vocabulary has not.
    """
    described = read_json(captions / MANIFEST)
    size = int(described["vocabulary"]["concepts"])
    parts: dict[str, list[tuple[Ints, NDArray[Any]]]] = {"concepts": [], "scores": [], "clusters": []}
    for shard, keys in shards or [(s["shard"], s["keys_sha256"]) for s in described["shards"]]:
        path = side_car(archive, shard)
        table = read_table(path, ARCHIVE.names)
        if keys_sha256(table["key"].to_pylist()) != keys:
            raise DataError(
                f"{path} is not the archive of {side_car(captions, shard)}: their keys differ. Run the archive "
                "stage again."
            )
        for column, found in parts.items():
            found.append(csr(table, column))
    indptr, concepts = join(parts["concepts"])
    if concepts.size and int(concepts.max()) >= size:
        raise DataError(
            f"{archive} holds concept {int(concepts.max())}, and the vocabulary of {captions} ends at {size - 1}. "
            "Run the archive stage again."
        )
    return Archive(indptr, concepts, join(parts["scores"])[1], join(parts["clusters"])[1])
