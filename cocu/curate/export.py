"""`cocu archive export`: an archive in words, for programs that know nothing of its vocabulary.

Takes the archive and captions folders of one curation; gives one Parquet, JSON lines or CSV file, a row a pair: key,
caption, said (the caption's concepts), concepts, scores and clusters (the archive's, best first). In a CSV the lists
are JSON. Shards are written one after the other, so that millions of pairs fit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cocu.curate.inspect import Shard, shards, vocabulary
from cocu.io import atomic_path
from cocu.pairs.tables import list_column

Kind = Literal["parquet", "jsonl", "csv"]
EXPORTED = pa.schema(
    [
        ("key", pa.string()),
        ("caption", pa.string()),
        ("said", pa.list_(pa.string())),
        ("concepts", pa.list_(pa.string())),
        ("scores", pa.list_(pa.float32())),
        ("clusters", pa.list_(pa.uint16())),
    ]
)


def run(archive: Path, captions: Path, kind: Kind, out: Path) -> int:
    """Write the file `out` and give its number of pairs.

    Raises `DataError` for a folder that holds no curation, or whose archive is of other pairs than its captions.
    """
    names = pa.array(vocabulary(captions), pa.string())
    pairs = 0
    with atomic_path(out) as temporary:
        write: Callable[[pa.Table], Any]
        if kind == "parquet":
            writer = pq.ParquetWriter(temporary, EXPORTED, compression="zstd")
            write = writer.write_table
        else:
            writer = temporary.open("w", encoding="utf-8", newline="")
            write = lambda table: writer.write(_text(table, kind, first=pairs == 0))  # noqa: E731
        with closing(writer):
            for shard in shards(archive, captions):
                table = _table(shard, names)
                write(table)
                pairs += table.num_rows
    return pairs


def _table(shard: Shard, names: pa.Array) -> pa.Table:
    def words(indptr: Any, ids: Any) -> pa.ListArray:
        return pa.ListArray.from_arrays(pa.array(indptr, pa.int32()), names.take(pa.array(ids, pa.uint16())))

    found = shard.archive
    columns = [
        shard.keys,
        shard.captions,
        words(*shard.said),
        words(found.indptr, found.concepts),
        list_column(found.indptr, found.scores),
        list_column(found.indptr, found.clusters),
    ]
    return pa.table(columns, schema=EXPORTED)


def _text(table: pa.Table, kind: Kind, *, first: bool) -> str:
    """The rows as text; scores with the six digits that a float32 holds."""
    frame = table.to_pandas()
    lists = [field.name for field in EXPORTED if pa.types.is_list(field.type)]
    for name in lists:
        frame[name] = frame[name].map(_plain)
    if kind == "jsonl":
        rows = frame.to_dict(orient="records")
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    for name in lists:
        frame[name] = frame[name].map(lambda row: json.dumps(row, ensure_ascii=False))
    return str(pd.DataFrame(frame).to_csv(index=False, header=first, lineterminator="\n"))


def _plain(row: Sequence[Any]) -> list[Any]:
    """The values as JSON knows them."""
    values = row.tolist() if isinstance(row, np.ndarray) else list(row)
    return [float(f"{value:.6g}") if isinstance(value, float) else value for value in values]
