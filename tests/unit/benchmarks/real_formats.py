"""Two images of each of the eight benchmarks, in the folders, file names, lists and encodings of the real ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from cocu.benchmarks.coco_object import convert
from cocu.benchmarks.definitions import Benchmark, read_benchmark

NAMES = (
    "voc",
    "context",
    "coco_object",
    "imagenet_s_50",
    "imagenet_s_300",
    "coco_stuff",
    "cityscapes",
    "ade20k",
)
SIZES = ((24, 32), (32, 20))  # heights and widths of the two
RED, BLUE = (200, 30, 40), (20, 60, 190)  # an image's left and right half
Labels = np.ndarray
IGNORED = -1  # in the truths below


@dataclass(frozen=True)
class Folder:
    """A benchmark's files. images, masks, truths (H, W) int64 in class ids: in the order that they are read in."""

    benchmark: Benchmark
    root: Path
    images: list[Path]
    masks: list[Path]
    truths: list[Labels]


def write(name: str, root: Path) -> Folder:
    """The two images of a benchmark below `root`, and files of its download that no evaluation reads."""
    benchmark = read_benchmark(name)
    ids = LABELS[name]
    truths = [_pattern(ids, size) for size in SIZES]
    places = [WRITERS[name](root, i, truth) for i, truth in reversed(list(enumerate(truths)))][::-1]
    for image, _ in places:
        image.parent.mkdir(parents=True, exist_ok=True)
    for (image, _), size in zip(places, SIZES, strict=True):
        picture(size).save(image, **({} if image.suffix == ".png" else {"quality": 95, "format": "JPEG"}))
    in_files = [np.where(truth == IGNORED, benchmark.ignore_index, truth) for truth in truths]
    return Folder(benchmark, root, [i for i, _ in places], [m for _, m in places], in_files)


def picture(size: tuple[int, int]) -> Image.Image:
    """RGB, red on the left and blue on the right, of a size (height, width)."""
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[:, : size[1] // 2], pixels[:, size[1] // 2 :] = RED, BLUE
    return Image.fromarray(pixels)


def save_grey(path: Path, labels: Labels) -> None:
    """Labels as an 8-bit grey PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels.astype(np.uint8)).save(path)


def save_palette(path: Path, labels: Labels) -> None:
    """Labels as a PNG with a palette in which no colour is its own index."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels.astype(np.uint8))
    image.putpalette([(c * k + 90) % 256 for c in range(256) for k in (7, 13, 29)])
    image.save(path)


def save_colour(path: Path, labels: Labels) -> None:
    """Labels up to 65,535 as an RGB PNG: R + 256 G."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.stack([labels % 256, labels // 256, 0 * labels], -1).astype(np.uint8)).save(path)


def _pattern(ids: list[int], size: tuple[int, int]) -> Labels:
    """Strips of the ids, one below the other; the second image has them shifted by half an id's height."""
    rows = (np.arange(size[0]) + size[1] // 10) * len(ids) // size[0] % len(ids)
    truth = np.repeat(np.array(ids)[rows][:, None], size[1], axis=1)
    truth[:, -3:] = ids[0]
    return truth


def _voc(root: Path, i: int, truth: Labels) -> tuple[Path, Path]:
    base, stems = root / "VOCdevkit/VOC2012", ("2011_003271", "2007_000033")  # the list's order is not the alphabet's
    _listed(base / "ImageSets/Segmentation/val.txt", stems)
    save_palette(base / f"SegmentationClass/{stems[i]}.png", np.where(truth == IGNORED, 255, truth))
    save_palette(base / "SegmentationClass/2007_000032.png", truth)  # of the training set
    (base / "JPEGImages").mkdir(exist_ok=True)
    picture((8, 8)).save(base / "JPEGImages/2007_000032.jpg")
    return base / f"JPEGImages/{stems[i]}.jpg", base / f"SegmentationClass/{stems[i]}.png"


def _context(root: Path, i: int, truth: Labels) -> tuple[Path, Path]:
    base, stems = root / "VOCdevkit/VOC2010", ("2008_000026", "2008_000002")
    _listed(base / "ImageSets/SegmentationContext/val.txt", stems)
    save_grey(base / f"SegmentationClassContext/{stems[i]}.png", np.where(truth == IGNORED, 255, truth))
    return base / f"JPEGImages/{stems[i]}.jpg", base / f"SegmentationClassContext/{stems[i]}.png"


def _listed(path: Path, stems: tuple[str, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{stem}\n" for stem in stems))


def _coco_object(root: Path, i: int, truth: Labels) -> tuple[Path, Path]:
    stem = ("000000000139", "000000000285")[i]
    raw_of = {0: 255, 1: 0, 12: 12, 63: 71, 80: 89}  # category ids 1, 13, 72, 90, less one
    raw = np.vectorize(raw_of.get)(truth)
    raw[:2][truth[:2] == 0] = 91  # a stuff
    save_grey(root / f"stuffthingmaps_trainval2017/val2017/{stem}.png", raw)
    mask = root / f"coco/annotations/val2017/{stem}_instanceTrainIds.png"
    convert(root / f"stuffthingmaps_trainval2017/val2017/{stem}.png", mask)
    return root / f"coco/images/val2017/{stem}.jpg", mask


def _coco_stuff(root: Path, i: int, truth: Labels) -> tuple[Path, Path]:
    base, stem = root / "coco_stuff164k", ("000000000139", "000000000285")[i]
    mask = base / f"annotations/val2017/{stem}_labelTrainIds.png"
    save_grey(mask, np.where(truth == IGNORED, 255, truth))
    save_grey(base / f"annotations/val2017/{stem}.png", truth * 0)  # the raw maps lie beside the converted ones
    return base / f"images/val2017/{stem}.jpg", mask


def _imagenet_s(number: int) -> Callable[[Path, int, Labels], tuple[Path, Path]]:
    def write(root: Path, i: int, truth: Labels) -> tuple[Path, Path]:
        base = root / f"ImageNetS/ImageNetS{number}"
        stem = ("n01443537/ILSVRC2012_val_00048864", "n02119789/ILSVRC2012_val_00000236")[i]
        mask = base / f"validation-segmentation/{stem}.png"
        save_colour(mask, np.where(truth == IGNORED, 1000, truth))
        return base / f"validation/{stem}.JPEG", mask

    return write


def _cityscapes(root: Path, i: int, truth: Labels) -> tuple[Path, Path]:
    stem = ("frankfurt/frankfurt_000001_083852", "munster/munster_000000_000019")[i]
    mask = root / f"city/gtFine/val/{stem}_gtFine_labelTrainIds.png"
    save_grey(mask, np.where(truth == IGNORED, 255, truth))
    save_grey(root / f"city/gtFine/val/{stem}_gtFine_labelIds.png", truth * 0)
    (root / f"city/gtFine/val/{stem}_gtFine_polygons.json").write_text("{}")
    return root / f"city/leftImg8bit/val/{stem}_leftImg8bit.png", mask


def _ade20k(root: Path, i: int, truth: Labels) -> tuple[Path, Path]:
    base, stem = root / "ADEChallengeData2016", ("ADE_val_00000001", "ADE_val_00000002")[i]
    save_grey(base / f"annotations/validation/{stem}.png", truth + 1)  # 0 is other, and IGNORED is -1
    return base / f"images/validation/{stem}.jpg", base / f"annotations/validation/{stem}.png"


WRITERS = {
    "voc": _voc,
    "context": _context,
    "coco_object": _coco_object,
    "imagenet_s_50": _imagenet_s(50),
    "imagenet_s_300": _imagenet_s(300),
    "coco_stuff": _coco_stuff,
    "cityscapes": _cityscapes,
    "ade20k": _ade20k,
}
LABELS = {
    "voc": [0, 1, 20, IGNORED],
    "context": [0, 1, 59, IGNORED],
    "coco_object": [0, 1, 12, 63, 80],  # nothing is ignored
    "imagenet_s_50": [0, 1, 50, IGNORED],
    "imagenet_s_300": [0, 1, 44, 255, 256, 299, 300, IGNORED],  # 300 is 44 modulo 256
    "coco_stuff": [0, 79, 80, 170, IGNORED],
    "cityscapes": [0, 10, 18, IGNORED],
    "ade20k": [0, 1, 149, IGNORED],
}
