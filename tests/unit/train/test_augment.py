"""Augmentation: nothing in it raises, it is timm's, and a sample's random numbers are its own."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data.transforms_factory import create_transform

from cocu.config import Augment, load
from cocu.train.augment import Augmentation, posterize, seeded, timm_transform

PAPER = load([Path(f"config/{name}.yaml") for name in ("config", "paper", "cc3m")]).train.augment
SIDE = 32


def picture(width: int = 40, height: int = 36) -> Image.Image:
    """Noise from the left dark to the right bright."""
    noise = np.random.default_rng(width).integers(0, 128, (height, width, 3))
    return Image.fromarray((noise + np.linspace(0, 127, width)[None, :, None]).astype(np.uint8))


def drawn(transform: object, image: Image.Image, seed: int) -> torch.Tensor:
    if isinstance(transform, Augmentation):
        return transform(np.asarray(image), seed)
    with seeded(seed):
        return transform(image)  # type: ignore[operator]


def test_three_thousand_images_under_the_papers_settings() -> None:
    transform, image = Augmentation(PAPER, SIDE), picture()
    odd = [picture(1, 1), picture(1, 300), picture(700, 3)]
    for seed in range(3_000):
        pixels = drawn(transform, odd[seed % 3] if seed % 10 == 0 else image, seed)
        assert pixels.shape == (3, SIDE, SIDE) and torch.isfinite(pixels).all()


def test_it_is_timms_but_where_pillow_refuses_what_timm_asks() -> None:
    image = picture()
    theirs = create_transform(
        (3, SIDE, SIDE),
        is_training=True,
        scale=(0.08, 1.0),
        hflip=0.5,
        color_jitter=0.4,
        auto_augment="rand-m9-mstd0.5-inc1",
        re_prob=0.25,
        re_mode="pixel",
        interpolation="bicubic",
    )
    ours, refused = Augmentation(PAPER, SIDE), 0
    for seed in range(2_000):
        try:
            expected = drawn(theirs, image, seed)
        except ValueError:
            refused += 1
            continue
        if seed < 300:
            assert torch.equal(drawn(ours, image, seed), expected)
    assert 0 < refused < 20


@pytest.mark.parametrize(("bits", "kept"), [(0, 0x80), (1, 0x80), (3, 0xE0), (8, 0xFF)])
def test_posterize_keeps_the_highest_bits_and_one_at_least(bits: int, kept: int) -> None:
    image = picture()
    assert np.array_equal(np.array(posterize(image, bits, fillcolor=None)), np.array(image) & kept)


def test_half_of_the_images_are_flipped_where_the_configuration_says_so() -> None:
    image, plain = picture(SIDE, SIDE), {"crop_scale": (1.0, 1.0), "colour_jitter": 0.0, "erasing": 0.0}
    never, sometimes = (Augmentation(Augment(**plain, flip=flip), SIDE) for flip in (False, True))
    upright = drawn(never, image, 0)
    flips = 0
    for seed in range(200):
        assert torch.equal(drawn(never, image, seed), upright)
        pixels = drawn(sometimes, image, seed)
        flipped = torch.equal(pixels, upright.flip(-1))
        assert flipped or torch.equal(pixels, upright)
        flips += flipped
    assert 75 < flips < 125


def test_the_short_way_gives_the_bits_of_timm() -> None:
    config = Augment(crop_scale=(1.0, 1.0), colour_jitter=0.0, erasing=0.0, flip=True)
    theirs, ours, image = timm_transform(config, SIDE), Augmentation(config, SIDE), picture(SIDE, SIDE)
    upright = drawn(timm_transform(config.model_copy(update={"flip": False}), SIDE), image, 0)
    for seed in range(6):
        pixels = ours(np.asarray(image), seed)
        assert any(torch.equal(pixels, drawn(theirs, image, s)) for s in range(20))
        assert torch.equal(pixels, ours(np.asarray(image), seed + 2))
        assert torch.equal(pixels, upright.flip(-1) if seed % 2 else upright)


def test_crop_jitter_and_erasing_follow_their_settings() -> None:
    image = picture(SIDE, SIDE)
    plain = Augment(crop_scale=(1.0, 1.0), flip=False, colour_jitter=0.0, erasing=0.0)
    upright = drawn(Augmentation(plain, SIDE), image, 0)
    expected = (np.asarray(image) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert torch.allclose(upright, torch.from_numpy(expected).permute(2, 0, 1).float(), atol=1e-6)
    # noise of unit deviation, so that an erased picture keeps most of its pixels
    erased = [drawn(Augmentation(plain.model_copy(update={"erasing": 0.5}), SIDE), image, s) for s in range(100)]
    assert 30 < sum(not torch.equal(pixels, upright) for pixels in erased) < 70
    shares = [float((pixels == upright).float().mean()) for pixels in erased]
    assert all(share == 1 or 0.55 < share < 0.99 for share in shares)
    jittered = drawn(Augmentation(plain.model_copy(update={"colour_jitter": 0.4}), SIDE), image, 1)
    assert not torch.equal(jittered, upright)
    assert np.corrcoef(jittered.flatten(), upright.flatten())[0, 1] > 0.9
    # a crop of a tenth of the area spans a third of the ramp from dark to bright
    cropped = [
        drawn(Augmentation(plain.model_copy(update={"crop_scale": (0.1, 0.1)}), SIDE), image, s) for s in range(40)
    ]
    spans = [float(p.mean((0, 1))[-4:].mean() - p.mean((0, 1))[:4].mean()) for p in cropped]
    whole = float(upright.mean((0, 1))[-4:].mean() - upright.mean((0, 1))[:4].mean())
    assert 0.2 < np.mean(spans) / whole < 0.5


def test_seeded_leaves_every_generator_as_it_was_and_decides_all_of_them() -> None:
    def numbers() -> tuple[float, float, float]:
        return random.random(), float(np.random.random()), float(torch.rand(1))

    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    expected = numbers()
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    with seeded(9):
        inner = numbers()
    assert numbers() == expected
    with seeded(9):
        assert numbers() == inner
    with seeded(10):
        assert all(a != b for a, b in zip(numbers(), inner, strict=True))
