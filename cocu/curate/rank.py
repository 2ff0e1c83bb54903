"""Text-to-vision-guided ranking (design, equation 2) of the archives, in numba over CSR.

Takes archives, neighbours, and the similarities <t_c, v_j> of every concept and image that occur together, computed
once; gives s_c = global_c + local_c, and the archives sorted by it. Where the mean or the maximum that divides is below
`FLOOR` it counts as `FLOOR`: scores stay finite, keep the sign of <t_c, v_i> and rise with it, and a mean near zero or
below it does not turn an absent concept into the best one. CLIP's own similarities are about 0.1 to 0.4.
`Counting` holds the two readings of the equation: the paper's, and that of the authors' released code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cocu.errors import NumericsError
from cocu.jit import compiled, compiled_sum

FLOOR = 0.05


@dataclass(frozen=True)
class Counting:
    """How the images that share a concept are counted.

    floor: what a smaller mean or maximum counts as. anchor_again: an anchor that is its own neighbour is counted as
    both. least: the maximum begins here. A divisor of exactly zero counts as `FLOOR` in either reading.
    """

    floor: float = FLOOR
    anchor_again: bool = False
    least: float = -np.inf


PAPER = Counting()
RELEASED = Counting(floor=-np.inf, anchor_again=True, least=0.0)

Ints = NDArray[np.int64]
Ids = NDArray[np.uint16]
Floats = NDArray[np.float32]


def similarities(
    vocabulary: Floats, images: Floats, indptr: Ints, ids: Ids, known: tuple[Ints, Ints, Ids, Floats] | None = None
) -> Floats:
    """<t_c, v_j> for every entry of a CSR whose row j lists concepts c: float32, as long as `ids`.

    `vocabulary` (C, d) and `images` (n, d) are float32 unit rows. `known` is (rows, indptr, ids, <t_c, v_j>): what was
    computed of a pool, and each image's row in it or -1. It is taken over: a quarter of an archive is in the caption of
    its own image. Sums run in float64, so that the result does not depend on the order in which a processor adds.
    Raises `NumericsError` when the widths differ.
    """
    if vocabulary.shape[1] != images.shape[1]:
        raise NumericsError(
            f"The concepts are embedded in {vocabulary.shape[1]} dimensions and the images in {images.shape[1]}: "
            "embed both with the same CLIP."
        )
    out = np.empty(ids.size, np.float32)
    known = known or (np.full(len(images), -1), indptr, ids, out)
    _similarities(vocabulary, images, indptr, ids, *known, out)
    return out


def rank(
    anchors: Ints,
    neighbours: Ints,
    archive: tuple[Ints, Ids, Floats],
    captions: tuple[Ints, Ids, Floats],
    concepts: int,
    counting: Counting = PAPER,
) -> tuple[Ids, Floats]:
    """Concepts and float32 scores of the archives, row by row: scores fall, equal scores by rising id.

    `anchors` (n,) are the anchors' rows in the pool, or -1 outside it; `neighbours` (n, L) are rows of the pool.
    `archive` is (indptr, ids, <t_c, v_i>) as `expand` and `similarities` give them, `captions` the same of the whole
    pool, where rows may also hold concepts that are in no archive (`cocu.curate.compat`); `concepts` is C. R_c holds
    each image once, unless `counting` says otherwise: an anchor that is its own neighbour is not counted twice.
    """
    indptr, ids, own = archive
    sorted_ids, scores = ids.copy(), np.empty(ids.size, np.float32)
    places = np.full(concepts, -1, np.int32)
    longest = int(np.diff(indptr).max(initial=0))
    sums, counts = np.empty(longest), np.empty(longest)
    how = (counting.floor, counting.anchor_again, counting.least)
    _rank(anchors, neighbours, indptr, own, *captions, *how, places, sums, counts, sorted_ids, scores)
    return sorted_ids, scores


@compiled_sum
def _dot(x: Floats, y: Floats) -> float:
    total = 0.0
    for i in range(x.size):
        total += np.float64(x[i]) * np.float64(y[i])
    return total


@compiled
def _similarities(
    vocabulary: Floats,
    images: Floats,
    indptr: Ints,
    ids: Ids,
    rows: Ints,
    known_indptr: Ints,
    known_ids: Ids,
    known: Floats,
    out: Floats,
) -> None:
    for j in range(indptr.size - 1):
        first, end = (known_indptr[rows[j]], known_indptr[rows[j] + 1]) if rows[j] >= 0 else (0, 0)
        for e in range(indptr[j], indptr[j + 1]):
            at = first
            while at < end and known_ids[at] != ids[e]:
                at += 1
            out[e] = known[at] if at < end else _dot(vocabulary[ids[e]], images[j])


@compiled
def _rank(
    anchors: Ints,
    neighbours: Ints,
    indptr: Ints,
    own: Floats,
    caption_indptr: Ints,
    caption_ids: Ids,
    caption_similarities: Floats,
    floor: float,
    anchor_again: bool,
    least: float,
    places: NDArray[np.int32],
    total: NDArray[np.float64],
    count: NDArray[np.float64],
    ids: Ids,
    scores: Floats,
) -> None:
    for i in range(neighbours.shape[0]):
        start, size = indptr[i], indptr[i + 1] - indptr[i]
        largest = least
        for p in range(size):  # the anchor itself is in every R_c
            places[ids[start + p]] = p
            total[p], count[p] = own[start + p], 1.0
            largest = max(largest, total[p])
        for j in neighbours[i]:
            if j == anchors[i] and not anchor_again:
                continue
            for e in range(caption_indptr[j], caption_indptr[j + 1]):
                p = places[caption_ids[e]]
                if p < 0:
                    continue
                total[p] += caption_similarities[e]
                count[p] += 1
                largest = max(largest, caption_similarities[e])
        for p in range(size):
            places[ids[start + p]] = -1
        top = max(largest, floor)
        top = top if top != 0 else FLOOR
        for p in range(size):
            a = np.float64(own[start + p])
            mean = max(total[p] / count[p], floor)
            score = np.float32(a / top + a / (mean if mean != 0 else FLOOR))
            concept = ids[start + p]
            at = start + p  # ids rise, so an insertion that stops at equal scores keeps ties in the order of ids
            while at > start and scores[at - 1] < score:
                scores[at], ids[at] = scores[at - 1], ids[at - 1]
                at -= 1
            scores[at], ids[at] = score, concept
