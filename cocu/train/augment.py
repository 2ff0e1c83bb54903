"""Augmentation of a training image, whose random numbers are the sample's own.

Takes decoded pixels and a seed; gives float32 (3, side, side), normalised by ImageNet's mean and deviation. timm's
training transform, with the settings of GroupViT (section 4.1), draws from the global generators of Python, numpy and
torch: `seeded` puts a sample's own in their place while it works, so that neither loader processes nor order count.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from timm.data.auto_augment import RandAugment
from timm.data.transforms_factory import create_transform
from torch import Tensor

from cocu.config import Augment
from cocu.pairs.images import IMAGENET

LEAST_BITS = 1  # Pillow keeps no fewer; see `posterize`


class seeded:
    """The random numbers of Python, numpy and torch from one seed, within; the old states are put back.

    timm's RandAugment chooses operations by numpy's numbers, their strength by Python's; torchvision flips by torch's.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __enter__(self) -> None:
        self._states = random.getstate(), np.random.get_state(), torch.get_rng_state()
        random.seed(self.seed)
        np.random.seed(self.seed % 2**32)
        torch.default_generator.manual_seed(self.seed)  # the CPU's alone: torch.manual_seed visits every kind of device

    def __exit__(self, *_: object) -> None:
        python, numpy, torch_ = self._states
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(torch_)


class Augmentation:
    """Pixels uint8 (H, W, 3) and a seed -> float32 (3, side, side), a function of both.

    An image that comes at its size, to be flipped at most, needs neither timm nor Pillow: it gets the same bits without
    them, in a fifteenth of the time. Which half is flipped is then the seed's to say.
    """

    def __init__(self, config: Augment, side: int) -> None:
        self._flip, self._side, self._transform = config.flip, side, timm_transform(config, side)
        self._flips_alone = config == Augment(
            crop_scale=(1.0, 1.0), flip=config.flip, colour_jitter=0.0, rand_augment="", erasing=0.0
        )
        self._mean, self._std = (torch.tensor(v)[:, None, None] for v in (IMAGENET.mean, IMAGENET.std))

    def __call__(self, pixels: NDArray[np.uint8], seed: int) -> Tensor:
        if self._flips_alone and pixels.shape[:2] == (self._side, self._side):
            shown = np.ascontiguousarray(pixels[:, ::-1]) if self._flip and seed % 2 else pixels
            scaled = torch.from_numpy(shown).permute(2, 0, 1).to(torch.float32).div_(255)
            return scaled.sub_(self._mean).div_(self._std)
        with seeded(seed):
            image: Tensor = self._transform(Image.fromarray(pixels))
        return image


def timm_transform(config: Augment, side: int) -> Any:
    """timm's training transform: PIL image -> float32 (3, side, side)."""
    transform = create_transform(
        (3, side, side),
        is_training=True,
        scale=config.crop_scale,
        hflip=0.5 if config.flip else 0.0,
        color_jitter=config.colour_jitter,
        auto_augment=config.rand_augment or None,
        re_prob=config.erasing,
        re_mode="pixel",
        interpolation="bicubic",
    )
    for step in transform.transforms:
        if isinstance(step, RandAugment):
            for operation in step.ops:
                if operation.name.startswith("Posterize"):
                    operation.aug_fn = posterize
    return transform


def posterize(image: Image.Image, bits: int, **_: object) -> Image.Image:
    """timm's operation. Its strongest level asks for 0 bits, which older Pillow painted black and newer ones refuse.

    It keeps one bit here, so that there is something to see.
    """
    return image if bits >= 8 else ImageOps.posterize(image, max(LEAST_BITS, bits))
