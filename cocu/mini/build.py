"""The mini corpus: compose the world's shards, and their truth.

Takes the configuration; gives the shards, manifest.json (path, samples, size and SHA-256 of each), index/ and the
truth's files.
Every shard has a random stream of its own, so a draw depends on nothing but the world's seed, what it is for, and its
number.
"""

from __future__ import annotations

import io
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cocu.config import Config, MiniWorld
from cocu.errors import ConfigError
from cocu.io import file_sha256, write_json
from cocu.layout import Corpus, scenes, side_car, tar
from cocu.log import RunCard, progress
from cocu.mini.truth import Truth, write_truth
from cocu.mini.world import NAMES, Scene, Sprites, complete_caption, draw_scene, load_sprites, scene_generator
from cocu.pairs.index import write_index
from cocu.pairs.shards import ShardFile, index_shard, manifest_entry, write_shard
from cocu.stamp import stamp

JPEG_QUALITY = 95
DRAWS = {"web": "web_pairs", "train": "train_pairs"}  # stream -> the key of its size


def run(config: Config, *, corpus: str, out: Corpus, truth: Path | None) -> None:
    """Write the corpus named `corpus` to `out`, and its truth to the folder `truth` when that is given.

    Raises `ConfigError` for a name that the world does not have.
    """
    card = RunCard("corpus", corpus=corpus)
    stream, seed = _parse_name(corpus)
    made_from = stamp("mini", config, {"corpus": corpus}, f"corpus.mini.{DRAWS[stream]}")
    shards = _compose(config.corpus.mini, stream, seed, corpus, out, truth)
    counts = {"pairs": sum(shard["samples"] for shard in shards)}
    described = {"corpus": corpus, "shards": shards, "counts": counts, "stamp": made_from, "card": card.card()}
    write_json(out.manifest, described)


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
    world: MiniWorld, stream: str, seed: int, corpus: str, out: Corpus, truth: Path | None
) -> list[dict[str, Any]]:
    """The manifest's entries of the shards, written with their indexes and truth."""
    pairs, per_shard = getattr(world, DRAWS[stream]), world.pairs_per_shard
    sprites, shards = load_sprites(), []
    for folder in filter(None, (out.shards, out.index, truth)):
        shutil.rmtree(folder, ignore_errors=True)  # nothing of an earlier, longer run is left in them
    numbers = range(-(-pairs // per_shard))
    for number in progress(numbers, total=len(numbers), what=f"composing {corpus}, shards"):
        drawn = draw_shard(world, sprites, stream, seed, number, min(per_shard, pairs - number * per_shard))
        shard = f"{corpus}/{number:05d}"
        path, index = tar(out.shards, shard), side_car(out.index, shard)
        samples = write_shard(path, ((name, encode_jpeg(scene.image), text) for name, scene, text in drawn))
        write_index(index, index_shard(path))
        file = ShardFile(path.resolve(), shard, samples, path.stat().st_size, file_sha256(path), index)
        shards.append(manifest_entry(file, out.root))
        if truth:
            keys = tuple(file.key(name) for name, _, _ in drawn)
            write_truth(scenes(truth, shard), _truth(keys, [scene for _, scene, _ in drawn]))
    return shards


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
