"""The oracle of the curation tests: equations 1 and 2 as a plain loop, an image at a time, with dictionaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FLOOR = 0.05  # what a mean or maximum below it counts as


@dataclass(frozen=True)
class World:
    """Images (n, d) and concepts (C, d), unit rows; the captions' concepts, one list an image."""

    images: np.ndarray
    vocabulary: np.ndarray
    captions: list[list[int]]

    def csr(self) -> tuple[np.ndarray, np.ndarray]:
        lengths = [len(caption) for caption in self.captions]
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return indptr, np.array([c for caption in self.captions for c in caption], np.uint16)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def make_world(n: int = 120, concepts: int = 30, d: int = 24, seed: int = 0) -> World:
    """Images lie near the mean of what they show; captions name part of it: nothing, one concept or several.

    All similarities have a common part, as CLIP's do, and some are below `FLOOR` or negative all the same. Concept 7
    has concept 3's embedding, and images 11, 60 and 110 that of image 10: ties.
    """
    rng = np.random.default_rng(seed)
    vocabulary = unit(rng.normal(size=(concepts, d)) + 0.15 * np.sqrt(d) * unit(np.ones((1, d))))
    vocabulary[7] = vocabulary[3]
    shown = [rng.choice(concepts, size=rng.integers(1, 6), replace=False) for _ in range(n)]
    images = unit(np.stack([vocabulary[s].sum(axis=0) for s in shown]) + 0.3 * rng.normal(size=(n, d)))
    images[[11, 60, 110]] = images[10]
    captions = [[int(c) for c in s if rng.random() < 0.4] for s in shown]
    return World(images.astype(np.float16).astype(np.float32), vocabulary.astype(np.float32), captions)


def neighbours(world: World, anchor: int, count: int, exclude_self: bool, pool_rows: int = 0) -> list[int]:
    """N_i: the largest inner products, equal ones by row; among the first `pool_rows` images alone, when given."""
    pool = [j for j in range(pool_rows or len(world.images)) if not (exclude_self and j == anchor)]
    score = {j: np.float32(np.dot(np.float64(world.images[anchor]), np.float64(world.images[j]))) for j in pool}
    return sorted(pool, key=lambda j: (-score[j], j))[:count]


def expansion(world: World, near: Sequence[int]) -> set[int]:
    """A_i = union of C_j over j in N_i."""
    return {c for j in near for c in world.captions[j]}


def ranking(world: World, anchor: int, near: Sequence[int]) -> list[tuple[int, float]]:
    """(concept, score) of A_i, sorted."""

    def likeness(c: int, j: int) -> float:
        return float(np.dot(np.float64(world.vocabulary[c]), np.float64(world.images[j])))

    archive = expansion(world, near)
    related = {c: {j for j in near if c in world.captions[j]} | {anchor} for c in archive}
    scores = {}
    for c in archive:
        local = likeness(c, anchor) / max(float(np.mean([likeness(c, j) for j in related[c]])), FLOOR)
        largest = max(likeness(b, j) for b in archive for j in related[b])
        scores[c] = local + likeness(c, anchor) / max(largest, FLOOR)
    return sorted(scores.items(), key=lambda item: (-np.float32(item[1]), item[0]))


def inertia(points: np.ndarray, labels: np.ndarray) -> float:
    """Sum of squared distances to the means of their clusters."""
    return float(
        sum(((points[labels == k] - points[labels == k].mean(axis=0)) ** 2).sum() for k in set(labels.tolist()))
    )


def released(world: World, names: Sequence[str], anchor: int, near: Sequence[int]) -> list[tuple[int, float]]:
    """(concept, score) of A_i as the authors' code counts: substrings, the anchor again, no guard; ties by id."""
    joined = [", ".join(names[c] for c in world.captions[j]) for j in near]
    archive = sorted(expansion(world, near))
    largest, own, local = 0.0, {}, {}
    for c in archive:
        images = [j for j, said in zip(near, joined, strict=True) if names[c] in said] + [anchor]
        similar = [float(np.dot(np.float64(world.vocabulary[c]), np.float64(world.images[j]))) for j in images]
        own[c], local[c] = similar[-1], similar[-1] / np.mean(similar)
        largest = max(largest, *similar)
    scores = {c: own[c] / largest + local[c] for c in archive}
    return sorted(scores.items(), key=lambda item: (-np.float32(item[1]), item[0]))
