from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import mmseg
import numpy as np
import pytest
from PIL import Image

from cocu.benchmarks import coco_object
from cocu.benchmarks.definitions import read_benchmark
from cocu.errors import DataError

CATEGORIES = {1: "person", 2: "bicycle", 11: "fire hydrant", 13: "stop sign", 72: "tv", 90: "toothbrush"}


def write_map(folder: Path, name: str, values: object, dtype: type = np.uint8) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    Image.fromarray(np.array(values, dtype)).save(path)
    return path


def read(path: Path) -> tuple[str, list[list[int]]]:
    with Image.open(path) as image:
        return image.mode, np.asarray(image).tolist()


@pytest.mark.parametrize(("raw", "label"), [(0, 1), (1, 2), (10, 11), (12, 12), (71, 63), (89, 80), (91, 0), (255, 0)])
def test_labels_of_known_categories(raw: int, label: int) -> None:
    assert coco_object.label_table()[raw] == label
    if raw < 91:
        assert read_benchmark("coco_object").classes[label] == CATEGORIES[raw + 1]


def test_the_80_things_are_in_the_order_of_mmsegmentations_table() -> None:
    path = Path(mmseg.__file__).parent / ".mim/tools/dataset_converters/coco_stuff164k.py"
    spec = importlib.util.spec_from_file_location("coco_stuff164k", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    theirs = {raw: label + 1 for raw, label in module.clsID_to_trID.items() if raw < 91}
    ours = coco_object.label_table()
    assert len(theirs) == 80
    assert {raw: int(ours[raw]) for raw in range(91) if ours[raw] != coco_object.NO_LABEL} == theirs
    assert (ours[91:] == 0).all()


def test_maps_become_masks_of_their_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    maps, out = tmp_path / "maps", tmp_path / "out"
    write_map(maps, "000000000139", [[0, 89, 255], [91, 181, 12]])
    write_map(maps, "000000000285", [[71]])
    write_map(maps, "000000000285_labelTrainIds", [[11]])  # of mmsegmentation's converter, which writes beside the maps
    coco_object.run(maps, out=out, processes=1)
    assert sorted(p.name for p in out.iterdir()) == [
        "000000000139_instanceTrainIds.png",
        "000000000285_instanceTrainIds.png",
    ]
    assert read(out / "000000000139_instanceTrainIds.png") == ("L", [[1, 80, 0], [0, 0, 12]])
    assert read(out / "000000000285_instanceTrainIds.png") == ("L", [[63]])
    assert capsys.readouterr().err.splitlines()[-1] == f"{out}: 2 masks written, 0 were there"


def test_masks_that_are_newer_than_their_maps_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    maps, out = tmp_path / "maps", tmp_path / "out"
    paths = [write_map(maps, name, [[0]]) for name in "abc"]
    coco_object.run(maps, out=out, processes=1)
    masks = [out / f"{name}_instanceTrainIds.png" for name in "abc"]
    masks[0].unlink()
    Image.new("L", (1, 1), 7).save(masks[2])  # as if it were the user's: newer, so kept
    write_map(maps, "b", [[1]])
    os.utime(paths[1], (2e9, 2e9))
    coco_object.run(maps, out=out, processes=1)
    assert [read(mask)[1] for mask in masks] == [[[1]], [[2]], [[7]]]
    assert capsys.readouterr().err.splitlines()[-1] == f"{out}: 2 masks written, 1 were there"


def test_several_processes_write_the_same(tmp_path: Path) -> None:
    for i in range(3):
        write_map(tmp_path / "maps", str(i), [[i, 71]])
    coco_object.run(tmp_path / "maps", out=tmp_path / "one", processes=1)
    coco_object.run(tmp_path / "maps", out=tmp_path / "two", processes=2)
    for i in range(3):
        name = f"{i}_instanceTrainIds.png"
        assert read(tmp_path / "two" / name)[1] == [[i + 1, 63]]
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


@pytest.mark.parametrize("category", coco_object.REMOVED)
def test_a_category_that_coco_removed_is_refused(tmp_path: Path, category: int) -> None:
    path = write_map(tmp_path / "maps", "x", [[0, category - 1]])
    with pytest.raises(DataError, match=rf"x\.png holds the value {category - 1}, category {category}, which COCO"):
        coco_object.convert(path, tmp_path / "mask.png")
    assert list(tmp_path.glob("*mask.png*")) == []


@pytest.mark.parametrize(("values", "dtype", "mode"), [([[[0, 0, 0]]], np.uint8, "RGB"), ([[0]], np.uint16, "I;16")])
def test_a_map_that_is_not_8_bit_grey_is_refused(tmp_path: Path, values: object, dtype: type, mode: str) -> None:
    path = write_map(tmp_path / "maps", "x", values, dtype)
    with pytest.raises(DataError, match=rf"x\.png is of mode {mode}"):
        coco_object.convert(path, tmp_path / "mask.png")


def test_a_palette_is_read_by_its_indices(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    image = Image.fromarray(np.array([[71, 255]], np.uint8))
    image.putpalette([c * 7 % 256 for c in range(768)])
    image.save(path)
    coco_object.convert(path, tmp_path / "mask.png")
    assert read(tmp_path / "mask.png") == ("L", [[63, 0]])


@pytest.mark.parametrize("processes", [1, 2])
def test_a_damaged_map_is_named_and_leaves_no_mask(tmp_path: Path, processes: int) -> None:
    write_map(tmp_path / "maps", "a", [[0]])
    path = write_map(tmp_path / "maps", "b", np.random.default_rng(0).integers(0, 10, (64, 64)))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"Cannot read the map .*b\.png"):
        coco_object.run(tmp_path / "maps", out=tmp_path / "out", processes=processes)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a_instanceTrainIds.png"]


def test_a_folder_without_maps_is_refused(tmp_path: Path) -> None:
    write_map(tmp_path / "maps/val2017", "a", [[0]])
    with pytest.raises(DataError, match=r"No raw pixel map .*give its folder val2017"):
        coco_object.run(tmp_path / "maps", out=tmp_path / "out", processes=1)
