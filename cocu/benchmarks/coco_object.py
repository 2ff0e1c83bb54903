"""COCO-Object's masks, made of COCO-Stuff's pixel maps.

Takes a folder of raw maps (8-bit grey PNG: a COCO category's id - 1; 0 to 90 things, above them stuff, 255 unlabelled);
gives a mask for each: 0 background, 1 to 80 the things that COCO kept, in the order of their ids. Source: Caesar et al.
2018 (the maps), Lin et al. 2014 (the categories).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cocu.errors import DataError
from cocu.io import atomic_path
from cocu.log import progress, say
from cocu.parallel import in_processes

REMOVED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)  # ids of things that COCO planned and labelled nowhere
THINGS = 91
NO_LABEL = 255  # in the table: a raw value that no sound map has
MADE = "TrainIds.png"  # ends the names of masks that this or mmsegmentation's converter put beside the maps
SUFFIX = "_instanceTrainIds.png"


def run(maps: Path, *, out: Path, processes: int) -> None:
    """Write OUT/NAME_instanceTrainIds.png for every MAPS/NAME.png; a mask that is newer than its map is kept.

    Raises `DataError` for a folder without maps, and for a map that is damaged, no 8-bit grey, or labelled with a
    category that COCO removed.
    """
    found = sorted(p for p in maps.glob("*.png") if not p.name.startswith(".") and not p.name.endswith(MADE))
    if not found:
        raise DataError(
            f"No raw pixel map (*.png) lies in {maps}. Get stuffthingmaps_trainval2017.zip from the COCO-Stuff site, "
            "unpack it, and give its folder val2017."
        )
    masks = [out / f"{path.stem}{SUFFIX}" for path in found]
    todo = [(path, mask) for path, mask in zip(found, masks, strict=True) if not _is_made(path, mask)]
    for _ in progress(in_processes(_convert_pair, todo, processes, chunk=16), total=len(todo), what="converting maps"):
        pass
    say(f"{out}: {len(todo):,} masks written, {len(found) - len(todo):,} were there")


def label_table() -> NDArray[np.uint8]:
    """COCO-Object's label of each raw value, uint8 (256,); `NO_LABEL` where the value is a removed category's."""
    table = np.zeros(256, np.uint8)
    table[np.array(REMOVED) - 1] = NO_LABEL
    kept = [i for i in range(1, THINGS + 1) if i not in REMOVED]
    table[np.array(kept) - 1] = np.arange(1, len(kept) + 1)
    return table


def convert(path: Path, mask: Path) -> None:
    """Write the mask of one raw map."""
    try:
        with Image.open(path) as image:
            mode, raw = image.mode, np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"Cannot read the map {path}: {error}. Unpack the pixel maps again.") from error
    if mode not in ("L", "P"):
        raise DataError(f"The map {path} is of mode {mode}, and a raw pixel map of COCO-Stuff is 8-bit grey (L).")
    labels = label_table()[raw]
    if (wrong := labels == NO_LABEL).any():
        value = int(raw[wrong][0])
        raise DataError(
            f"The map {path} holds the value {value}, category {value + 1}, which COCO removed: it is no raw pixel map "
            "of COCO-Stuff, whose values are category ids - 1."
        )
    with atomic_path(mask) as temporary:
        Image.fromarray(labels).save(temporary, format="PNG")


def _is_made(path: Path, mask: Path) -> bool:
    return mask.is_file() and mask.stat().st_mtime >= path.stat().st_mtime


def _convert_pair(pair: tuple[Path, Path]) -> None:
    convert(*pair)
