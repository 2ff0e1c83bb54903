"""Encoded images into pixels, strictly: what cannot be decoded whole is a `DataError` naming its key."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from cocu.errors import DataError

RGB = tuple[float, float, float]

MAX_PIXELS = 64_000_000  # a bigger "image" is a mistake or a decompression bomb


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of RGB in [0, 1] that a model was trained with."""

    mean: RGB
    std: RGB


IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # timm's, and GroupViT's
OPENAI = Normalisation((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))  # CLIP's, open_clip's


def decode_image(data: bytes, key: str, *, as_shown: bool = False) -> NDArray[np.uint8]:
    """uint8 (H, W, 3) RGB from an encoded image of any mode.

    As Pillow decodes it; as_shown: as a viewer shows it, which is upright by its EXIF rotation and on white where it is
    transparent. Raises `DataError` naming the key when the image is cut, damaged or larger than `MAX_PIXELS`.
    """
    advice = "Replace it or leave it out." if as_shown else "Re-download its shard or remove the sample."
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(
                    f"The image {key} has {image.width} x {image.height} pixels, more than {MAX_PIXELS:,}. "
                    f"Shrink it or {'leave it out' if as_shown else 'remove the sample'}."
                )
            shown = _as_shown(image) if as_shown else image
            if shown.mode.startswith("I;16"):  # Pillow's own conversion clips 16 bits to white
                grey = (np.asarray(shown).astype(np.uint16) >> 8).astype(np.uint8)
                return np.repeat(grey[:, :, None], 3, axis=2)
            return np.array(shown.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        why = "it is none, or of an unknown format" if isinstance(error, UnidentifiedImageError) else error
        raise DataError(f"The image {key} cannot be decoded ({why}). {advice}") from error


def _as_shown(image: Image.Image) -> Image.Image:
    """The image upright, on white, and of no more than 16 bits."""
    image.load()  # so that a cut image is an error, and what fails after this is its EXIF block
    with contextlib.suppress(Exception):
        image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, of which no range is known")
    if image.mode.startswith("I"):
        return image.convert("I;16") if image.mode == "I" else image
    if image.has_transparency_data:
        above = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", above.size, "white"), above)
    return image
