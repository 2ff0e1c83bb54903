from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cocu.benchmarks.definitions import Benchmark
from cocu.benchmarks.mmseg import Examples
from cocu.errors import ConfigError, DataError, EnvironmentFault

MASK = "VOCdevkit/VOC2012/SegmentationClass/000.png"
IMAGE = "VOCdevkit/VOC2012/JPEGImages/000.jpg"
Write = Callable[..., Path]
Make = Callable[..., Benchmark]


@pytest.fixture
def root(write_voc: Write) -> Path:
    image = np.zeros((6, 8, 3), np.uint8)
    image[..., 0] = 250
    mask = np.zeros((6, 8), np.uint8)
    mask[0, :5] = [3, 8, 12, 20, 255]  # bird, cat, dog, tvmonitor, ignored
    return write_voc([image] * 3, [mask] * 3)


def test_images_are_rgb_and_a_subset_of_classes_leaves_the_others_unscored(root: Path, benchmark_of: Make) -> None:
    examples = list(Examples(benchmark_of(), root, limit=2))
    assert [e.name for e in examples] == ["000", "001"]
    image, truth = examples[0].image, examples[0].truth
    assert image.shape == (6, 8, 3) and image.dtype == np.uint8
    assert image[..., 0].min() > 240 and image[..., 2].max() < 10
    assert truth.dtype == np.int64
    assert truth[0].tolist() == [1, 2, 3, 255, 255, 0, 0, 0]


def test_shares_are_every_nth_of_the_first_images(root: Path, benchmark_of: Make) -> None:
    def names(limit: int, share: tuple[int, int]) -> list[str]:
        return [example.name for example in Examples(benchmark_of(), root, limit, share)]

    assert [names(0, (i, 2)) for i in (0, 1)] == [["000", "002"], ["001"]]
    assert [names(2, (i, 2)) for i in (0, 1)] == [["000"], ["001"]]
    assert [names(7, (i, 3)) for i in (0, 1, 2)] == [["000"], ["001"], ["002"]]


@pytest.mark.parametrize(("shrink", "shape"), [(None, (6, 8)), ((48, 4), (6, 8)), ((47, 4), (3, 4)), ((47, 5), (4, 5))])
def test_an_image_of_more_pixels_than_the_limit_is_shrunk_and_its_truth_is_not(
    root: Path, benchmark_of: Make, shrink: tuple[int, int] | None, shape: tuple[int, int]
) -> None:
    example = next(iter(Examples(benchmark_of(shrink=shrink), root)))
    assert example.image.shape == (*shape, 3) and example.truth.shape == (6, 8)


def test_the_first_label_that_is_no_class_is_refused(root: Path, benchmark_of: Make) -> None:
    from mmseg.datasets import PascalVOCDataset

    names = PascalVOCDataset.METAINFO["classes"]
    benchmark = benchmark_of(classes=names, prompts=(None, *names[1:]))
    for label in (20, 21):
        Image.fromarray(np.full((6, 8), label, np.uint8)).save(root / MASK)
        if label < len(names):
            assert (next(iter(Examples(benchmark, root))).truth == label).all()
            continue
        with pytest.raises(DataError, match=r"000\.png holds the label 21, but tiny has the classes 0\.\.20"):
            next(iter(Examples(benchmark, root)))


def test_mmseg_loads_without_compiled_operators_and_not_before_it_is_needed() -> None:
    program = """
import sys
import cocu.benchmarks.mmseg as ours
assert "mmseg" not in sys.modules and "mmcv" not in sys.modules
ours.import_mmseg()
import importlib.util
from mmcv.ops import point_sample
assert importlib.util.find_spec("mmcv.ops") is not None
point_sample(1)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert EnvironmentFault.__name__ in ran.stderr.splitlines()[-1]
    assert "mmcv.ops.point_sample was called" in ran.stderr


def test_missing_files_are_named_with_where_to_get_them(root: Path, benchmark_of: Make, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"The images .*nowhere.*Get them \(the tests\)"):
        Examples(benchmark_of(), tmp_path / "nowhere")
    (root / IMAGE).unlink()
    with pytest.raises(DataError, match=r"000\.jpg"):
        list(Examples(benchmark_of(), root))


def test_an_empty_list_is_refused(root: Path, benchmark_of: Make) -> None:
    (root / benchmark_of().list_file).write_text("")
    with pytest.raises(DataError, match="lists no image"):
        Examples(benchmark_of(), root)


def test_an_image_that_its_exif_tag_turns_is_refused(root: Path, benchmark_of: Make) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.new("RGB", (8, 6)).save(root / IMAGE, exif=exif)
    with pytest.raises(DataError, match=r"000\.jpg is \(8, 6\) and its mask .*000\.png \(6, 8\)"):
        list(Examples(benchmark_of(), root))


def test_a_truncated_image_is_refused(root: Path, benchmark_of: Make) -> None:
    (root / IMAGE).write_bytes((root / IMAGE).read_bytes()[:20])
    with pytest.raises(DataError, match=r"Cannot read .*000\.jpg"):
        list(Examples(benchmark_of(), root))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.full((6, 8), 30, np.uint8), "holds the label 30, but tiny has the classes 0..3"),
        (np.full((6, 8, 3), 1, np.uint8), "of mode RGB"),
        (np.full((6, 8), 257, np.uint16), "of mode I;16"),  # modulo 256 it would be the class 1
    ],
)
def test_damaged_masks_are_named(root: Path, benchmark_of: Make, mask: np.ndarray, message: str) -> None:
    Image.fromarray(mask).save(root / MASK)
    with pytest.raises(DataError, match=rf"000\.png.*{message}"):
        list(Examples(benchmark_of(), root))


def test_wrong_names_are_suggested(root: Path, benchmark_of: Make) -> None:
    with pytest.raises(ConfigError, match="did you mean 'PascalVOCDataset'"):
        Examples(benchmark_of(dataset="PascalVOC"), root)
    with pytest.raises(ConfigError, match="no class 'tvmonitr'; did you mean 'tvmonitor'"):
        Examples(benchmark_of(classes=("background", "bird", "cat", "tvmonitr")), root)
