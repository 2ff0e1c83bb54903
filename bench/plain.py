"""The other side of the benchmarks: curation an image at a time, in Python and numpy, straight from the equations."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from cocu.concepts.matcher import chunk_tokens
from cocu.concepts.words import singulars
from cocu.curate.rank import FLOOR

Ranked = list[tuple[int, float]]


def rank_image(
    anchor: int, near: Sequence[int], images: Any, vocabulary: Any, captions: Sequence[Sequence[int]]
) -> Ranked:
    """(concept, score) of one archive, by falling score, then by id."""
    own, local, largest = {}, {}, -np.inf
    for c in {c for j in near for c in captions[j]}:
        others = [j for j in near if j != anchor and c in captions[j]]
        similar = vocabulary[c] @ images[[*others, anchor]].T
        own[c] = similar[-1]
        local[c] = similar[-1] / max(similar.mean(), FLOOR)
        largest = max(largest, similar.max())
    scores = {c: float(own[c] / max(largest, FLOOR) + local[c]) for c in own}
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


def cluster_image(ranked: Ranked, vocabulary: Any) -> Any:
    """k-means' labels of one archive, by scikit-learn with five starts."""
    from sklearn.cluster import KMeans

    if len(ranked) <= 2:
        return np.zeros(len(ranked), int)
    points = vocabulary[[c for c, _ in ranked]]
    return KMeans((len(ranked) + 1) // 2, n_init=5, max_iter=100, random_state=0).fit(points).labels_


class NgramLookup:
    """Concepts of captions by looking every n-gram up, the longest first; the same tokens and plurals as `Matcher`."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        grams = [tuple(token for chunk in name.split() for token in chunk_tokens(chunk)) for name in vocabulary]
        self._ids = {gram: i for i, gram in reversed(list(enumerate(grams)))}
        self._longest = max(map(len, grams))

    def __call__(self, caption: str) -> list[int]:
        words = [token for chunk in caption.split() for token in chunk_tokens(chunk)]
        forms = [(word, *singulars(word)) for word in words]
        found, at = [], 0
        while at < len(words):
            size, concept = self._at(words, forms, at)
            if concept >= 0 and concept not in found:
                found.append(concept)
            at += size
        return found

    def _at(self, words: list[str], forms: list[tuple[str, ...]], at: int) -> tuple[int, int]:
        for size in range(min(self._longest, len(words) - at), 0, -1):
            if all(words[at : at + size]):  # no n-gram reaches across punctuation
                for gram in product(*forms[at : at + size]):
                    if gram in self._ids:
                        return size, self._ids[gram]
        return 1, -1
