"""Photographs as a viewer shows them: upright, on white, in eight bits."""

import io

import numpy as np
import pytest
from PIL import Image

from cocu.errors import DataError
from cocu.pairs import images
from cocu.pairs.images import decode_image

ORIENTATION = 0x0112


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def shown(data: bytes) -> np.ndarray:
    return decode_image(data, "photo", as_shown=True)


def corner(width: int = 6, height: int = 4) -> Image.Image:
    """Black, with a white pixel at the top left."""
    image = Image.new("RGB", (width, height))
    image.putpixel((0, 0), (255, 255, 255))
    return image


@pytest.mark.parametrize(
    ("orientation", "shape", "white"),
    [(1, (4, 6), (0, 0)), (3, (4, 6), (3, 5)), (5, (6, 4), (0, 0)), (6, (6, 4), (0, 3)), (8, (6, 4), (5, 0))],
)
def test_exif_rotation_is_applied_only_where_it_is_asked_for(
    orientation: int, shape: tuple[int, int], white: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(corner(), exif=exif)
    assert shown(data).shape == (*shape, 3)
    assert np.argwhere(shown(data)[..., 0] == 255).tolist() == [list(white)]
    assert (decode_image(data, "photo") == np.asarray(corner())).all()


def test_a_broken_exif_block_does_not_lose_the_picture() -> None:
    assert shown(encoded(corner(), "JPEG", exif=b"Exif\0\0no such block")).shape == (4, 6, 3)


def test_transparency_is_on_white_only_where_it_is_asked_for() -> None:
    clear = encoded(Image.new("RGBA", (2, 2), (200, 0, 0, 0)))
    half = encoded(Image.new("LA", (2, 2), (0, 51)))
    paletted = Image.new("P", (2, 2), 1)
    paletted.putpalette([0, 0, 0, 10, 20, 30])
    assert shown(clear)[0, 0].tolist() == [255, 255, 255]
    assert shown(half)[0, 0].tolist() == [204, 204, 204]  # a fifth of black
    assert shown(encoded(paletted))[0, 0].tolist() == [10, 20, 30]
    assert shown(encoded(paletted, transparency=1))[0, 0].tolist() == [255, 255, 255]
    assert decode_image(clear, "photo")[0, 0].tolist() == [200, 0, 0]


def test_other_modes() -> None:
    deep = Image.fromarray(np.full((2, 3), 0x5A12, np.uint16))
    assert (shown(encoded(deep)) == 0x5A).all()
    assert (shown(b"P5 3 2 65535\n" + np.full((2, 3), 0x5A12, ">u2").tobytes()) == 0x5A).all()
    assert shown(encoded(Image.new("CMYK", (2, 2), (0, 255, 255, 0)), "JPEG"))[0, 0].tolist() == [255, 0, 0]
    assert shown(encoded(Image.new("L", (2, 2), 7)))[0, 0].tolist() == [7, 7, 7]
    assert shown(encoded(Image.new("1", (2, 2), 1)))[0, 0].tolist() == [255, 255, 255]


def test_what_cannot_be_shown_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    floats = encoded(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF")
    with pytest.raises(DataError, match=r"photo cannot be decoded \(its pixels are floating-point.*leave it out"):
        shown(floats)
    whole = encoded(Image.effect_noise((60, 60), 90).convert("RGB"), "JPEG")
    with pytest.raises(DataError, match=r"photo cannot be decoded \(.*truncated"):
        shown(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"photo cannot be decoded \(it is none, or of an unknown format\)"):
        shown(b"no picture")
    monkeypatch.setattr(images, "MAX_PIXELS", 3599)
    with pytest.raises(DataError, match=r"photo has 60 x 60 pixels.*Shrink it or leave it out\."):
        shown(whole)
