"""Concepts of a caption: which entries of the vocabulary occur in it, as whole words.

Takes the vocabulary's names (ids are positions) and captions; gives the distinct ids C_i in order of first occurrence
(design, "the method": whole-token n-grams, plurals folded). "car" is not in "carpet"; in "traffic lights" the longest
match, "traffic light", hides "light". Tokens would take most of the time, so a blank-separated chunk is read once and
has a number from then on; a trie over numbers finds the concepts.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cocu.concepts.words import singulars
from cocu.jit import compiled

BREAK = ""  # stands where punctuation ends a phrase: no n-gram reaches across it
_TOKEN = re.compile(r"([^\W_]+)|[,.;:!?()\[\]{}|/]")
_MEMO_CHUNKS = 1_000_000  # about 200 MB; begun anew when full, since most chunks of a web corpus are seen once
_BATCH = 16_384  # captions between two looks at the size of the memo

Ints = NDArray[np.int64]
Ids = NDArray[np.uint16]


def chunk_tokens(chunk: str) -> list[str]:
    """Tokens of a text without blanks: runs of letters and digits, lower case, NFKC; `BREAK` at punctuation."""
    return _TOKEN.findall(unicodedata.normalize("NFKC", chunk).lower())


def tokens(text: str) -> list[str]:
    """The tokens of a text, without breaks."""
    return [token for chunk in text.split() for token in chunk_tokens(chunk) if token]


class _Chunks(dict[str, int]):
    """Chunk -> its number. Words of chunk k: words[k] to words[k + 1]; what word w may stand for: forms, alike.

    A word stands for itself, or for its singular where the vocabulary has that; unknown words and breaks for nothing.
    """

    def __init__(self, known: dict[str, int]) -> None:
        self._known = known
        self.words, self.bounds, self.forms = array("q", [0]), array("q", [0]), array("q")

    def __missing__(self, chunk: str) -> int:
        for token in chunk_tokens(chunk):
            self.forms.extend(self._known[form] for form in (token, *singulars(token)) if form in self._known)
            self.bounds.append(len(self.forms))
        self.words.append(len(self.bounds) - 1)
        self[chunk] = number = len(self)
        return number

    def tables(self) -> tuple[array[int], array[int], array[int]]:
        """words, the bounds of their forms, and the forms."""
        return self.words, self.bounds, self.forms


class Matcher:
    """Finds the concepts of captions; longest match first, left to right, the exact form before the singular."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._known: dict[str, int] = {}
        children: list[dict[int, int]] = [{}]
        concepts = [-1]
        for concept, name in enumerate(vocabulary):
            node = 0
            for token in tokens(name):
                number = self._known.setdefault(token, len(self._known))
                if number not in children[node]:
                    children[node][number] = len(children)
                    children.append({})
                    concepts.append(-1)
                node = children[node][number]
            if node and concepts[node] < 0:
                concepts[node] = concept
        edges = [edge for of in children for edge in sorted(of.items())]
        bounds = np.cumsum([0, *map(len, children)])
        self._trie = (np.array(concepts), bounds, np.array(edges, np.int64).reshape(-1, 2))
        self._root = np.full(max(len(self._known), 1), -1)
        for number, node in children[0].items():
            self._root[number] = node
        self._last = np.full(max(len(vocabulary), 1), -1)
        self._chunks = _Chunks(self._known)

    def __call__(self, caption: str) -> list[int]:
        """Distinct concept ids in order of first occurrence."""
        found: list[int] = self.batch([caption])[1].tolist()
        return found

    def batch(self, captions: Sequence[str]) -> tuple[Ints, Ids]:
        """The same for n captions, as CSR: caption i has `ids[indptr[i]:indptr[i + 1]]`; int64 (n + 1,), uint16."""
        counts, ids = [np.zeros(1, np.int64)], [np.empty(0, np.uint16)]
        for start in range(0, len(captions), _BATCH):
            number, found = self._match(captions[start : start + _BATCH])
            counts.append(number)
            ids.append(found)
        return np.cumsum(np.concatenate(counts)), np.concatenate(ids)

    def _match(self, captions: Sequence[str]) -> tuple[Ints, Ids]:
        """(number of concepts of each caption, ids)."""
        if len(self._chunks) > _MEMO_CHUNKS:
            self._chunks = _Chunks(self._known)
        chunks, number = self._chunks, self._chunks.__getitem__
        flat: list[int] = []
        ends = []
        for caption in captions:
            flat += map(number, caption.split())
            ends.append(len(flat))
        words, bounds, forms = (np.frombuffer(t, np.int64) if t else np.empty(0, np.int64) for t in chunks.tables())
        numbers = np.array(flat, np.int64)
        most = int((words[numbers + 1] - words[numbers]).sum())  # at most a concept each
        counts, ids = np.zeros(len(ends), np.int64), np.empty(most, np.uint16)
        self._last[:] = -1
        concepts, edge_bounds, edges = self._trie
        used = np.empty((2, len(concepts) + 1), np.int64)
        line = (numbers, np.array(ends), words, bounds, forms)
        _find(*line, concepts, edge_bounds, edges, self._root, self._last, used, counts, ids)
        return counts, ids[: counts.sum()]


@compiled
def _find(
    numbers: Ints,
    ends: Ints,
    words: Ints,
    bounds: Ints,
    forms: Ints,
    concepts: Ints,
    edge_bounds: Ints,
    edges: Ints,
    root: Ints,
    last: Ints,
    used: Ints,
    counts: Ints,
    ids: Ids,
) -> None:
    """`used` has room for the trie's nodes twice: those that the words so far lead to, and those after one more."""
    longest = 0
    for i in range(ends.size):
        start = ends[i - 1] if i else 0
        longest = max(longest, (words[numbers[start : ends[i]] + 1] - words[numbers[start : ends[i]]]).sum())
    line = np.empty(longest, np.int64)  # the words of one caption
    end = 0
    for i in range(ends.size):
        size = 0
        for e in range(ends[i - 1] if i else 0, ends[i]):
            for w in range(words[numbers[e]], words[numbers[e] + 1]):
                line[size] = w
                size += 1
        first = end
        at = 0
        while at < size:
            best, past = -1, at + 1
            nodes = 0
            for f in range(bounds[line[at]], bounds[line[at] + 1]):
                if root[forms[f]] >= 0:
                    used[0, nodes] = root[forms[f]]
                    nodes += 1
            side, reach = 0, at
            while nodes:
                for p in range(nodes):
                    if concepts[used[side, p]] >= 0:
                        best, past = concepts[used[side, p]], reach + 1
                        break
                reach += 1
                following = 0
                if reach < size:
                    for p in range(nodes):
                        node = used[side, p]
                        for f in range(bounds[line[reach]], bounds[line[reach] + 1]):
                            for e in range(edge_bounds[node], edge_bounds[node + 1]):
                                if edges[e, 0] == forms[f]:
                                    used[1 - side, following] = edges[e, 1]
                                    following += 1
                nodes, side = following, 1 - side
            if best >= 0 and last[best] != i:
                last[best] = i
                ids[end] = best
                end += 1
            at = past
        counts[i] = end - first
