"""How eight data sets keep their images and masks, for the names of the mini world that they have a class for.

Gives `FORMATS`: by benchmark, where a scene's files go, how its labels are encoded, and the label of each of the
world's names. Labels are those of the files: ADE20K's are one above its class ids. Where a data set has another word
(yawl, terrain), the world's name stands for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cocu.mini.world import NAMES, OBJECTS

Encoding = Literal["palette", "grey", "colour"]


@dataclass(frozen=True)
class Format:
    """Paths with {i} (the scene's number from 1) and {group}; `other` is the label of names without a class.

    draw: which scenes of a split it shows; formats of one draw show the same ones.
    encoding: labels as palette indices, as grey values, or as R + 256 G. groups: folder by name (ImageNet's WNIDs);
    such a data set has no image that shows none of its classes.
    """

    image: str
    mask: str
    labels: dict[str, int]
    other: int
    draw: int
    encoding: Encoding = "grey"
    list_file: str = ""
    groups: dict[str, str] = field(default_factory=dict)

    def table(self) -> NDArray[np.int64]:
        """The label of each of the world's ids (len(NAMES),)."""
        return np.array([self.labels.get(name, self.other) for name in NAMES])


COCO = {"person": 0, "car": 2, "airplane": 4, "bus": 5, "boat": 8, "bird": 14, "cat": 15, "dog": 16, "horse": 17}
COCO |= {"cow": 19, "chair": 56, "tv": 62}
VOC = {"airplane": 1, "bird": 3, "boat": 4, "bus": 6, "car": 7, "cat": 8, "chair": 9, "cow": 10, "dog": 12, "horse": 13}
VOC |= {"person": 15, "tv": 20}
CONTEXT = {"airplane": 1, "bird": 7, "boat": 8, "bus": 12, "car": 14, "cat": 15, "chair": 17, "cow": 20, "dog": 23}
CONTEXT |= {
    "floor": 26,
    "grass": 29,
    "horse": 31,
    "person": 37,
    "road": 41,
    "sky": 47,
    "tv": 55,
    "wall": 56,
    "water": 57,
}
WNIDS = {
    "bird": "n01531178",  # goldfinch
    "dog": "n02104029",  # kuvasz
    "cat": "n02123597",  # siamese cat
    "airplane": "n02690373",  # airliner
    "tv": "n04404412",  # television
    "boat": "n04612504",  # yawl
}


def _voc(year: int, masks: str, lists: str, labels: dict[str, int]) -> Format:
    root = f"VOCdevkit/VOC{year}"
    return Format(
        image=f"{root}/JPEGImages/2012_{{i:06}}.jpg",
        mask=f"{root}/{masks}/2012_{{i:06}}.png",
        list_file=f"{root}/ImageSets/{lists}/val.txt",
        labels=labels,
        other=0,
        draw=0,
        encoding="palette",
    )


def _imagenet_s(classes: int, draw: int, labels: dict[str, int], wnids: dict[str, str]) -> Format:
    root = f"ImageNetS/ImageNetS{classes}"
    stem = "{group}/ILSVRC2012_val_{i:08}"
    return Format(
        image=f"{root}/validation/{stem}.JPEG",
        mask=f"{root}/validation-segmentation/{stem}.png",
        labels=labels,
        other=0,
        draw=draw,
        encoding="colour",
        groups=wnids,
    )


FORMATS = {
    "mini_voc": _voc(2012, "SegmentationClass", "Segmentation", VOC),
    "mini_context": _voc(2010, "SegmentationClassContext", "SegmentationContext", CONTEXT),
    "mini_coco_object": Format(
        image="coco/images/val2017/{i:012}.jpg",
        mask="coco/annotations/val2017/{i:012}_instanceTrainIds.png",
        labels={name: COCO[name] + 1 for name in OBJECTS},
        other=0,
        draw=1,
    ),
    "mini_imagenet_s_50": _imagenet_s(
        50,
        2,
        {"bird": 3, "dog": 5, "cat": 7, "airplane": 17, "car": 20, "tv": 40, "boat": 46},
        WNIDS | {"car": "n02814533"},  # beach wagon
    ),
    "mini_imagenet_s_300": _imagenet_s(
        300,
        3,
        {"bird": 7, "dog": 68, "cat": 84, "airplane": 124, "chair": 168, "car": 245, "tv": 255, "boat": 275},
        WNIDS | {"car": "n04285008", "chair": "n03376595"},  # sports car, folding chair
    ),
    "mini_coco_stuff": Format(
        image="coco_stuff164k/images/val2017/{i:012}.jpg",
        mask="coco_stuff164k/annotations/val2017/{i:012}_labelTrainIds.png",
        labels=COCO | {"floor": 106, "grass": 112, "road": 137, "sky": 145, "wall": 159, "water": 166},
        other=255,
        draw=4,
    ),
    "mini_cityscapes": Format(
        image="city/leftImg8bit/val/mini/mini_{i:06}_000019_leftImg8bit.png",
        mask="city/gtFine/val/mini/mini_{i:06}_000019_gtFine_labelTrainIds.png",
        labels={"road": 0, "wall": 3, "grass": 9, "sky": 10, "person": 11, "car": 13, "bus": 15},
        other=255,
        draw=5,
    ),
    "mini_ade20k": Format(
        image="ADEChallengeData2016/images/validation/ADE_val_{i:08}.jpg",
        mask="ADEChallengeData2016/annotations/validation/ADE_val_{i:08}.png",
        labels={"wall": 1, "sky": 3, "floor": 4, "road": 7, "grass": 10, "person": 13, "chair": 20, "car": 21}
        | {"water": 22, "boat": 77, "bus": 81, "tv": 90, "airplane": 91},
        other=0,
        draw=6,
    ),
}
