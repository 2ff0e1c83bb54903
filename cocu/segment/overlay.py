"""Label maps over their images: one colour a class, and a picture with a legend that can be shown to someone.

Takes images and label maps as arrays; gives arrays. `overlay` is the image under its classes' colours, which the panel
of the test images uses too; `picture` scales a photograph for the screen and sets the legend beside or below it: the
classes that occur, the largest first, each with its colour and its share of the area.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

SIDE = 240  # pixels that the short side of a picture has at least: smaller images are enlarged, nearest neighbour
LONGEST = 1600  # pixels that the long side of a photograph is drawn with at most
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
OPACITY = 0.6  # of a class's colour over the image
BACKGROUND = (0.62, 0.62, 0.62)
LINE = 450  # pixels of the short side to one of the line between regions
INK, PALE = "#222222", "#6b6b6b"
Image = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Colours = npt.NDArray[np.float64]


def enlarge(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(H, W, ...) with every pixel repeated so often that the short side has `SIDE` pixels or more.

    Of a narrow strip only so often that the long side keeps to `LONGEST`.
    """
    short, long = sorted(array.shape[:2])
    times = max(1, min(-(-SIDE // short), LONGEST // long))
    return array.repeat(times, axis=0).repeat(times, axis=1)


def overlay(image: Image, labels: Labels, colours: Colours, ignore_index: int) -> Image:
    """The enlarged image under its labels' colours (classes, 3), a thin white line between regions.

    image (H, W, 3), labels (H, W). The image is grey there, so that a class has one colour over all of them; ignored
    pixels show the grey image alone.
    """
    pixels, large = enlarge(image @ LUMA / 255)[..., None], enlarge(labels)
    scored = large != ignore_index
    tint = colours[np.where(scored, large, 0)]
    blend = np.where(scored[..., None], OPACITY * tint + (1 - OPACITY) * pixels, pixels.repeat(3, axis=2))
    edge = np.zeros(large.shape, dtype=bool)
    for i in range(1, 1 + max(1, min(large.shape) // LINE)):
        edge[:, i:] |= large[:, i:] != large[:, :-i]
        edge[i:] |= large[i:] != large[:-i]
    blend[edge] = 1.0
    out: Image = np.rint(255 * blend).astype(np.uint8)
    return out


def class_colours(names: Sequence[str]) -> Colours:
    """One RGB colour in 0..1 a class (classes, 3): grey for the background, and for the others, one after another, the
    candidate that is furthest (CIELAB) from all before it; a class keeps its colour when classes follow it.
    """
    levels = np.linspace(0, 1, 11)
    candidates = np.array(list(product(levels, repeat=3)))  # (1331, 3)
    lab = cielab(candidates)
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    usable = (lab[:, 0] > 40) & (lab[:, 0] < 85) & (chroma > 30) & (chroma < 75)  # 481: neither greyish nor glaring
    candidates, lab = candidates[usable], lab[usable]
    nearest = np.linalg.norm(lab - cielab(np.array([BACKGROUND])), axis=1)
    chosen: list[npt.NDArray[np.float64] | tuple[float, ...]] = []
    for name in names:
        if name == "background":
            chosen.append(BACKGROUND)
            continue
        best = int(np.argmax(nearest))
        chosen.append(candidates[best])
        nearest = np.minimum(nearest, np.linalg.norm(lab - lab[best], axis=1))
    return np.array(chosen)


def cielab(rgb: Colours) -> Colours:
    """CIELAB (n, 3) of sRGB colours (n, 3) in 0..1, white point D65 (IEC 61966-2-1 and CIE 15)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ matrix.T / matrix.sum(axis=1)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


@dataclass(frozen=True)
class Entry:
    """A line of the legend: a class, its colour in 0..1, and its share of the area in 0..1."""

    name: str
    colour: tuple[float, float, float]
    share: float


def picture(image: Image, labels: Labels, names: Sequence[str], colours: Colours) -> Image:
    """An image (H, W, 3) under its labels (H, W), with a legend; label i is names[i], and 0 the background.

    The long side of the image's part has `LONGEST` pixels at most.
    """
    counts = np.bincount(labels.ravel(), minlength=len(names)).tolist()
    order = sorted((i for i, count in enumerate(counts) if count), key=lambda i: -counts[i])
    entries = [Entry(names[i], tuple(colours[i]), counts[i] / labels.size) for i in order]
    return with_legend(overlay(*fit(image, labels), colours, 0), entries)


def fit(image: Image, labels: Labels) -> tuple[Image, Labels]:
    """Both at most `LONGEST` pixels long: the image averaged, the labels by their nearest neighbour."""
    height, width = labels.shape
    factor = LONGEST / max(height, width)
    if factor >= 1:
        return image, labels
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = Pillow.fromarray(image).resize(size, Pillow.Resampling.BOX)
    nearest = Pillow.fromarray(labels.astype(np.uint8)).resize(size, Pillow.Resampling.NEAREST)
    return np.asarray(small), np.asarray(nearest).astype(np.int64)


def with_legend(drawn: Image, entries: Sequence[Entry]) -> Image:
    """A drawn picture (H, W, 3) on white with its legend: below when it is wider than high, else to its right.

    The font grows with the picture, so that it stays legible when a large one is shown small.
    """
    height, width = drawn.shape[:2]
    em = round(16 * max(1.0, max(height, width) / 900))
    font = ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", em)
    names = [shorten(entry.name, font, 22 * em) for entry in entries]
    shares = [percent(entry.share) for entry in entries]
    swatch, line, gap = em, round(1.6 * em), round(1.4 * em)
    span = round(1.6 * em + max(map(font.getlength, names)) + 0.9 * em + max(map(font.getlength, shares)))
    below = width > height
    most = max(1, (width + gap) // (span + gap)) if below else -(-len(names) // max(1, height // line))
    rows = -(-len(names) // most)
    columns = -(-len(names) // rows)
    wide, high = columns * (span + gap) - gap, rows * line
    left, top = (gap, height + 2 * gap) if below else (width + 2 * gap, gap)
    size = (max(left + wide, width + gap) + gap, max(top + high, height + gap) + gap)
    canvas = Pillow.new("RGB", size, "white")
    canvas.paste(Pillow.fromarray(drawn), (gap, gap))
    draw = ImageDraw.Draw(canvas)
    for i, (entry, name, share) in enumerate(zip(entries, names, shares, strict=True)):
        x, y = left + i // rows * (span + gap), top + i % rows * line + line // 2
        box = (x, y - swatch // 2, x + swatch, y + swatch // 2)
        draw.rounded_rectangle(box, em // 5, fill=rgb(entry.colour))
        draw.text((x + round(1.6 * em), y), name, INK, font, anchor="lm")
        draw.text((x + span, y), share, PALE, font, anchor="rm")
    return np.asarray(canvas)


def rgb(colour: Sequence[float]) -> tuple[int, int, int]:
    """A colour in 0..1 as Pillow takes it."""
    red, green, blue = (round(255 * float(c)) for c in colour)
    return red, green, blue


def shorten(name: str, font: ImageFont.FreeTypeFont, pixels: float) -> str:
    """The name, cut to end in an ellipsis where it is longer than so many pixels."""
    if font.getlength(name) <= pixels:
        return name
    while name and font.getlength(name + "…") > pixels:
        name = name[:-1]
    return name.rstrip() + "…"


def percent(share: float) -> str:
    """`12.3%`, and `<0.1%` for what would round to nothing."""
    return f"{100 * share:.1f}%" if share >= 0.0005 else "<0.1%"
