"""What the composed scenes truly show: written beside the mini corpus, and turned into the oracle's archive.

Takes scenes' masks and visible names; gives one npz a shard, and a side-car of the archive's schema whose concepts are
the visible ones, all with score 1 and each in a cluster of its own: an upper bound for curation, at the same captions.
Nothing that curates or trains may import this module.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cocu.config import Config
from cocu.errors import DataError
from cocu.io import atomic_path, file_sha256, read_json, write_json
from cocu.layout import MANIFEST, WORDS, scenes, side_car
from cocu.log import RunCard
from cocu.pairs.tables import ARCHIVE, read_table, write_table


@dataclass(frozen=True)
class Truth:
    """One shard's scenes: n keys, masks uint8 (n, H, W) of ids into `names`, visible bool (n, len(names))."""

    keys: tuple[str, ...]
    masks: NDArray[np.uint8]
    names: tuple[str, ...]
    visible: NDArray[np.bool_]

    def __post_init__(self) -> None:
        n, c = len(self.keys), len(self.names)
        if self.masks.ndim != 3 or len(self.masks) != n or self.visible.shape != (n, c):
            raise DataError(
                f"The truth of {n} keys and {c} names has masks of shape {self.masks.shape} and visible of shape "
                f"{self.visible.shape}. Build the corpus again."
            )


def write_truth(path: Path, truth: Truth) -> None:
    """One shard's truth as a compressed npz, atomically; the same truth gives the same bytes."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            keys=np.array(truth.keys),
            masks=truth.masks.astype(np.uint8),
            names=np.array(truth.names),
            visible=truth.visible.astype(bool),
        )


def read_truth(path: Path) -> Truth:
    """One shard's truth. Raises `DataError` naming the file when it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as data:
            return Truth(tuple(data["keys"].tolist()), data["masks"], tuple(data["names"].tolist()), data["visible"])
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a shard's truth ({error}). Build the corpus again.") from error


def run_oracle(config: Config, *, corpus: str, truth: Path, captions: Path, out: Path) -> None:
    """Write the oracle's archive: a Parquet file for each one in `captions`, joined with the truth by key.

    A visible name that the vocabulary lacks cannot be given; the manifest lists them. Raises `DataError` when a caption
    has no truth, or when the vocabulary has none of the names.
    """
    card = RunCard("oracle", corpus=corpus)
    vocabulary = _read_vocabulary(captions / WORDS)
    shards = [str(shard["shard"]) for shard in read_json(captions / MANIFEST)["shards"]]
    known: set[str] = set()
    names: tuple[str, ...] = ()
    pairs = 0
    with atomic_path(out) as temporary:
        temporary.mkdir()
        for shard in shards:
            file, known_scenes = side_car(captions, shard), read_truth(scenes(truth, shard))
            keys = read_table(file, ["key"])["key"].to_pylist()
            write_table(side_car(temporary, shard), ARCHIVE, oracle_columns(keys, known_scenes, vocabulary, where=file))
            names, pairs = known_scenes.names, pairs + len(keys)
            known |= set(names) & set(vocabulary)
        if not known:
            raise DataError(f"None of the truth's names ({', '.join(names)}) is in {captions / 'vocabulary.txt'}.")
        manifest = {
            "corpus": corpus,
            "counts": {"pairs": pairs, "names": len(names), "names_in_vocabulary": len(known)},
            "not_in_vocabulary": sorted(set(names) - known),
            "vocabulary_sha256": file_sha256(captions / WORDS),
            "card": card.card(),
        }
        write_json(temporary / MANIFEST, manifest)


def oracle_columns(
    keys: Sequence[str], truth: Truth, vocabulary: Sequence[str], *, where: Path
) -> dict[str, list[Any]]:
    """The archive's columns of `keys`, in their order: visible concepts by id, score 1, clusters 0..n-1.

    `where` names the captions' file in the `DataError` for a key that has no truth.
    """
    row = {key: i for i, key in enumerate(truth.keys)}
    if absent := [key for key in keys if key not in row]:
        raise DataError(f"{where}: {len(absent)} keys have no truth, the first is {absent[0]}. Run both stages again.")
    columns = {name: column for column, name in enumerate(truth.names)}
    ids = [(i, columns[concept]) for i, concept in enumerate(vocabulary) if concept in columns]
    concepts = [[i for i, column in ids if truth.visible[row[key], column]] for key in keys]
    return {
        "key": list(keys),
        "concepts": concepts,
        "scores": [[1.0] * len(c) for c in concepts],
        "clusters": [list(range(len(c))) for c in concepts],
    }


def _read_vocabulary(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}. Run the captions stage first.") from error
