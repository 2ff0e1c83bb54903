"""Neighbours that an earlier search found: where the pool has only grown, the new shards alone are searched.

Takes an engine and the pool's parts by name and hash; gives pool rows, and keeps them beside, a file a shard of
queries, as (part, row), scores and the parts that were searched. The k best of old and new rows are among the k best of
either, and an exact score does not depend on what else is in the pool, so that the result is the one of a search from
nothing. Approximate indices depend on all rows: they are searched anew. A changed vocabulary changes no neighbour.
"""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cocu.io import atomic_path, delete_others
from cocu.search.engine import Engine
from cocu.search.exact import Floats, Ints, Rows
from cocu.stamp import code_fingerprint

EXACT = ("exact", "device")  # kinds of engine


@dataclass(frozen=True)
class Neighbours:
    """Searches of one pool that go on from what is kept in `folder`.

    names, sha256: of each of the engine's parts, in the order of their rows.
    """

    folder: Path
    engine: Engine
    names: Sequence[str]
    sha256: Sequence[str]

    def find(self, shard: str, sha256: str, queries: Rows, exclude: Ints | None) -> Ints:
        """Pool rows (q, k) of the neighbours of a shard's images; `exclude` (q,) as in `cocu.search.exact`.

        `shard` and `sha256` say which images `queries` (q, d) are. Raises what the engine's search raises.
        """
        if self.engine.kind not in EXACT:
            return self.engine.search(queries, exclude)[1]
        without = exclude is not None and bool(
            (exclude >= 0).any()
        )  # an image of another pool excludes none of its rows
        of = f"{sha256} {self.engine.settings.neighbours} {without} {code_fingerprint(__name__)}"
        known = self._read(shard, of)
        if known is None:
            scores, rows = self.engine.search(queries, exclude)
        else:
            scores, rows, searched = known
            fresh = [i for i in range(len(self.names)) if i not in searched]
            if not fresh:
                return rows
            scores, rows = self._joined(scores, rows, queries, fresh)
        self._write(shard, of, scores, rows)
        return rows

    def forget_others(self, shards: Collection[str]) -> None:
        """Delete what is kept of other shards than these."""
        delete_others(self.folder, {self._file(shard) for shard in shards})

    def _joined(self, scores: Floats, rows: Ints, queries: Rows, fresh: Sequence[int]) -> tuple[Floats, Ints]:
        """The best k of what is known and of the parts that are not; equal scores: the smaller row first."""
        parts = [self.engine.parts[i] for i in fresh]
        k, lengths = self.engine.settings.neighbours, np.array([len(part) for part in parts])
        few = self.engine.settings.model_copy(update={"neighbours": min(k, int(lengths.sum()))})
        more, places = replace(self.engine, parts=parts, settings=few).search(queries, None)
        part = np.searchsorted(np.cumsum(lengths), places, side="right")
        moved = self._starts()[list(fresh)] - (np.cumsum(lengths) - lengths)  # from the fresh parts' rows to the pool's
        scores, rows = np.concatenate([scores, more], 1), np.concatenate([rows, places + moved[part]], 1)
        order = np.lexsort((rows, -scores))[:, :k]
        return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)

    def _starts(self) -> Ints:
        return np.cumsum([0, *(len(part) for part in self.engine.parts)])

    def _file(self, shard: str) -> Path:
        return self.folder / f"{shard}.npz"

    def _read(self, shard: str, of: str) -> tuple[Floats, Ints, set[int]] | None:
        """Scores, pool rows and the parts that they are the best of; None where nothing that still holds is kept."""
        try:
            with np.load(self._file(shard)) as file:
                kept = dict(file)
        except (OSError, ValueError, zipfile.BadZipFile):
            return None
        parts = list(zip(self.names, self.sha256, strict=True))
        then = list(zip(kept["names"].tolist(), kept["sha256"].tolist(), strict=True))
        if str(kept["of"]) != of or not set(then) <= set(parts):
            return None
        now = np.array([parts.index(part) for part in then], np.int64)
        return kept["scores"], self._starts()[now][kept["part"]] + kept["row"], set(now.tolist())

    def _write(self, shard: str, of: str, scores: Floats, rows: Ints) -> None:
        starts = self._starts()
        part = np.searchsorted(starts[1:], rows, side="right")
        columns: dict[str, Any] = {
            "of": np.array(of),
            "names": np.array(self.names, np.str_),
            "sha256": np.array(self.sha256, np.str_),
            "scores": scores,
            "part": part.astype(np.int32),
            "row": (rows - starts[part]).astype(np.int32),
        }
        with atomic_path(self._file(shard)) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **columns)
