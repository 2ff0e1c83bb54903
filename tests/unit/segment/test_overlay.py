from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFont

from cocu.segment import overlay as module
from cocu.segment.overlay import Entry, cielab, class_colours, enlarge, fit, overlay, percent, picture, rgb, with_legend

NAMES = ["background", "cat", "dog", "sky"]


def _image(height: int, width: int, value: int = 100) -> Any:
    return np.full((height, width, 3), value, np.uint8)


def _colours(drawn: Any) -> set[tuple[int, ...]]:
    return {tuple(colour) for _, colour in Image.fromarray(drawn).getcolors(drawn.size)}


def test_overlay_by_hand() -> None:
    """A 2 x 2 grey image, left half class 1, right half ignored: tint, untouched grey, and a white line between."""
    labels = np.array([[1, 255], [1, 255]])
    drawn = overlay(_image(2, 2), labels, np.array([[0.0, 0.0, 0.0], [1.0, 0.5, 0.0]]), 255)
    assert drawn.shape == (240, 240, 3)
    assert drawn[0, 0].tolist() == [193, 116, 40]  # 0.6 of (255, 127.5, 0) and 0.4 of 100
    assert drawn[239, 119].tolist() == [193, 116, 40]
    assert (drawn[:, 120] == 255).all()
    assert (drawn[:, 121:] == 100).all()


@pytest.mark.parametrize(("side", "line"), [(240, 1), (899, 1), (900, 2), (1400, 3)])
def test_the_line_between_regions_grows_with_the_picture(side: int, line: int) -> None:
    labels = np.zeros((side, side), np.int64)
    labels[:, 100:] = 1
    drawn = overlay(_image(side, side), labels, class_colours(NAMES), 0)
    assert np.flatnonzero((drawn[5] == 255).all(-1)).tolist() == list(range(100, 100 + line))


def test_small_pictures_are_enlarged_and_narrow_ones_keep_to_the_longest_side() -> None:
    assert enlarge(np.zeros((48, 64))).shape == (240, 320)
    assert enlarge(np.zeros((3, 400))).shape == (12, 1600)
    assert enlarge(np.zeros((300, 5000))).shape == (300, 5000)


def test_large_pictures_are_shrunk() -> None:
    image, labels = _image(2000, 4000), np.zeros((2000, 4000), np.int64)
    labels[:1000] = 3
    image[:1000] = 20
    small, fewer = fit(image, labels)
    assert small.shape == (800, 1600, 3) and fewer.shape == (800, 1600) and fewer.dtype == np.int64
    assert (small[:400] == 20).all() and (small[400:] == 100).all()
    assert (fewer[:400] == 3).all() and (fewer[400:] == 0).all()
    assert fit(small, fewer) == (small, fewer)


def test_cielab_of_known_colours() -> None:
    lab = cielab(np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    assert lab == pytest.approx(np.array([[100, 0, 0], [53.24, 80.09, 67.20], [0, 0, 0]]), abs=0.05)


def test_class_colours_differ_and_stay() -> None:
    names = ["background", *(f"class {i}" for i in range(255))]
    many, few = class_colours(names), class_colours(names[:19])
    assert (many[:19] == few).all()
    assert few[0].tolist() == [0.62, 0.62, 0.62]
    lab = cielab(few)
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=2) + 1e3 * np.eye(19)
    assert distance.min() > 25
    assert len({rgb(colour) for colour in many}) == 256


def test_the_legend_names_what_occurs_the_largest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Entry] = []
    monkeypatch.setattr(module, "with_legend", lambda drawn, entries: given.extend(entries) or drawn)
    labels = np.zeros((300, 400), np.int64)
    labels[:, 100:] = 3
    labels[0, 0] = 1
    colours = class_colours(NAMES)
    picture(_image(300, 400), labels, NAMES, colours)
    assert [entry.name for entry in given] == ["sky", "background", "cat"]
    assert [entry.share for entry in given] == pytest.approx([0.75, 0.25 - 1 / 120_000, 1 / 120_000])
    assert given[0].colour == tuple(colours[3])


def test_the_legend_is_below_a_wide_picture_and_beside_a_high_one() -> None:
    entries = [Entry(name, tuple(class_colours(NAMES)[i]), 0.25) for i, name in enumerate(NAMES)]
    wide, high = with_legend(_image(300, 400), entries), with_legend(_image(400, 300), entries)
    assert (wide[22:322, 22:422] == 100).all() and (high[22:422, 22:322] == 100).all()  # the margin is 22 pixels
    assert wide.shape[1] == 400 + 2 * 22 and wide.shape[0] > 300 + 3 * 22
    assert high.shape[0] == 400 + 2 * 22 and high.shape[1] > 300 + 3 * 22
    for drawn, legend in ((wide, wide[322:]), (high, high[:, 322:])):
        assert {rgb(entry.colour) for entry in entries} <= _colours(legend)
        assert (drawn[:22] == 255).all() and (drawn[-22:] == 255).all()


@pytest.mark.parametrize("number", [1, 2, 30, 255])
def test_every_entry_is_in_the_legend(number: int) -> None:
    names = [f"a class with a long name, number {i}" for i in range(number)]
    colours = class_colours(names)
    entries = [Entry(name, tuple(colour), 1 / number) for name, colour in zip(names, colours, strict=True)]
    for shape in ((240, 240), (300, 800), (800, 300)):
        drawn = with_legend(_image(*shape, 0), entries)
        assert {rgb(entry.colour) for entry in entries} <= _colours(drawn)
        assert (drawn[:, -22:] == 255).all() and (drawn[-22:] == 255).all()  # nothing is cut off


def test_long_names_end_in_an_ellipsis() -> None:
    font = ImageFont.load_default(16)
    assert isinstance(font, ImageFont.FreeTypeFont)
    assert module.shorten("cat", font, 300) == "cat"
    short = module.shorten("a person in a navy blue uniform with medals", font, 100)
    assert short.endswith("…") and short[:-1] in "a person in a navy" and font.getlength(short) <= 100


def test_shares() -> None:
    assert [percent(share) for share in (1.0, 0.1234, 0.0005, 0.0004)] == ["100.0%", "12.3%", "0.1%", "<0.1%"]
