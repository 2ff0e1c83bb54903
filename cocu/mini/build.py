"""The mini corpus: compose the world's shards, and their truth.

Takes the configuration; gives the shards, manifest.json (path, samples and SHA-256 of each) and the truth's files.
Every shard has a random stream of its own, so a draw depends on nothing but the world's seed, what it is for, and its
number.
"""

from __future__ import annotations

import io
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cocu.config import Config, MiniWorld
from cocu.errors import ConfigError
from cocu.io import atomic_path, file_sha256, write_json
from cocu.layout import MANIFEST
from cocu.log import RunCard, progress
from cocu.mini.truth import Truth, write_truth
from cocu.mini.world import NAMES, Scene, Sprites, complete_caption, draw_scene, load_sprites, scene_generator
from cocu.pairs.shards import write_shard

JPEG_QUALITY = 95


def run(config: Config, *, corpus: str, out: Path, truth: Path | None) -> None:
    """Write the corpus named `corpus` to `out`, and its truth to `truth` when that is given.

    Raises `ConfigError` for a name that the world does not have.
    """
    card = RunCard("corpus", corpus=corpus)
    shards, counts = _compose(config.corpus.mini, corpus, out, truth)
    write_json(out / MANIFEST, {"corpus": corpus, "shards": shards, "counts": counts, "card": card.card()})


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
