"""The retrieval pool: captions' concepts and embeddings of a corpus's shards, loaded and checked against each other.

Takes the folders of the captions and embedding stages; gives one `Part` a shard, whose embeddings stay memory-mapped.
Rows are joined by key, in tar order. Whatever does not belong together, and what its manifest does not describe, is
refused here, before the first search.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cocu.clip.unit import check_unit
from cocu.errors import DataError, NumericsError
from cocu.io import file_sha256, read_json
from cocu.layout import MANIFEST, WORDS
from cocu.pairs.shards import manifest_shards
from cocu.pairs.tables import csr, keys_sha256, read_table

CHECK_ROWS = 65_536

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Part:
    """One shard's share of the pool: keys (n), concepts of the captions as CSR, embeddings float16 (n, d)."""

    stem: str
    keys: Any  # Arrow strings: a tenth of the memory of str objects
    indptr: Ints
    concepts: NDArray[np.uint16]
    embeddings: NDArray[np.float16]


@dataclass(frozen=True)
class Curation:
    """The captions and embeddings of one corpus, as their manifests describe them; `shards` are sorted by name.

    Pool rows are numbered in that order, so that the order in which a manifest lists the shards changes no byte.
    """

    captions: Path
    embeddings: Path
    corpus: str
    shards: tuple[dict[str, Any], ...]
    blocks: dict[str, dict[str, Any]]
    vocabulary_sha256: str

    def part(self, shard: dict[str, Any]) -> Part:
        """One shard, checked."""
        self.verify(shard)
        return _load(self.captions, self.embeddings, shard, self._embedded(shard))

    def verify(self, shard: dict[str, Any]) -> None:
        """Raise `DataError` unless the shard's two files are those that the manifests describe."""
        side_car, rows = self.captions / f"{shard['stem']}.parquet", self.embeddings / f"{shard['stem']}.npy"
        if file_sha256(_existing(side_car)) != shard["sha256"]:
            raise DataError(f"{side_car} has changed since its manifest was written. Run the captions stage again.")
        if file_sha256(_existing(rows)) != self._embedded(shard)["sha256"]:
            raise DataError(f"{rows} is not the file that its block manifest describes. Run the embedding stage again.")

    def inputs(self) -> dict[str, Any]:
        """Hashes of everything that an archive drawn from this corpus depends on."""
        return {
            "captions": {shard["stem"]: shard["sha256"] for shard in self.shards},
            "embeddings": {shard["stem"]: self._embedded(shard)["sha256"] for shard in self.shards},
            WORDS: self.vocabulary_sha256,
            "vocabulary.npy": file_sha256(_existing(self.embeddings / "vocabulary.npy")),
        }

    def names(self) -> list[str]:
        """The vocabulary."""
        text = self.captions / WORDS
        if file_sha256(_existing(text)) != self.vocabulary_sha256:
            raise DataError(f"{text} has changed since its manifest was written. Run the captions stage again.")
        return text.read_text(encoding="utf-8").splitlines()

    def _embedded(self, shard: dict[str, Any]) -> dict[str, Any]:
        stem = str(shard["stem"])
        if stem not in self.blocks:
            raise DataError(f"No block manifest in {self.embeddings} names shard {stem}. Embed it first.")
        return self.blocks[stem]


def open_curation(captions: Path, embeddings: Path) -> Curation:
    """The manifests of both folders; raises `DataError` when one is missing or two contradict each other."""
    described = read_json(captions / MANIFEST)
    shards = sorted(described["shards"], key=lambda shard: str(shard["stem"]))
    sha256 = str(described["vocabulary"]["sha256"])
    return Curation(captions, embeddings, described["corpus"], tuple(shards), _embedded(embeddings), sha256)


def check_corpus(corpus: Path, curation: Curation) -> None:
    """Raise `DataError` unless the captions are of exactly the shards that the corpus has now."""
    manifest = corpus / MANIFEST if corpus.is_dir() else corpus
    ours = {shard.stem: (shard.samples, shard.sha256) for shard in manifest_shards(manifest)}
    theirs = {str(s["stem"]): (s["rows"], s["shard_sha256"]) for s in curation.shards}
    if read_json(manifest)["corpus"] != curation.corpus or ours != theirs:
        odd = sorted(stem for stem in ours.keys() | theirs.keys() if ours.get(stem) != theirs.get(stem))
        raise DataError(
            f"The captions in {curation.captions} were not made from the shards of {manifest}"
            f"{f' (shard {odd[0]} differs)' if odd else ''}. Run the captions stage again."
        )


def load_vocabulary(curation: Curation) -> Floats:
    """The concepts' unit embeddings float32 (C, d), made from exactly this vocabulary; d is the images'.

    Raises `DataError` for a damaged file or one made from another vocabulary, `NumericsError` for a shape or norm.
    """
    names, path = curation.names(), curation.embeddings / "vocabulary.npy"
    width = _rows(curation.embeddings / f"{curation.shards[0]['stem']}.npy").shape[-1]
    made = read_json(path.with_suffix(".made"))
    if made["vocabulary_sha256"] != curation.vocabulary_sha256 or made["sha256"] != file_sha256(_existing(path)):
        raise DataError(
            f"{path} was not made from {curation.captions / 'vocabulary.txt'}, or has changed since. "
            "Delete it and embed the vocabulary again."
        )
    try:
        rows: Floats = np.load(path).astype(np.float32)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}). Delete it and embed the vocabulary again.") from error
    if rows.shape != (len(names), width):
        raise NumericsError(
            f"{path} has the shape {rows.shape}; {len(names)} concepts and images of {width} dimensions need "
            f"{(len(names), width)}. Embed the vocabulary again, with the CLIP of the images."
        )
    check_unit(rows, names, where=path)
    return rows


def _embedded(folder: Path) -> dict[str, dict[str, Any]]:
    """What the block manifests say of each shard. Two blocks may name a shard only if they say the same."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.json")):
        value = read_json(path)
        for shard in value.get("shards", ()) if "block" in value else ():
            facts = {name: shard[name] for name in ("rows", "keys_sha256", "sha256")}
            if found.setdefault(str(shard["stem"]), facts) != facts:
                raise DataError(
                    f"{path} and another block manifest in {folder} both describe shard {shard['stem']}, differently. "
                    "Delete the folder and run the embedding stage again."
                )
    return found


def _load(captions: Path, embeddings: Path, shard: dict[str, Any], entry: dict[str, Any]) -> Part:
    stem = str(shard["stem"])
    side_car, path = captions / f"{stem}.parquet", embeddings / f"{stem}.npy"
    table = read_table(side_car, ("key", "concepts"))
    keys: list[str] = table["key"].to_pylist()
    rows = _rows(path)
    if rows.ndim != 2 or len(rows) != len(keys):
        raise NumericsError(
            f"{path} has the shape {rows.shape}, and shard {stem} has {len(keys)} captions. "
            "Run the embedding stage again."
        )
    if entry["keys_sha256"] != keys_sha256(keys):
        raise NumericsError(
            f"The rows of {path} are not those of {side_car}: their keys differ. Run both stages again."
        )
    for start in range(0, len(rows), CHECK_ROWS):
        check_unit(rows[start : start + CHECK_ROWS], keys[start : start + CHECK_ROWS], where=path)
    return Part(stem, table["key"].combine_chunks(), *csr(table, "concepts"), rows)


def _rows(path: Path) -> NDArray[Any]:
    try:
        rows: NDArray[Any] = np.load(_existing(path), mmap_mode="r")
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}). Delete it and run the embedding stage again.") from error
    return rows


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise DataError(f"{path} is missing. Run the stage that writes it.")
    return path
