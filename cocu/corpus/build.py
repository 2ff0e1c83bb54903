"""The corpus: compose the mini world's shards, or verify the shards that the user has.

Takes the configuration; gives manifest.json (path, samples and SHA-256 of every shard) and, for the mini world, the
shards themselves and their truth. Every shard has a random stream of its own, so a draw depends on nothing but the
world's seed, what it is for, and its number.
"""

from __future__ import annotations

import io
import json
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from braceexpand import braceexpand
from numpy.typing import NDArray
from PIL import Image

from cocu.config import Config, Corpus, MiniWorld
from cocu.corpus.fetch import fetched
from cocu.corpus.quarantine import check_share, inspect_shard
from cocu.corpus.shards import check_stems, index_shard, write_shard
from cocu.corpus.truth import Truth, write_truth
from cocu.corpus.world import NAMES, Scene, Sprites, complete_caption, draw_scene, load_sprites, scene_generator
from cocu.errors import ConfigError, DataError
from cocu.io import atomic_path, file_sha256, write_json, write_text
from cocu.log import RunCard, progress, say

JPEG_QUALITY = 95
HOW_TO_GET_CC3M = (
    "CC3M's images come with img2dataset, from the list of addresses and captions that its authors give out: "
    "`img2dataset --url_list cc3m.tsv --input_format tsv --url_col url --caption_col caption --output_folder data/cc3m "
    "--output_format webdataset --image_size 256 --resize_mode keep_ratio` writes 00000.tar, 00001.tar, ... "
    "with NAME.jpg and NAME.txt in them."
)


def run(config: Config, *, corpus: str, out: Path, truth: Path | None) -> None:
    """Write the corpus named `corpus` to `out`, and its truth to `truth` when that is given (mini world only).

    Raises `ConfigError` for a name or a pattern that means nothing, `DataError` for shards that are missing or damaged.
    """
    card = RunCard("corpus", corpus=corpus)
    if config.corpus.kind == "mini":
        shards, counts = _compose(config.corpus.mini, corpus, out, truth)
    elif truth is not None:
        raise ConfigError("Only the mini corpus has a truth; corpus.kind is 'shards'.")
    else:
        shards, counts = _verify(config.corpus, corpus, config.clip.threads, out)
    write_json(out / "manifest.json", {"corpus": corpus, "shards": shards, "counts": counts, "card": card.card()})


def encode_jpeg(image: NDArray[np.uint8]) -> bytes:
    """uint8 (H, W, 3) RGB as a JPEG without chroma subsampling, which would smear sprites a few pixels wide."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return stream.getvalue()


def draw_shard(
    world: MiniWorld, sprites: Sprites, stream: str, seed: int, number: int, samples: int
) -> list[tuple[str, Scene, str]]:
    """One shard's (name, scene, caption): complete captions in the stream "web", partial ones in every other."""
    rng = scene_generator(world, stream, seed, number)
    drawn = []
    for i in range(samples):
        scene = draw_scene(world, rng, sprites)
        caption = complete_caption(scene.names, rng) if stream == "web" else scene.caption
        drawn.append((f"{number * world.pairs_per_shard + i:07d}", scene, caption))
    return drawn


def _compose(
    world: MiniWorld, corpus: str, out: Path, truth: Path | None
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    stream, seed = _parse_name(corpus)
    pairs = world.web_pairs if stream == "web" else world.train_pairs
    per_shard = world.pairs_per_shard
    sprites = load_sprites()
    shards: list[dict[str, Any]] = []
    # Folders as a whole: nothing of an earlier, longer run is left in them.
    with atomic_path(out / "shards") as folder, atomic_path(truth) if truth else nullcontext() as truth_folder:
        folder.mkdir()
        if truth_folder:
            truth_folder.mkdir()
        numbers = range(-(-pairs // per_shard))
        for number in progress(numbers, total=len(numbers), what=f"composing {corpus}, shards"):
            drawn = draw_shard(world, sprites, stream, seed, number, min(per_shard, pairs - number * per_shard))
            path = folder / f"{number:05d}.tar"
            samples = write_shard(path, ((name, encode_jpeg(scene.image), text) for name, scene, text in drawn))
            shards.append({"path": f"shards/{path.name}", "samples": samples, "sha256": file_sha256(path)})
            if truth_folder:
                keys = tuple(f"{corpus}/{path.stem}/{name}" for name, _, _ in drawn)
                write_truth(truth_folder / f"{path.stem}.npz", _truth(keys, [scene for _, scene, _ in drawn]))
    return shards, {"pairs": sum(s["samples"] for s in shards)}


def _truth(keys: tuple[str, ...], scenes: list[Scene]) -> Truth:
    visible = np.array([[name in scene.names for name in NAMES] for scene in scenes])
    return Truth(keys, np.stack([scene.mask for scene in scenes]), NAMES, visible)


def _parse_name(corpus: str) -> tuple[str, int]:
    match = re.fullmatch(r"(web)|(train)(\d+)", corpus)
    if not match:
        raise ConfigError(
            f"The mini world has no corpus '{corpus}': it has 'web', and 'train0', 'train1', ... by seed."
        )
    return ("web", 0) if match[1] else ("train", int(match[3]))


def _verify(settings: Corpus, name: str, threads: int, out: Path) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Every shard that the pattern names: there, whole, sound; or, when lenient, what is not set aside and counted.

    Strict counts are from a pass over the tars' headers; a lenient pass decodes every image as well.
    """
    pattern = settings.shards
    try:
        paths = [fetched(p, out / "shards") for p in braceexpand(pattern)]
    except ValueError as error:
        raise ConfigError(f"corpus.shards: {error}; write a pattern such as data/cc3m/{{00000..00331}}.tar.") from error
    if missing := [path for path in paths if not path.is_file()]:
        raise DataError(
            f"{len(missing)} of {len(paths)} shards of corpus.shards are missing, the first is {missing[0]}. "
            f"Correct the pattern ({pattern}) or get the shards. {HOW_TO_GET_CC3M}"
        )
    check_stems(paths)
    if settings.lenient:
        return _verify_leniently(settings, name, paths, threads, out)
    shards, counts = [], {"pairs": 0, "other_members": 0}
    for path in progress(paths, total=len(paths), what="verifying shards"):
        index = index_shard(path)
        shards.append({"path": str(path), "samples": len(index.names), "sha256": file_sha256(path)})
        counts["pairs"] += len(index.names)
        counts["other_members"] += index.other
    return shards, counts


def _verify_leniently(
    settings: Corpus, name: str, paths: list[Path], threads: int, out: Path
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    shards, found, lines = [], [], []
    counts = dict.fromkeys(("pairs", "other_members", "bad_samples", "bad_shards"), 0)
    for path in progress(paths, total=len(paths), what="inspecting shards"):
        one = inspect_shard(path, name, threads)
        found.append(one)
        bad = [{"shard": str(path), "sample": sample, "reason": reason} for sample, reason in one.broken.items()]
        if one.damage:
            lines.append({"shard": str(path), "sample": None, "reason": one.damage})
            counts["bad_shards"] += 1
            continue
        lines += bad
        skipped = {"skipped": sorted(one.broken)} if one.broken else {}
        shards.append({"path": str(path), "samples": one.good, "sha256": file_sha256(path), **skipped})
        counts["pairs"] += one.good
        counts["other_members"] += one.other
        counts["bad_samples"] += len(bad)
    listed = out / "quarantine.jsonl"
    write_text(listed, "".join(json.dumps(line) + "\n" for line in lines))
    check_share(found, settings.max_bad, listed)
    if lines:
        say(f"{counts['bad_samples']:,} samples and {counts['bad_shards']:,} shards are set aside, see {listed}")
    return shards, counts
