"""Synthetic pairs of CC3M's shape: unit embeddings, some 2.4 concepts a caption, about nine candidates an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

THEME_CONCEPTS = 14  # what the captions of one theme speak of
NEIGHBOURS = 8
FILLERS = ["a", "the", "of", "in", "on", "with", "and", "for", "at", "from", "by", "very", "near", "this", "that"]


@dataclass(frozen=True)
class World:
    """images (n, d) and vocabulary (C, d) float32 unit rows; the captions' concepts as CSR; neighbours (n, L)."""

    images: Any
    vocabulary: Any
    indptr: Any
    ids: Any
    neighbours: Any

    def lists(self) -> list[list[int]]:
        """The captions' concepts, a list an image."""
        ids = self.ids.tolist()
        return [ids[a:b] for a, b in zip(self.indptr[:-1].tolist(), self.indptr[1:].tolist(), strict=True)]


def unit(rows: Any) -> Any:
    """Rows of length 1, float32."""
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def make_captions(n: int, concepts: int, rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """(theme of each image, indptr, ids): captions name one to four concepts of their theme, the first ones oftener."""
    themes = rng.integers(concepts // THEME_CONCEPTS, size=n)
    sizes = rng.choice([1, 2, 3, 4], p=[0.2, 0.35, 0.3, 0.15], size=n)
    weights = np.exp(-0.3 * np.arange(THEME_CONCEPTS))
    order = np.argsort(np.log(weights) + rng.gumbel(size=(n, THEME_CONCEPTS)), axis=1)[:, ::-1][:, :4]
    chosen = themes[:, None] * THEME_CONCEPTS + order
    ids = chosen[np.arange(4) < sizes[:, None]].astype(np.uint16)
    return themes, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), ids


def make_neighbours(themes: Any, rng: np.random.Generator) -> Any:
    """int64 (n, L): other images of the same theme, distinct."""
    order = np.argsort(themes, kind="stable")
    place = np.empty(len(themes), np.int64)
    place[order] = np.arange(len(themes))
    first = np.searchsorted(themes[order], themes)
    size = np.searchsorted(themes[order], themes, side="right") - first
    if size.min() <= NEIGHBOURS:
        raise ValueError("too few images a theme")
    start = rng.integers(size)
    steps = (start[:, None] + np.arange(NEIGHBOURS)) % (size - 1)[:, None]
    rank = (place - first)[:, None]
    return order[first[:, None] + steps + (steps >= rank)]


def make_world(n: int, concepts: int = 7_000, d: int = 512, seed: int = 0) -> World:
    """n pairs of `concepts` concepts in d dimensions, with CLIP's common part in every similarity."""
    rng = np.random.default_rng(seed)
    themes, indptr, ids = make_captions(n, concepts, rng)
    common = unit(rng.normal(size=(1, d)))
    middle = unit(rng.normal(size=(concepts // THEME_CONCEPTS, d)))
    vocabulary = unit(np.repeat(middle, THEME_CONCEPTS, axis=0) + 0.7 * unit(rng.normal(size=(concepts, d))) + common)
    images = unit(middle[themes] + unit(rng.normal(size=(n, d)).astype(np.float32)) + 0.5 * common)
    return World(images, vocabulary, indptr, ids, make_neighbours(themes, rng))


def make_texts(n: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """(vocabulary, captions): 5,000 names of one to three words; captions of some ten words."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("bcdfglmnprst"))
    words = ["".join(np.stack([rng.choice(letters, 3), rng.choice(list("aeiou"), 3)], 1).ravel()) for _ in range(9_000)]
    words = list(dict.fromkeys(words))
    names = [
        " ".join(rng.choice(words[:5_000], size)) for size in rng.choice([1, 2, 3], p=[0.75, 0.2, 0.05], size=5_000)
    ]
    names = list(dict.fromkeys(names))
    captions = []
    for length in rng.integers(6, 15, size=n):
        kinds = rng.random(length)
        parts = [
            names[int(len(names) * rng.random() ** 2)] + ("s" if kind < 0.05 else "")
            if kind < 0.22
            else str(rng.choice(FILLERS))
            if kind < 0.7
            else words[int(len(words) * rng.random() ** 3)]
            for kind in kinds
        ]
        captions.append(" ".join(parts).capitalize() + ("," if length % 7 == 0 else "") + " .")
    return names, captions
