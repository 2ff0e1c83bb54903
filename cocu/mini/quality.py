"""How good the concepts are that a pair is given, against the known truth of the composed scenes.

Takes the truth, the captions' concepts and the archive of one corpus; gives quality.json: precision |P and T| / |P|,
recall |P and T| / |T| and recall of the missing |P and (T - C)| / |T - C|, sums over all pairs, for the caption's
concepts C, the whole archive, and the four ways to draw from it (P: distinct concepts given, T: visible concepts).
A concept that is no name of the truth is wrong; a name that the vocabulary lacks cannot be recalled, and counts.
The draws follow the treatment's prompts, so that each row is what an arm with its sampling would be given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cocu.config import Config
from cocu.curate.sample import sample
from cocu.errors import DataError
from cocu.io import read_json, write_json
from cocu.layout import MANIFEST, WORDS, scenes, side_car
from cocu.log import RunCard
from cocu.mini.truth import read_truth
from cocu.pairs.tables import Archive, csr, join, read_archive, read_table
from cocu.sections import Prompts, Sampling

Ints = npt.NDArray[np.int64]
Csr = tuple[Ints, npt.NDArray[Any]]  # row i is values[indptr[i]:indptr[i + 1]]
Flags = npt.NDArray[np.bool_]
SOURCES = {  # the rows of the table, in order, with their titles
    "caption": "caption nouns",
    "archive": "whole archive",
    "uniform": "drawn at random from it",
    "softmax": "drawn by softmax of the score",
    "top": "top of the ranking",
    "cluster": "cluster sampling",
}
DRAWS: tuple[Sampling, ...] = ("uniform", "softmax", "top", "cluster")
MEASURES = ("precision", "recall", "recall_missing", "concepts")


@dataclass(frozen=True)
class Visible:
    """What n images show.

    `visible` and `mentioned` (by the caption's concepts) are (n, names); `column` (concepts,) holds the name of every
    concept of the vocabulary, -1 for a concept that is no name.
    """

    visible: Flags
    mentioned: Flags
    column: Ints


def run(config: Config, *, corpus: str, truth: Path, captions: Path, archive: Path, out: Path) -> None:
    """Write the quality of one corpus. `truth`, `captions` and `archive` are its folders; rows are joined by key.

    Raises `DataError` when a shard is missing in one of them or holds other pairs.
    """
    card = RunCard("quality", corpus=corpus)
    visible, said = [], []
    names: tuple[str, ...] = ()
    for shard in read_json(captions / MANIFEST)["shards"]:
        path, shown = side_car(captions, shard["shard"]), scenes(truth, shard["shard"])
        known, table = read_truth(shown), read_table(path, ["key", "concepts"])
        if tuple(table["key"].to_pylist()) != known.keys:
            raise DataError(f"{path} holds other pairs than {shown}. Build the corpus and captions again.")
        names = known.names
        visible.append(known.visible)
        said.append(csr(table, "concepts"))
    caption = join(said)
    vocabulary = (captions / WORDS).read_text(encoding="utf-8").splitlines()
    result = measure_sources(
        join_truth(np.concatenate(visible), names, vocabulary, caption),
        caption,
        read_archive(archive, captions),
        config.arm(config.report.treatment).train.prompts,
        seed=config.report.seed,
    )
    write_json(out, {"corpus": corpus, **result, "card": card.card()})


def join_truth(visible: Flags, names: Sequence[str], vocabulary: Sequence[str], caption: Csr) -> Visible:
    """The truth (n, names) joined by name with the vocabulary and with the concepts of the n captions."""
    index = {name: i for i, name in enumerate(names)}
    column = np.array([index.get(concept, -1) for concept in vocabulary], dtype=np.int64)
    mentioned = np.zeros_like(visible)
    row, ids = _pairs(caption)
    known = column[ids] >= 0
    mentioned[row[known], column[ids[known]]] = True
    return Visible(visible, mentioned, column)


def measure_sources(truth: Visible, caption: Csr, archive: Archive, prompts: Prompts, *, seed: int) -> dict[str, Any]:
    """`MEASURES` of each of `SOURCES`, the number of pairs, the mean archive size, and the share that captions mention.

    Each of `DRAWS` takes the count, temperature and replacement of `prompts`, and the same random numbers from `seed`.
    """
    given: dict[str, Csr] = {"caption": caption, "archive": (archive.indptr, archive.concepts)}
    draws = np.random.default_rng(seed).random((len(archive), 2 * prompts.count))
    for sampling in DRAWS:
        ids = sample(
            archive,
            np.arange(len(archive)),
            draws,
            sampling=sampling,
            temperature=prompts.temperature,
            replacement=prompts.replacement,
        )
        given[sampling] = (prompts.count * np.arange(len(archive) + 1), ids.ravel())
    return {
        "pairs": len(truth.visible),
        "sources": {source: measure(truth, given[source]) for source in SOURCES},
        "archive_size": len(archive.concepts) / len(archive),
        "mentioned": _share((truth.visible & truth.mentioned).sum(), truth.visible.sum()),
    }


def measure(truth: Visible, given: Csr) -> dict[str, float]:
    """`MEASURES` of the concepts given to n pairs: shares in 0..1 (0 where there is nothing to share), concepts a pair.

    Ids below 0 (nothing drawn) and repeats within a pair are dropped.
    """
    row, ids = _pairs(given)
    column = truth.column[ids]
    row, column, total = row[column >= 0], column[column >= 0], row.size
    right = truth.visible[row, column]
    missing = right & ~truth.mentioned[row, column]
    return {
        "precision": _share(right.sum(), total),
        "recall": _share(right.sum(), truth.visible.sum()),
        "recall_missing": _share(missing.sum(), (truth.visible & ~truth.mentioned).sum()),
        "concepts": _share(total, len(truth.visible)),
    }


def _pairs(given: Csr) -> tuple[Ints, Ints]:
    """The distinct (row, concept id) pairs."""
    indptr, ids = given
    row = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    both = np.unique(np.stack([row, ids.astype(np.int64)], axis=1)[ids >= 0], axis=0)
    return both[:, 0], both[:, 1]


def _share(part: Any, whole: Any) -> float:
    return float(part) / float(whole) if whole else 0.0
