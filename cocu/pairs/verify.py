"""The user's own shards: there, whole and sound, or, when lenient, what is not set aside.

Takes the pattern `corpus.shards`; gives manifest.json (path, samples and SHA-256 of every shard, and the samples that
are set aside) and, when lenient, quarantine.jsonl with a line for each of them. The shards are never written to.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from braceexpand import braceexpand

from cocu.config import Config, Corpus
from cocu.errors import ConfigError, DataError
from cocu.io import file_sha256, write_json, write_text
from cocu.layout import MANIFEST
from cocu.log import RunCard, progress, say
from cocu.pairs.fetch import fetched
from cocu.pairs.quarantine import check_share, inspect_shard
from cocu.pairs.shards import check_stems, index_shard

HOW_TO_GET_CC3M = (
    "CC3M's images come with img2dataset, from the list of addresses and captions that its authors give out: "
    "`img2dataset --url_list cc3m.tsv --input_format tsv --url_col url --caption_col caption --output_folder data/cc3m "
    "--output_format webdataset --image_size 256 --resize_mode keep_ratio` writes 00000.tar, 00001.tar, ... "
    "with NAME.jpg and NAME.txt in them."
)

Shards = list[dict[str, Any]]


def run(config: Config, *, corpus: str, out: Path) -> None:
    """Write the manifest of the shards that `corpus.shards` names to `out`; copies of remote ones go to `out`/shards.

    Strict counts are from a pass over the tars' headers; a lenient pass decodes every image as well. Raises
    `ConfigError` for a pattern that means nothing, `DataError` for shards that are missing or damaged.
    """
    card = RunCard("corpus", corpus=corpus)
    settings = config.corpus
    paths = _paths(settings.shards, out / "shards")
    shards, counts = _inspect(settings, corpus, paths, config.clip.threads, out) if settings.lenient else _check(paths)
    write_json(out / MANIFEST, {"corpus": corpus, "shards": shards, "counts": counts, "card": card.card()})


def _paths(pattern: str, copies: Path) -> list[Path]:
    try:
        paths = [fetched(shard, copies) for shard in braceexpand(pattern)]
    except ValueError as error:
        raise ConfigError(f"corpus.shards: {error}; write a pattern such as data/cc3m/{{00000..00331}}.tar.") from error
    if missing := [path for path in paths if not path.is_file()]:
        raise DataError(
            f"{len(missing)} of {len(paths)} shards of corpus.shards are missing, the first is {missing[0]}. "
            f"Correct the pattern ({pattern}) or get the shards. {HOW_TO_GET_CC3M}"
        )
    check_stems(paths)
    return paths


def _check(paths: list[Path]) -> tuple[Shards, dict[str, int]]:
    shards, counts = [], {"pairs": 0, "other_members": 0}
    for path in progress(paths, total=len(paths), what="verifying shards"):
        index = index_shard(path)
        shards.append({"path": str(path), "samples": len(index.names), "sha256": file_sha256(path)})
        counts["pairs"] += len(index.names)
        counts["other_members"] += index.other
    return shards, counts


def _inspect(
    settings: Corpus, corpus: str, paths: list[Path], threads: int, out: Path
) -> tuple[Shards, dict[str, int]]:
    shards: Shards = []
    found, lines = [], []
    counts = dict.fromkeys(("pairs", "other_members", "bad_samples", "bad_shards"), 0)
    for path in progress(paths, total=len(paths), what="inspecting shards"):
        one = inspect_shard(path, corpus, threads)
        found.append(one)
        if one.damage:
            lines.append({"shard": str(path), "sample": None, "reason": one.damage})
            counts["bad_shards"] += 1
            continue
        lines += [{"shard": str(path), "sample": name, "reason": reason} for name, reason in one.broken.items()]
        skipped = {"skipped": sorted(one.broken)} if one.broken else {}
        shards.append({"path": str(path), "samples": one.good, "sha256": file_sha256(path), **skipped})
        counts["pairs"] += one.good
        counts["other_members"] += one.other
        counts["bad_samples"] += len(one.broken)
    listed = out / "quarantine.jsonl"
    write_text(listed, "".join(json.dumps(line) + "\n" for line in lines))
    check_share(found, settings.max_bad, listed)
    if lines:
        say(f"{counts['bad_samples']:,} samples and {counts['bad_shards']:,} shards are set aside, see {listed}")
    return shards, counts
