"""A model that can be read by eye, and benchmarks on disk in their own formats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from cocu.benchmarks.definitions import Benchmark
from cocu.config import Model, Stage
from cocu.model.tokenizer import Tokenizer
from cocu.pairs.images import Normalisation

COLOURS = {"bird": (255, 0, 0), "cat": (0, 255, 0), "dog": (0, 0, 255)}
BACKGROUND = (0, 0, 0)
CONFIG = Model(
    image_size=16,
    stem="patch",
    patch_size=4,
    width=16,
    heads=2,
    stages=(Stage(depth=1, group_tokens=3),),
    text_width=16,
    text_heads=2,
    text_layers=1,
    context_length=16,
    embed_dim=16,
    projector_width=16,
)


@dataclass(frozen=True)
class Output:
    embedding: Tensor
    segments: Tensor
    maps: Tensor

    @property
    def grid(self) -> tuple[int, int]:
        return self.maps.shape[1], self.maps.shape[2]


class ColourModel(nn.Module):
    """Four groups: a patch goes to the channel (R, G, B) that is brightest in it, or to the fourth when it is dark.

    Segment and text embeddings are unit vectors of four dimensions: bird, cat, dog and "nothing". The fourth group's
    segment lies between the words, so that its best score is low; the image's embedding is the mean over patches.
    """

    config = CONFIG
    patch_size = CONFIG.patch_size
    tokenizer = Tokenizer(CONFIG.context_length)

    def __init__(self) -> None:
        super().__init__()
        self.logit_scale = nn.Parameter(torch.tensor(10.0).log())
        self.calls = 0
        ids = self.tokenizer([f"a photo of a {word}." for word in COLOURS])
        self.known = {tuple(row.tolist()): i for i, row in enumerate(ids)}

    def scale(self) -> Tensor:
        return self.logit_scale.exp()

    def encode_text(self, ids: Tensor) -> Tensor:
        return torch.eye(4)[[self.known[tuple(row.tolist())] for row in ids]]

    def encode_image(self, images: Tensor) -> Output:
        self.calls += 1
        assert images.shape[-1] % 4 == 0 and images.shape[-2] % 4 == 0
        patches = F.avg_pool2d(images, 4)  # (b, 3, h, w)
        dark = torch.full_like(patches[:, :1], 0.3)
        maps = torch.softmax(10 * torch.cat([patches, dark], 1), 1).permute(0, 2, 3, 1)
        segments = F.normalize(torch.eye(4) + torch.tensor([0.0, 0.0, 0.0, 0.3])[:, None], dim=-1)
        mean = maps.mean((1, 2))
        return Output(F.normalize(mean, dim=-1), segments.expand(len(images), -1, -1), maps)


@pytest.fixture
def model() -> ColourModel:
    return ColourModel().eval()


@pytest.fixture
def normalisation() -> Normalisation:
    return Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.fixture
def benchmark_of() -> Callable[..., Benchmark]:
    """VOC with three of its classes and 16-pixel windows; keywords replace fields."""

    def make(**fields: object) -> Benchmark:
        base = "VOCdevkit/VOC2012"
        return Benchmark.model_validate(
            {
                "name": "tiny",
                "source": "the tests",
                "dataset": "PascalVOCDataset",
                "images": f"{base}/JPEGImages",
                "masks": f"{base}/SegmentationClass",
                "list_file": f"{base}/ImageSets/Segmentation/val.txt",
                "image_suffix": ".jpg",
                "mask_suffix": ".png",
                "ignore_index": 255,
                "background": True,
                "background_threshold": 0.5,
                "scale": (2048, 16),
                "window": 16,
                "stride": 8,
                "templates": ("a photo of a {}.",),
                "classes": ("background", "bird", "cat", "dog"),
                "prompts": (None, *COLOURS),
                **fields,
            }
        )

    return make


@pytest.fixture
def write_voc(tmp_path: Path) -> Callable[..., Path]:
    """Write images (H, W, 3) and masks of VOC's own ids (bird 3, cat 8, dog 12) under a folder, and return it."""

    def write(images: list[np.ndarray], masks: list[np.ndarray], folder: str = "test") -> Path:
        root = tmp_path / folder
        base = root / "VOCdevkit/VOC2012"
        for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
            (base / name).mkdir(parents=True)
        for i, (image, mask) in enumerate(zip(images, masks, strict=True)):
            Image.fromarray(image).save(base / f"JPEGImages/{i:03}.jpg", quality=98, subsampling=0)
            paletted = Image.fromarray(mask.astype(np.uint8), mode="P")
            paletted.putpalette([v for c in range(256) for v in (c * 7 % 256, c * 13 % 256, c * 29 % 256)])
            paletted.save(base / f"SegmentationClass/{i:03}.png")
        (base / "ImageSets/Segmentation/val.txt").write_text("".join(f"{i:03}\n" for i in range(len(images))))
        return root

    return write


@pytest.fixture
def scenes() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Three 16 x 16 scenes in halves and one 24 x 16: bird | cat, dog | dark, cat | dark, and dog | bird."""
    halves = [("bird", "cat", 16), ("dog", None, 16), ("cat", None, 16), ("dog", "bird", 24)]
    voc = {"bird": 3, "cat": 8, "dog": 12, None: 0}
    images, masks = [], []
    for left, right, height in halves:
        image, mask = np.zeros((height, 16, 3), np.uint8), np.zeros((height, 16), np.uint8)
        for name, columns in ((left, slice(0, 8)), (right, slice(8, 16))):
            image[:, columns] = COLOURS[name] if name else BACKGROUND
            mask[:, columns] = voc[name]
        images.append(image)
        masks.append(mask)
    return images, masks
