"""Encoded images into pixels, strictly: what cannot be decoded whole is a `DataError` naming its key."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cocu.errors import DataError

MAX_PIXELS = 64_000_000  # a bigger "image" is a mistake or a decompression bomb


def decode_image(data: bytes, key: str) -> NDArray[np.uint8]:
    """uint8 (H, W, 3) RGB from an encoded image of any mode, as Pillow decodes it (EXIF rotation is not applied).

    Raises `DataError` naming the key when the image is cut, damaged or larger than `MAX_PIXELS`.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(
                    f"The image {key} has {image.width} x {image.height} pixels, more than {MAX_PIXELS:,}. "
                    "Shrink it or remove the sample."
                )
            if image.mode.startswith("I;16"):  # Pillow's own conversion clips 16 bits to white
                grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
                return np.repeat(grey[:, :, None], 3, axis=2)
            return np.array(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"The image {key} cannot be decoded ({error}). Re-download its shard or remove the sample."
        ) from error
