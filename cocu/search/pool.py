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

from cocu import layout
from cocu.clip.unit import check_unit
from cocu.errors import DataError, NumericsError
from cocu.io import file_sha256, read_json
from cocu.layout import MANIFEST, rows, side_car, vectors_manifest
from cocu.pairs.shards import manifest_shards
from cocu.pairs.tables import csr, keys_sha256, read_table

CHECK_ROWS = 65_536

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Part:
    """A shard's share of the pool: keys (n), concepts of the captions as CSR, embeddings float16 (n, d)."""

    shard: str
    keys: Any  # Arrow strings: a tenth of the memory of str objects
    indptr: Ints
    concepts: NDArray[np.uint16]
    embeddings: NDArray[np.float16]


@dataclass(frozen=True)
class Curation:
    """The captions and embeddings of one corpus, as their manifests describe them; `shards` are sorted by name.

    Pool rows are numbered in that order, so that the order in which a manifest lists the shards changes no byte.
    """

    at: layout.Curation
    corpus: str
    shards: tuple[dict[str, Any], ...]
    embedded: dict[str, dict[str, Any]]
    vocabulary_sha256: str

    def part(self, shard: dict[str, Any]) -> Part:
        """One shard, checked."""
        self.verify(shard)
        return _load(self.at, shard, self._embedded(shard))

    def names_of_shards(self) -> list[str]:
        """SET/SHARD of each, in order."""
        return [str(shard["shard"]) for shard in self.shards]

    def verify(self, shard: dict[str, Any]) -> None:
        """Raise `DataError` unless the shard's two files are those that the manifests describe."""
        said, seen = side_car(self.at.captions, shard["shard"]), rows(self.at.embeddings, shard["shard"])
        if file_sha256(_existing(said)) != shard["sha256"]:
            raise DataError(f"{said} has changed since its manifest was written. Run the captions stage again.")
        if file_sha256(_existing(seen)) != self._embedded(shard)["sha256"]:
            raise DataError(f"{seen} is not the file that its manifest describes. Run the embedding stage again.")

    def inputs(self) -> dict[str, Any]:
        """Hashes of everything that an archive drawn from this corpus depends on."""
        return {
            "captions": {shard["shard"]: shard["sha256"] for shard in self.shards},
            "embeddings": {shard["shard"]: self._embedded(shard)["sha256"] for shard in self.shards},
            "vocabulary": self.vocabulary_sha256,
            "vectors": file_sha256(_existing(self.at.vectors)),
        }

    def names(self) -> list[str]:
        """The vocabulary."""
        text = self.at.words
        if file_sha256(_existing(text)) != self.vocabulary_sha256:
            raise DataError(f"{text} has changed since its manifest was written. Run the captions stage again.")
        return text.read_text(encoding="utf-8").splitlines()

    def _embedded(self, shard: dict[str, Any]) -> dict[str, Any]:
        name = str(shard["shard"])
        if name not in self.embedded:
            raise DataError(f"The manifest of {self.at.embeddings} does not name the shard {name}. Embed it first.")
        return self.embedded[name]


def open_curation(at: layout.Curation) -> Curation:
    """The manifests of captions and embeddings; `DataError` when one is missing or two contradict each other."""
    described = read_json(at.captions / MANIFEST)
    shards = sorted(described["shards"], key=lambda shard: str(shard["shard"]))
    sha256 = str(described["vocabulary"]["sha256"])
    return Curation(at, described["corpus"], tuple(shards), _embedded(at.embeddings), sha256)


def check_corpus(corpus: Path, curation: Curation) -> None:
    """Raise `DataError` unless the captions are of exactly the shards that the corpus has now."""
    ours = {shard.shard: (shard.samples, shard.sha256) for shard in manifest_shards(corpus)}
    theirs = {str(s["shard"]): (s["rows"], s["shard_sha256"]) for s in curation.shards}
    if read_json(corpus)["corpus"] != curation.corpus or ours != theirs:
        odd = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
        raise DataError(
            f"The captions in {curation.at.captions} were not made from the shards of {corpus}"
            f"{f' (shard {odd[0]} differs)' if odd else ''}. Run the captions stage again."
        )


def load_vocabulary(curation: Curation) -> Floats:
    """The concepts' unit embeddings float32 (C, d), made from exactly this vocabulary; d is the images'.

    Raises `DataError` for a damaged file or one made from another vocabulary, `NumericsError` for a shape or norm.
    """
    names, path = curation.names(), curation.at.vectors
    width = max(_rows(rows(curation.at.embeddings, shard)).shape[-1] for shard in curation.names_of_shards())
    made = read_json(vectors_manifest(path))
    if made["vocabulary_sha256"] != curation.vocabulary_sha256 or made["sha256"] != file_sha256(_existing(path)):
        raise DataError(
            f"{path} was not made from {curation.at.words}, or has changed since. "
            "Delete it and embed the vocabulary again."
        )
    try:
        vectors: Floats = np.load(path).astype(np.float32)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}). Delete it and embed the vocabulary again.") from error
    if vectors.shape != (len(names), width):
        raise NumericsError(
            f"{path} has the shape {vectors.shape}; {len(names)} concepts and images of {width} dimensions need "
            f"{(len(names), width)}. Embed the vocabulary again, with the CLIP of the images."
        )
    check_unit(vectors, names, where=path)
    return vectors


def _embedded(folder: Path) -> dict[str, dict[str, Any]]:
    """What the manifest of the embeddings says of each shard."""
    return {str(shard["shard"]): shard for shard in read_json(folder / MANIFEST)["shards"]}


def _load(at: layout.Curation, shard: dict[str, Any], entry: dict[str, Any]) -> Part:
    name = str(shard["shard"])
    said, path = side_car(at.captions, name), rows(at.embeddings, name)
    table = read_table(said, ("key", "concepts"))
    keys: list[str] = table["key"].to_pylist()
    vectors = _rows(path)
    if vectors.ndim != 2 or len(vectors) != len(keys):
        raise NumericsError(
            f"{path} has the shape {vectors.shape}, and shard {name} has {len(keys)} captions. "
            "Run the embedding stage again."
        )
    if entry["keys_sha256"] != keys_sha256(keys):
        raise NumericsError(f"The rows of {path} are not those of {said}: their keys differ. Run both stages again.")
    for start in range(0, len(vectors), CHECK_ROWS):
        check_unit(vectors[start : start + CHECK_ROWS], keys[start : start + CHECK_ROWS], where=path)
    return Part(name, table["key"].combine_chunks(), *csr(table, "concepts"), vectors)


def _rows(path: Path) -> NDArray[Any]:
    try:
        vectors: NDArray[Any] = np.load(_existing(path), mmap_mode="r")
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}). Delete it and run the embedding stage again.") from error
    return vectors


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise DataError(f"{path} is missing. Run the stage that writes it.")
    return path
