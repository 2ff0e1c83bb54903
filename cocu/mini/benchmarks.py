"""The mini benchmarks: composed scenes in the on-disk formats of eight data sets.

Takes the mini world; gives each data set's folders of images and masks as `formats` describes them, so that the
evaluation reads them as it reads the real ones. Each data set has scenes of its own, but for VOC and Context, which
share photographs. "val" is for thresholds and choices, "test" for reported numbers; neither depends on a training seed.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cocu.config import Config
from cocu.io import atomic_path, write_json
from cocu.layout import MANIFEST
from cocu.log import RunCard, progress
from cocu.mini.build import encode_jpeg
from cocu.mini.formats import FORMATS, Format
from cocu.mini.world import NAMES, Scene, draw_scene, load_sprites, scene_generator

COLOUR_LABELS = 256  # of one channel; the next channel counts these


def run(config: Config, *, split: Literal["val", "test"], out: Path) -> None:
    """Write one split's scenes in every format under `out`, and manifest.json with the pixels of every label."""
    card = RunCard("benchmarks", split=split)
    world, sprites = config.corpus.mini, load_sprites()
    scenes = world.val_images if split == "val" else world.test_images
    pixels = {name: np.zeros(len(NAMES), np.int64) for name in FORMATS}
    images = dict.fromkeys(FORMATS, 0)
    with atomic_path(out) as root:
        for form in FORMATS.values():
            if form.list_file:
                (root / form.list_file).parent.mkdir(parents=True)
        draws = sorted({form.draw for form in FORMATS.values()})
        numbers = [(draw, i) for draw in draws for i in range(scenes)]
        for draw, i in progress(numbers, total=len(numbers), what=f"composing {split}, scenes"):
            scene = draw_scene(world, scene_generator(world, split, draw, i), sprites)
            jpeg = encode_jpeg(scene.image)
            for name, form in FORMATS.items():
                if form.draw == draw and write_scene(root, form, i + 1, scene, jpeg):
                    images[name] += 1
                    pixels[name] += np.bincount(scene.mask.ravel(), minlength=len(NAMES))
        counts = {n: {"images": images[n], "pixels": _by_name(form, pixels[n])} for n, form in FORMATS.items()}
        write_json(root / MANIFEST, {"split": split, "counts": counts, "card": card.card()})


def write_scene(root: Path, form: Format, number: int, scene: Scene, jpeg: bytes) -> bool:
    """Write the scene's image and mask below `root`; False, and no file, where the format has no such scene."""
    group = next((form.groups[name] for name in scene.names if name in form.groups), "")
    if form.groups and not group:
        return False
    image, mask = (root / path.format(i=number, group=group) for path in (form.image, form.mask))
    for path in (image, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    image.write_bytes(encode_png(scene.image) if image.suffix == ".png" else jpeg)
    mask.write_bytes(encode_mask(form, form.table()[scene.mask]))
    if form.list_file:
        with (root / form.list_file).open("a") as stream:
            stream.write(f"{image.stem}\n")
    return True


def encode_mask(form: Format, labels: NDArray[np.int64]) -> bytes:
    """Labels (H, W) as a PNG in the format's encoding."""
    low = (labels % COLOUR_LABELS).astype(np.uint8)
    if form.encoding == "colour":
        high = (labels // COLOUR_LABELS).astype(np.uint8)
        return encode_png(np.stack([low, high, np.zeros_like(low)], axis=-1))
    return encode_png(low, voc_palette() if form.encoding == "palette" else None)


def encode_png(pixels: NDArray[np.uint8], palette: NDArray[np.uint8] | None = None) -> bytes:
    """uint8 (H, W, 3) colours or (H, W) values, which index the palette (256, 3) where one is given, as a PNG."""
    image, stream = Image.fromarray(pixels), io.BytesIO()
    if palette is not None:
        image.putpalette(palette.tobytes())  # an 8-bit grey image becomes a palette image of the same values
    image.save(stream, "PNG")
    return stream.getvalue()


def voc_palette() -> NDArray[np.uint8]:
    """VOC's colours, uint8 (256, 3): bit 3 k + c of a class id is bit 7 - k of channel c (the VOC development kit)."""
    ids = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for k in range(3):
        for c in range(3):
            colours[:, c] |= ((ids >> (3 * k + c) & 1) << (7 - k)).astype(np.uint8)
    return colours


def _by_name(form: Format, pixels: NDArray[np.int64]) -> dict[str, int]:
    """Pixels of the labelled names, and of all the others together."""
    labelled = {name: int(pixels[i]) for i, name in enumerate(NAMES) if name in form.labels}
    return {**labelled, "other": int(pixels.sum()) - sum(labelled.values())}
