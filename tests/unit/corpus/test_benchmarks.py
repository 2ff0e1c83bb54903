"""The mini benchmarks: mmsegmentation's class ids, palette masks, and draws that depend on their split alone."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cocu.config import Config
from cocu.corpus import benchmarks
from cocu.corpus.benchmarks import CONTEXT_CLASSES, FORMATS, VOC_CLASSES
from cocu.corpus.world import NAMES, OBJECTS
from cocu.io import read_json
from cocu.segment import mmseg


@pytest.fixture
def val(config: Config, tmp_path: Path) -> Path:
    benchmarks.run(config, split="val", out=tmp_path / "val")
    return tmp_path / "val"


def masks(root: Path, name: str) -> np.ndarray:
    folder = root / "VOCdevkit" / FORMATS[name].folder / FORMATS[name].masks
    return np.stack([np.asarray(Image.open(p)) for p in sorted(folder.iterdir())])


def test_every_name_has_its_class_and_mmsegs_id() -> None:
    assert set(VOC_CLASSES) == set(OBJECTS) and set(CONTEXT_CLASSES) == set(NAMES)
    data = mmseg.import_mmseg()
    voc, context = data.PascalVOCDataset.METAINFO, data.PascalContextDataset.METAINFO
    for classes, known in ((VOC_CLASSES, voc), (CONTEXT_CLASSES, context)):
        assert {i: known["classes"][i] for _, i in classes.values()} == {i: name for name, i in classes.values()}
    assert benchmarks.voc_palette()[:21].tolist() == voc["palette"]


def test_both_formats_show_the_same_scenes(val: Path) -> None:
    voc, context = masks(val, "voc"), masks(val, "context")
    objects = np.isin(context, [CONTEXT_CLASSES[name][1] for name in OBJECTS])
    assert np.array_equal(voc > 0, objects) and context.min() > 0 and objects.any()
    for name in OBJECTS:
        assert np.array_equal(voc == VOC_CLASSES[name][1], context == CONTEXT_CLASSES[name][1])
    jpegs = [sorted((val / "VOCdevkit" / f.folder / "JPEGImages").iterdir()) for f in FORMATS.values()]
    assert [p.read_bytes() for p in jpegs[0]] == [p.read_bytes() for p in jpegs[1]]


def test_files_are_as_the_data_sets_keep_them(val: Path) -> None:
    root = val / "VOCdevkit/VOC2012"
    stems = (root / "ImageSets/Segmentation/val.txt").read_text().split()
    assert stems == ["2012_000001", "2012_000002", "2012_000003"]
    image, mask = (
        Image.open(root / f"JPEGImages/{stems[0]}.jpg"),
        Image.open(root / f"SegmentationClass/{stems[0]}.png"),
    )
    assert mask.mode == "P" and image.size == mask.size == (32, 32)
    assert mask.getpalette()[60:63] == [0, 64, 128]
    pixels = read_json(val / "manifest.json")["counts"]["pixels"]
    assert sum(pixels["voc"].values()) == sum(pixels["context"].values()) == 3 * 32 * 32
    assert pixels["context"]["sky"] == int((masks(val, "context") == CONTEXT_CLASSES["sky"][1]).sum())


def test_draws_depend_on_the_split_alone(config: Config, val: Path, tmp_path: Path) -> None:
    benchmarks.run(config.model_copy(update={"seeds": (7,)}), split="val", out=tmp_path / "again")
    benchmarks.run(config, split="test", out=tmp_path / "test")
    assert np.array_equal(masks(tmp_path / "again", "context"), masks(val, "context"))
    test = masks(tmp_path / "test", "context")
    assert len(test) == 4
    assert not any(np.array_equal(t, v) for t in test for v in masks(val, "context"))
