"""The data sets that mmsegmentation lacks, registered in it: COCO-Object, ImageNet-S-50 and -300.

Gives classes for mmsegmentation's `DATASETS` and a loader for its `TRANSFORMS`. A data set's classes are those of its
shipped definition: a user's own may have a part of them, and does not say what the labels are. Only
`cocu.benchmarks.mmseg` imports this module, once mmsegmentation can be imported. Sources: Caesar et al. 2018 (the pixel
maps behind COCO-Object), Gao et al. 2022 (ImageNet-S).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS, TRANSFORMS
from PIL import Image

from cocu.benchmarks.definitions import SHIPPED, read_benchmark

IGNORED = 1000  # in ImageNet-S: pixels that are not labelled


@DATASETS.register_module()
class COCOObjectDataset(BaseSegDataset):
    """The 80 things of COCO, and background; masks as `cocu convert coco-object` writes them."""

    METAINFO: ClassVar = {"classes": read_benchmark("coco_object", SHIPPED).classes}


class ImageNetSDataset(BaseSegDataset):
    """Masks in colours: label = R + 256 G (0 other, 1000 ignored), read by `LoadImageNetSAnnotations`."""

    @classmethod
    def get_label_map(cls, new_classes: Any = None) -> dict[int, int] | None:
        """Old id -> new id where `new_classes` is a subset of the data set's; the others become the ignored label."""
        old = cls.METAINFO["classes"]
        if new_classes is None or list(new_classes) == list(old):
            return None
        new = {name: i for i, name in enumerate(new_classes)}
        return {i: new.get(name, IGNORED) for i, name in enumerate(old)}  # mmsegmentation's own says 255, a class here


@DATASETS.register_module()
class ImageNetS50Dataset(ImageNetSDataset):
    """50 classes of ImageNet, and other."""

    METAINFO: ClassVar = {"classes": read_benchmark("imagenet_s_50", SHIPPED).classes}


@DATASETS.register_module()
class ImageNetS300Dataset(ImageNetSDataset):
    """300 classes of ImageNet, and other."""

    METAINFO: ClassVar = {"classes": read_benchmark("imagenet_s_300", SHIPPED).classes}


@TRANSFORMS.register_module()
class LoadImageNetSAnnotations(BaseTransform):
    """`gt_seg_map` (H, W) int64 from an RGB mask, with the data set's label map applied."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        with Image.open(results["seg_map_path"]) as mask:
            colours = np.asarray(mask).astype(np.int64)  # widened first: 256 G overflows 8 bits
        labels = colours[..., 0] + 256 * colours[..., 1]
        if (new_ids := results["label_map"]) is not None:
            table = np.arange(2**16)  # a label that is no class stays, and is found later
            table[list(new_ids)] = list(new_ids.values())
            labels = table[labels]
        results["gt_seg_map"] = labels
        results["seg_fields"].append("gt_seg_map")
        return results
