"""`cocu vocabulary`: a vocabulary from a corpus's captions, where it is from, and which benchmarks' names it holds.

A vocabulary that was made with the benchmarks in view flatters the results, so the report belongs to it: for each of
the eight, how many class names are concepts. `curate.vocabulary.exclude_benchmarks` holds such names out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cocu.concepts.benchmark_names import benchmark_names
from cocu.concepts.captions import clean_captions
from cocu.concepts.matcher import Matcher, tokens
from cocu.concepts.vocabulary import build_vocabulary, forms
from cocu.config import DataConfig
from cocu.io import read_json, write_json, write_text
from cocu.log import RunCard, progress, say
from cocu.pairs.shards import manifest_shards


def overlap(vocabulary: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Benchmark -> names (how many classes), found (how many are concepts), missing (the others, by name)."""
    known = {form for concept in vocabulary for form in forms(tokens(concept))}
    report = {}
    for benchmark, classes in benchmark_names().items():
        missing = [readings[0] for readings in classes if not any(forms(tokens(name)) & known for name in readings)]
        report[benchmark] = {"names": len(classes), "found": len(classes) - len(missing), "missing": missing}
    return report


def format_overlap(report: dict[str, dict[str, Any]]) -> str:
    """The report as aligned lines."""
    lines = [f"{'benchmark':16}{'names':>7}{'concepts':>10}"]
    lines += [f"{benchmark:16}{row['names']:7}{row['found']:10}" for benchmark, row in report.items()]
    return "\n".join(lines)


def run_vocabulary(config: DataConfig, *, corpus: Path, out: Path) -> None:
    """Write the vocabulary of a corpus's captions to `out`, one concept a line, and the report to its .json.

    `corpus` is the corpus's manifest. The file can be given as curate.vocabulary.file. Raises `DataError` for shards
    that cannot be read, `ConfigError` for a benchmark that is not known.
    """
    card = RunCard("vocabulary")
    name, shards = str(read_json(corpus)["corpus"]), manifest_shards(corpus)
    texts = [clean_captions(shard) for shard in progress(shards, total=len(shards), what="captions")]

    def captions() -> Iterable[str]:
        for text in texts:
            yield from text["caption"].to_pylist()

    settings = config.curate.vocabulary
    vocabulary = build_vocabulary(captions, settings)
    matcher, counts, pairs = Matcher(vocabulary), [0] * len(vocabulary), 0
    for text in texts:
        found = matcher.batch(text["caption"].to_pylist())[1].tolist()
        pairs += text.num_rows
        for concept in found:
            counts[concept] += 1
    report = overlap(vocabulary)
    head = [
        f"# Concepts of the captions of {name}, most frequent first: {len(vocabulary):,} from {pairs:,} captions,",
        f"# each in at least {settings.min_count} of them, of at most {settings.max_tokens} words.",
        *_held(settings.exclude, "Held out"),
        *_held(settings.exclude_benchmarks, "Held out, the class names of"),
    ]
    write_text(out, "".join(f"{line}\n" for line in [*head, *vocabulary]))
    described = {
        "corpus": name,
        "captions": pairs,
        "shards": {shard.shard: shard.sha256 for shard in shards},
        "settings": settings.model_dump(mode="json"),
        "counts": dict(zip(vocabulary, counts, strict=True)),
        "overlap": report,
        "card": card.card(),
    }
    write_json(out.with_suffix(".json"), described)
    say(f"{len(vocabulary):,} concepts in {out}. Class names of the benchmarks among them:\n{format_overlap(report)}")


def _held(names: Sequence[str], what: str) -> list[str]:
    return [f"# {what}: {', '.join(names)}."] if names else []
