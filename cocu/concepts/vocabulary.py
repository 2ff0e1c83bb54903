"""The vocabulary: which words and compounds of the captions are concepts.

Takes captions, or a file with one concept a line; gives the names, whose positions are the concept ids. From captions:
frequent nouns (by lemminflect's lexicon; words that it does not know, by their endings) that are no stop words, and
n-grams that hold together ("traffic light": at least half of the captions with its rarest token have the whole n-gram).
Plurals are folded onto singulars that occur. Names that the settings hold out are in neither.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from cocu.concepts.benchmark_names import held_out_names
from cocu.concepts.matcher import chunk_tokens, tokens
from cocu.concepts.words import is_noun, is_stop, singulars
from cocu.config import Vocabulary
from cocu.errors import ConfigError, DataError

COHESION = 0.5  # share of the captions with an n-gram's rarest token that have the n-gram
MAX_CONCEPTS = 65_535  # ids are uint16

Gram = tuple[str, ...]


def build_vocabulary(captions: Callable[[], Iterable[str]], settings: Vocabulary) -> list[str]:
    """Concept names by falling number of captions, then alphabetically; at most `max_concepts`.

    `captions()` gives the captions from the start; it is called once for the words and once for each n-gram length, so
    that only n-grams whose parts are frequent are ever counted. A name counts once a caption.
    """
    fold = _folding(captions())
    counts: dict[Gram, int] = {}
    frequent: dict[Gram, int] = {}
    for size in range(1, settings.max_tokens + 1):
        level = _count(captions(), fold, size, frequent)
        frequent = {gram: n for gram, n in level.items() if n >= settings.min_count}
        counts.update(frequent)
        if not frequent:
            break
    held = _held_out(settings)
    kept = [g for g, count in counts.items() if _is_concept(g, count, counts) and not forms(g) & held]
    kept.sort(key=lambda gram: (-counts[gram], " ".join(gram)))
    return [" ".join(gram) for gram in kept[: settings.max_concepts]]


def read_vocabulary(path: Path, settings: Vocabulary) -> list[str]:
    """Concept names from a file: one a line, `#` begins a comment line; case folded, repeated names kept once.

    Names that are held out are dropped. Raises `ConfigError` when the file cannot be read, and `DataError` naming the
    line of a concept without a letter or with more than `max_tokens` tokens, and when there are none or more than
    65,535.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Cannot read curate.vocabulary.file '{path}' ({error}). Correct the path.") from error
    names: dict[str, None] = {}
    held = _held_out(settings)
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        parts = tokens(line)
        if not parts:
            raise DataError(f"{path}, line {number}: '{line.strip()}' holds no word. Correct or remove it.")
        if len(parts) > settings.max_tokens:
            raise DataError(
                f"{path}, line {number}: '{line.strip()}' has {len(parts)} tokens, more than "
                f"curate.vocabulary.max_tokens ({settings.max_tokens}). Shorten it or raise the limit."
            )
        if not forms(parts) & held:
            names[" ".join(parts)] = None
    if not 0 < len(names) <= MAX_CONCEPTS:
        raise DataError(f"{path} holds {len(names):,} concepts; a vocabulary has 1 to {MAX_CONCEPTS:,}.")
    return list(names)


def forms(gram: Sequence[str]) -> set[Gram]:
    """A name and what it is the plural of: its last token, or a singular of it."""
    return {(*gram[:-1], last) for last in (gram[-1], *singulars(gram[-1]))} if gram else set()


def _held_out(settings: Vocabulary) -> set[Gram]:
    """Every form of the names that are held out; "cat" holds "cats" out, and not "cat house"."""
    names = [*settings.exclude]
    for classes in held_out_names(settings.exclude_benchmarks).values():
        names += [reading for readings in classes for reading in readings]
    return {form for name in names for form in forms(tokens(name))}


def _folding(captions: Iterable[str]) -> dict[str, str]:
    """Each token of the corpus that may be in a concept -> its singular, where that occurs, or itself."""
    chunks = {chunk for caption in captions for chunk in caption.split()}
    seen = {token for chunk in chunks for token in chunk_tokens(chunk) if not is_stop(token)}
    return {token: next((s for s in singulars(token) if s in seen), token) for token in seen}


def _count(captions: Iterable[str], fold: dict[str, str], size: int, shorter: dict[Gram, int]) -> Counter[Gram]:
    """Captions with each n-gram of `size` tokens whose two parts of `size` - 1 tokens are in `shorter`."""
    counts: Counter[Gram] = Counter()
    memo: dict[str, list[str | None]] = {}
    for caption in captions:
        words: list[str | None] = []
        for chunk in caption.split():
            if chunk not in memo:
                memo[chunk] = [fold.get(token) for token in chunk_tokens(chunk)]
            words += memo[chunk]
        grams = set(zip(*(words[i:] for i in range(size)), strict=False))
        counts.update(
            gram for gram in grams if None not in gram and (size == 1 or (gram[:-1] in shorter and gram[1:] in shorter))
        )
    return counts


def _is_concept(gram: Sequence[str], count: int, counts: dict[Gram, int]) -> bool:
    if not is_noun(gram[-1]):
        return False
    return len(gram) == 1 or count >= COHESION * min(counts[(token,)] for token in gram)
