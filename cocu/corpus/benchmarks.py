"""The mini benchmarks: composed scenes in the on-disk formats of PASCAL VOC 2012 and PASCAL Context.

Takes a split's scenes; gives VOCdevkit/VOC2012 (objects over background) and VOCdevkit/VOC2010 (every pixel labelled)
with JPEG images, palette PNG masks and the list val.txt, so that the evaluation reads them as it reads the real ones.
"val" is for thresholds and choices, "test" for reported numbers; neither depends on a training seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cocu.config import Config
from cocu.corpus.build import encode_jpeg
from cocu.corpus.world import NAMES, draw_scene, load_sprites, scene_generator
from cocu.io import atomic_path, write_json
from cocu.log import RunCard, progress

# The world's name -> the data set's class name and id (mmsegmentation's order); a name that is absent is background.
VOC_CLASSES = {
    "airplane": ("aeroplane", 1),
    "bird": ("bird", 3),
    "boat": ("boat", 4),
    "bus": ("bus", 6),
    "car": ("car", 7),
    "cat": ("cat", 8),
    "chair": ("chair", 9),
    "cow": ("cow", 10),
    "dog": ("dog", 12),
    "horse": ("horse", 13),
    "person": ("person", 15),
    "tv": ("tvmonitor", 20),
}
CONTEXT_CLASSES = {
    "airplane": ("aeroplane", 1),
    "bird": ("bird", 7),
    "boat": ("boat", 8),
    "bus": ("bus", 12),
    "car": ("car", 14),
    "cat": ("cat", 15),
    "chair": ("chair", 17),
    "cow": ("cow", 20),
    "dog": ("dog", 23),
    "horse": ("horse", 31),
    "person": ("person", 37),
    "tv": ("tvmonitor", 55),
    "sky": ("sky", 47),
    "wall": ("wall", 56),
    "grass": ("grass", 29),
    "water": ("water", 57),
    "road": ("road", 41),
    "floor": ("floor", 26),
}


@dataclass(frozen=True)
class Format:
    """Where one data set keeps its masks and its list, and which class each of the world's names is."""

    folder: str
    masks: str
    lists: str
    classes: dict[str, tuple[str, int]]

    def labels(self) -> NDArray[np.uint8]:
        """The data set's class id of each of the world's ids, uint8 (len(NAMES),)."""
        return np.array([self.classes[name][1] if name in self.classes else 0 for name in NAMES], np.uint8)


FORMATS = {
    "voc": Format("VOC2012", "SegmentationClass", "ImageSets/Segmentation", VOC_CLASSES),
    "context": Format("VOC2010", "SegmentationClassContext", "ImageSets/SegmentationContext", CONTEXT_CLASSES),
}


def run(config: Config, *, split: Literal["val", "test"], out: Path) -> None:
    """Write one split's scenes in both formats under `out`, and manifest.json with the pixels of every class."""
    card = RunCard("benchmarks", split=split)
    world, sprites = config.corpus.mini, load_sprites()
    images = world.val_images if split == "val" else world.test_images
    pixels = {name: np.zeros(256, np.int64) for name in FORMATS}
    stems = [f"2012_{i + 1:06d}" for i in range(images)]
    with atomic_path(out / "VOCdevkit") as root:
        for form in FORMATS.values():
            for folder in ("JPEGImages", form.masks, form.lists):
                (root / form.folder / folder).mkdir(parents=True)
            (root / form.folder / form.lists / "val.txt").write_text("".join(f"{stem}\n" for stem in stems))
        for i, stem in enumerate(progress(stems, total=images, what=f"composing {split}, images")):
            scene = draw_scene(world, scene_generator(world, split, 0, i), sprites)
            jpeg = encode_jpeg(scene.image)
            for name, form in FORMATS.items():
                labels = form.labels()[scene.mask]
                (root / form.folder / "JPEGImages" / f"{stem}.jpg").write_bytes(jpeg)
                write_mask(root / form.folder / form.masks / f"{stem}.png", labels)
                pixels[name] += np.bincount(labels.ravel(), minlength=256)
    counts = {"images": images, "pixels": {name: _by_class(FORMATS[name], pixels[name]) for name in FORMATS}}
    write_json(out / "manifest.json", {"split": split, "counts": counts, "card": card.card()})


def write_mask(path: Path, labels: NDArray[np.uint8]) -> None:
    """uint8 (H, W) class ids as a PNG with VOC's colours."""
    image = Image.fromarray(labels)
    image.putpalette(voc_palette().tobytes())  # an 8-bit grey image becomes a palette image of the same ids
    image.save(path)


def voc_palette() -> NDArray[np.uint8]:
    """VOC's colours, uint8 (256, 3): bit 3 k + c of a class id is bit 7 - k of channel c (the VOC development kit)."""
    ids = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for k in range(3):
        for c in range(3):
            colours[:, c] |= ((ids >> (3 * k + c) & 1) << (7 - k)).astype(np.uint8)
    return colours


def _by_class(form: Format, pixels: NDArray[np.int64]) -> dict[str, Any]:
    return {"background": int(pixels[0]), **{name: int(pixels[i]) for name, i in form.classes.values()}}
