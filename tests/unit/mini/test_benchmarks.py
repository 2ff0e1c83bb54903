"""The mini benchmarks: eight data sets' layouts and labels, and draws that depend on their split alone."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cocu.benchmarks import mmseg
from cocu.benchmarks.definitions import read_benchmark
from cocu.config import Config
from cocu.io import read_json
from cocu.mini import benchmarks
from cocu.mini.formats import FORMATS
from cocu.mini.world import NAMES, OBJECTS, draw_scene, load_sprites, scene_generator


@pytest.fixture
def val(config: Config, tmp_path: Path) -> Path:
    benchmarks.run(config, split="val", out=tmp_path / "val")
    return tmp_path / "val"


def scene_masks(config: Config, draw: int) -> list[np.ndarray]:
    """Of the three scenes of val."""
    world, sprites = config.corpus.mini, load_sprites()
    return [draw_scene(world, scene_generator(world, "val", draw, i), sprites).mask for i in range(3)]


@pytest.mark.parametrize("name", FORMATS)
def test_the_evaluation_reads_the_scenes_labels(config: Config, val: Path, name: str) -> None:
    """Through mmsegmentation's class lists, which know nothing of the tables that the scenes are written by."""
    definition = read_benchmark(name)
    examples = list(mmseg.Examples(definition, val))
    assert len(examples) == read_json(val / "manifest.json")["counts"][name]["images"] > 0
    written = {mask.tobytes(): mask for mask in scene_masks(config, FORMATS[name].draw)}
    asked = {prompt: i for i, prompt in enumerate(definition.prompts) if prompt}
    assert set(asked) == set(FORMATS[name].labels)
    rest = 0 if definition.background else definition.ignore_index
    table = np.array([asked.get(world_name, rest) for world_name in NAMES])
    truths = {table[mask].tobytes() for mask in written.values()}
    assert all(example.truth.tobytes() in truths for example in examples)
    assert len({example.truth.tobytes() for example in examples}) == len(examples)


def test_a_format_of_classes_has_no_image_without_one(config: Config, val: Path) -> None:
    form = FORMATS["mini_imagenet_s_50"]
    wanted = sum(
        bool(set(form.groups) & {NAMES[i] for i in np.unique(mask)}) for mask in scene_masks(config, form.draw)
    )
    images = sorted((val / "ImageNetS/ImageNetS50/validation").glob("*/*.JPEG"))
    assert 0 < len(images) <= wanted  # a name that is hardly visible is none of the scene's
    assert {path.parent.name for path in images} <= set(form.groups.values())


def test_labels_above_255_are_in_green() -> None:
    form = FORMATS["mini_imagenet_s_300"]
    assert form.labels["boat"] == 275
    stream = benchmarks.encode_mask(form, np.array([[275, 255, 0]]))
    with Image.open(io.BytesIO(stream)) as mask:
        assert np.asarray(mask).tolist() == [[[19, 1, 0], [255, 0, 0], [0, 0, 0]]]


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
    assert (val / "city/gtFine/val/mini/mini_000001_000019_gtFine_labelTrainIds.png").is_file()
    assert (val / "coco/annotations/val2017/000000000001_instanceTrainIds.png").is_file()
    pixels = {name: count["pixels"] for name, count in read_json(val / "manifest.json")["counts"].items()}
    assert sum(pixels["mini_voc"].values()) == sum(pixels["mini_context"].values()) == 3 * 32 * 32
    assert {name: pixels["mini_voc"][name] for name in OBJECTS} == {
        name: pixels["mini_context"][name] for name in OBJECTS
    }
    assert pixels["mini_context"]["other"] == 0 < pixels["mini_voc"]["other"]


def test_vocs_colours_are_its_own() -> None:
    data = mmseg.import_mmseg()
    assert benchmarks.voc_palette()[:21].tolist() == data.PascalVOCDataset.METAINFO["palette"]


def test_draws_depend_on_the_split_alone(config: Config, val: Path, tmp_path: Path) -> None:
    benchmarks.run(config.model_copy(update={"seeds": (7,)}), split="val", out=tmp_path / "again")
    benchmarks.run(config, split="test", out=tmp_path / "test")
    masks = "VOCdevkit/VOC2010/SegmentationClassContext"
    first, again, test = (
        [path.read_bytes() for path in sorted((tmp_path / split / masks).iterdir())]
        for split in ("val", "again", "test")
    )
    assert again == first and len(test) == 4
    assert not set(test) & set(first)
