"""Concepts of a caption: which entries of the vocabulary occur in it, as whole words.

Takes the vocabulary's names (ids are positions) and a caption; gives the distinct ids C_i in order of first occurrence
(design, "the method": whole-token n-grams, plurals folded). "car" is not in "carpet"; in "traffic lights" the longest
match, "traffic light", hides "light". Tokens would take most of the time, so they are kept per blank-separated chunk.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from cocu.curate.words import singulars

BREAK = ""  # stands where punctuation ends a phrase: no n-gram reaches across it
_TOKEN = re.compile(r"([^\W_]+)|[,.;:!?()\[\]{}|/]")
_MEMO_CHUNKS = 1_000_000  # about 300 MB; cleared when full, since most chunks of a web corpus are seen once


def chunk_tokens(chunk: str) -> list[str]:
    """Tokens of a text without blanks: runs of letters and digits, lower case, NFKC; `BREAK` at punctuation."""
    return _TOKEN.findall(unicodedata.normalize("NFKC", chunk).lower())


def tokens(text: str) -> list[str]:
    """The tokens of a text, without breaks."""
    return [token for chunk in text.split() for token in chunk_tokens(chunk) if token]


class _Node:
    """A place in the trie: the concept that ends here (-1 for none), and the tokens that go on."""

    __slots__ = ("children", "concept")

    def __init__(self) -> None:
        self.concept = -1
        self.children: dict[str, _Node] = {}


class Matcher:
    """Finds the concepts of captions. A token stands for itself, or for its singular where the vocabulary has that."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._root = _Node()
        self._known: set[str] = set()
        self._memo: dict[str, tuple[tuple[str, ...], ...]] = {}
        for concept, name in enumerate(vocabulary):
            node = self._root
            for token in tokens(name):
                self._known.add(token)
                node = node.children.setdefault(token, _Node())
            if node.concept < 0:
                node.concept = concept

    def __call__(self, caption: str) -> list[int]:
        """Distinct concept ids in order of first occurrence; longest match first, left to right."""
        memo = self._memo
        words: list[tuple[str, ...]] = []
        for chunk in caption.split():
            found = memo.get(chunk)
            words += self._read(chunk) if found is None else found
        out: dict[int, None] = {}
        root = self._root.children
        at, end = 0, len(words)
        while at < end:
            word = words[at]
            if len(word) == 1:
                node = root.get(word[0])
                if node is None:
                    at += 1
                elif not node.children or at + 1 == end or not words[at + 1]:
                    if node.concept >= 0:
                        out[node.concept] = None
                    at += 1
                else:
                    at = self._longest(words, at, out)
            elif word:
                at = self._longest(words, at, out)
            else:
                at += 1
        return list(out)

    def _read(self, chunk: str) -> tuple[tuple[str, ...], ...]:
        """For each token of a chunk, what it may stand for in the vocabulary: nothing for unknown words and breaks."""
        words = tuple(
            tuple(form for form in (token, *singulars(token)) if form in self._known) if token else ()
            for token in chunk_tokens(chunk)
        )
        if len(self._memo) >= _MEMO_CHUNKS:
            self._memo.clear()
        self._memo[chunk] = words
        return words

    def _longest(self, words: list[tuple[str, ...]], at: int, out: dict[int, None]) -> int:
        """Add the longest concept that begins at `at`, if there is one; returns where to go on."""
        nodes, best, past = [self._root], -1, at + 1
        for i in range(at, len(words)):
            nodes = [node.children[form] for node in nodes for form in words[i] if form in node.children]
            if not nodes:
                break
            concept = next((node.concept for node in nodes if node.concept >= 0), -1)  # the exact form comes first
            if concept >= 0:
                best, past = concept, i + 1
        if best >= 0:
            out[best] = None
        return past
