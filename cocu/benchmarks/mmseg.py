"""Benchmark files through mmsegmentation: its class lists, its readers, its metric.

Takes a `Benchmark` and the folder its files lie under; gives images with their true labels, checked, and
mmsegmentation's own mIoU as a cross-check. This module and `datasets`, which it loads, are the only ones that import
mmsegmentation. It imports `mmcv.ops`, compiled kernels that evaluation never calls: where
they are not installed (mmcv-lite), a stand-in takes the module's place, and says so when something calls it.
"""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from cocu.benchmarks.definitions import Benchmark
from cocu.config import suggest
from cocu.errors import ConfigError, DataError, EnvironmentFault

LOGGER = "cocu.mmseg"
CONVERTERS = "mmseg/.mim/tools/dataset_converters"  # in site-packages; "MMSEG" in a benchmark's `convert`
COLOUR_MASKED = ("ImageNetS50Dataset", "ImageNetS300Dataset")
COLOUR_MASK = (("RGB",), "labels are in its red and green, as the data set's toolkit writes them (RGB)")
LABEL_MASK = (("L", "P"), "labels need one 8-bit channel (L, or P with a palette)")
OTHER_SIZE = "mask of another size"  # a kind of `ExampleError`
Labels = npt.NDArray[np.int64]


class ExampleError(DataError):
    """An example that cannot be scored. kind: why, in words that all examples of one sort share."""

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Example:
    """image (h, w, 3) uint8 RGB; truth (H, W) int64 in 0..C-1 or the ignored label; name: the image file's stem.

    h, w are H, W unless the benchmark shrinks an image of this size. All of a truth may be ignored.
    """

    image: npt.NDArray[np.uint8]
    truth: Labels
    name: str


class Examples:
    """The images of a benchmark with their truth, in the order of its list, or of their paths where it has none.

    The first `limit` of them when limit > 0; of these, `share` = (i, n) takes every n-th from the i-th on. An item is
    read when it is asked for. Raises `DataError` naming what is missing; an item, `ExampleError` when it is damaged, of
    another size than its image, or labelled out of range.
    """

    def __init__(self, benchmark: Benchmark, root: Path, limit: int = 0, share: tuple[int, int] = (0, 1)) -> None:
        self._benchmark = benchmark
        self._data = _dataset(benchmark, root)
        whole = len(self._data)
        if not whole:
            place = benchmark.list_file or f"{benchmark.images} (*{benchmark.image_suffix})"
            raise DataError(
                f"The benchmark {benchmark.name} lists no image in {root / place}. {obtain(benchmark, root)}"
            )
        self._rows = range(min(limit or whole, whole))[share[0] :: share[1]]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Example]:
        return (self[i] for i in range(len(self)))

    def paths(self, i: int) -> tuple[Path, Path]:
        """Where item i's image and mask are, or should be."""
        info = self._data.data_list[self._rows[i]]
        return Path(info["img_path"]), Path(info["seg_map_path"])

    def __getitem__(self, i: int) -> Example:
        image_path, mask_path = self.paths(i)
        _check_mask_mode(mask_path, COLOUR_MASK if self._benchmark.dataset in COLOUR_MASKED else LABEL_MASK)
        try:
            # As the data set's own item, but without a deep copy of its table of labels an image.
            loaded = self._data.pipeline({**self._data.data_list[self._rows[i]], "seg_fields": []})
        except (OSError, SyntaxError, AssertionError, AttributeError, ValueError, cv2.error) as error:
            raise ExampleError(
                f"Cannot read {image_path} or {mask_path}: {error}. Unpack the data set again.", "damaged file"
            ) from error  # AttributeError: of what cv2 cannot decode mmcv asks for its type; SyntaxError: Pillow's, PNG
        image, truth = loaded["img"][:, :, ::-1], loaded["gt_seg_map"].astype(np.int64)  # mmcv's images are BGR
        if image.shape[:2] != truth.shape:
            raise ExampleError(
                f"{image_path} is {image.shape[:2]} and its mask {mask_path} {truth.shape} (height, width): they must "
                "be equal. A rotation tag (EXIF) turns an image but not its mask; or a file is from another data set.",
                OTHER_SIZE,
            )
        self._check_labels(truth, mask_path)
        return Example(shrunk(np.ascontiguousarray(image), self._benchmark.shrink), truth, image_path.stem)

    def _check_labels(self, truth: Labels, path: Path) -> None:
        scored = truth[truth != self._benchmark.ignore_index]
        if scored.size and scored.max() >= len(
            self._benchmark.classes
        ):  # mmsegmentation would count it as a false positive, silently
            raise ExampleError(
                f"{path} holds the label {scored.max()}, but {self._benchmark.name} has the classes "
                f"0..{len(self._benchmark.classes) - 1}. The mask is damaged or made for another class list.",
                "label out of range",
            )


class IoUCheck:
    """mmsegmentation's IoUMetric over label maps that are added one by one."""

    def __init__(self, benchmark: Benchmark) -> None:
        import_mmseg()
        from mmengine.logging import MMLogger
        from mmseg.evaluation import IoUMetric

        if not MMLogger.check_instance_created(LOGGER):  # it becomes the current logger: no table on the terminal
            MMLogger.get_instance(LOGGER, log_level="ERROR")
        self._metric = IoUMetric(ignore_index=benchmark.ignore_index)
        self._metric.dataset_meta = {"classes": benchmark.classes}
        self._count = 0

    def add(self, prediction: Labels, truth: Labels) -> None:
        """Count an image; both (H, W) int64: the metric casts the truth to the prediction's type, and 8 bits alias."""
        import torch

        sample = {
            "pred_sem_seg": {"data": torch.from_numpy(prediction)},
            "gt_sem_seg": {"data": torch.from_numpy(truth)},
        }
        self._metric.process({}, [sample])
        self._count += 1

    def miou(self) -> float:
        """The mean IoU in percent, rounded to two decimals, of what was added; the count starts anew."""
        count, self._count = self._count, 0
        return round(float(self._metric.evaluate(size=count)["mIoU"]), 2)  # rounded there already, to a float32


def _dataset(benchmark: Benchmark, root: Path) -> Any:
    """mmsegmentation's dataset; its transforms are objects, since a registry may silently pick mmcv's namesakes."""
    for what, place in (
        ("images", benchmark.images),
        ("masks", benchmark.masks),
        ("list of images", benchmark.list_file),
    ):
        if not (root / place).exists():
            raise DataError(
                f"The {what} of the benchmark {benchmark.name} are missing: {root / place} does not exist. "
                f"{obtain(benchmark, root)} Or correct the folder of the benchmarks' data."
            )
    datasets = import_mmseg()
    from mmcv.transforms import LoadImageFromFile
    from mmseg.registry import DATASETS

    from cocu.benchmarks.datasets import LoadImageNetSAnnotations

    dataset_class = DATASETS.module_dict.get(benchmark.dataset)
    if dataset_class is None:
        raise ConfigError(
            f"mmsegmentation has no data set class '{benchmark.dataset}'"
            f"{suggest(benchmark.dataset, DATASETS.module_dict)}"
        )
    known = dataset_class.METAINFO["classes"]
    if unknown := [c for c in benchmark.classes if c not in known]:
        raise ConfigError(
            f"{benchmark.name}: {benchmark.dataset} has no class '{unknown[0]}'{suggest(unknown[0], known)} "
            "Put the data set's own names under classes, and your words under prompts."
        )
    # masks by pillow, which is mmsegmentation's own choice: cv2 would make colours of a palette
    load_masks = LoadImageNetSAnnotations if benchmark.dataset in COLOUR_MASKED else datasets.LoadAnnotations
    return dataset_class(
        data_root=str(root),
        data_prefix={"img_path": benchmark.images, "seg_map_path": benchmark.masks},
        ann_file=benchmark.list_file,
        img_suffix=benchmark.image_suffix,
        seg_map_suffix=benchmark.mask_suffix,
        metainfo={"classes": benchmark.classes},
        ignore_index=benchmark.ignore_index,
        pipeline=[LoadImageFromFile(), load_masks()],
        test_mode=True,
        serialize_data=False,
    )


def obtain(benchmark: Benchmark, root: Path) -> str:
    """Where a benchmark's files come from, and how its masks below `root` are made, as a sentence."""
    convert = benchmark.convert.replace("ROOT", str(root)).replace(
        "MMSEG", str(Path(sysconfig.get_path("purelib"), CONVERTERS))
    )
    return f"Get them ({benchmark.source})" + (f", then convert: {convert}." if convert else ".")


def shrunk(image: npt.NDArray[np.uint8], limits: tuple[int, int] | None) -> npt.NDArray[np.uint8]:
    """An image (H, W, 3) of more pixels than limits[0] with its long side brought to limits[1]; others as they are."""
    height, width = image.shape[:2]
    if limits is None or height * width <= limits[0]:
        return image
    factor = limits[1] / max(height, width)
    size = (int(width * factor + 0.5), int(height * factor + 0.5))
    return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)


def _check_mask_mode(path: Path, wanted: tuple[tuple[str, ...], str]) -> None:
    """mmsegmentation reduces labels wider than 8 bits modulo 256, and takes colours for a third dimension."""
    try:
        with Image.open(path) as mask:
            mode = mask.mode
    except OSError as error:
        raise ExampleError(
            f"Cannot read the mask {path}: {error}. Unpack the data set again.", "damaged file"
        ) from error
    modes, need = wanted
    if mode not in modes:
        raise ExampleError(f"The mask {path} is of mode {mode}; {need}.", "mask of another mode")


def import_mmseg() -> Any:
    """`mmseg.datasets`, imported now and not before: it takes seconds. Raises `EnvironmentFault` when it is missing."""
    try:
        if "mmcv.ops" not in sys.modules and importlib.util.find_spec("mmcv._ext") is None:
            sys.modules["mmcv.ops"] = _StandInOps("mmcv.ops")
        import mmseg.datasets
    except ImportError as error:
        raise EnvironmentFault(
            f"Benchmarks are read with mmsegmentation, and '{error.name}' is not installed: "
            "run `pip install mmsegmentation==1.2.2 mmcv-lite==2.1.0 mmengine==0.10.7 ftfy regex`."
        ) from error
    return mmseg.datasets


class _StandInOps(ModuleType):
    """Takes the place of mmcv's compiled operators; whatever is looked up in it fails only when called."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*_: object, **__: object) -> NoReturn:
            raise EnvironmentFault(
                f"mmcv.ops.{name} was called, but mmcv's compiled operators are not installed: mmcv-lite has none."
            )

        return missing
