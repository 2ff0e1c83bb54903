"""Each of the eight benchmarks' own formats: read right, checked, scored; and every way of damaging them is named."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from cocu.benchmarks.check import Look, check, format_report, summary
from cocu.benchmarks.mmseg import Example, Examples
from cocu.errors import DataError
from cocu.evaluate.score import checked_score, scores
from cocu.model.groupvit import GroupViT
from cocu.segment.segmenter import benchmark_segmenter
from tests.unit.benchmarks import real_formats
from tests.unit.benchmarks.real_formats import BLUE, NAMES, RED, SIZES, Folder, picture, save_colour, save_grey


@pytest.fixture(params=NAMES)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return real_formats.write(request.param, tmp_path)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Folder]:
    return lambda name: real_formats.write(name, tmp_path)


def test_what_was_written_is_read(folder: Folder) -> None:
    examples = Examples(folder.benchmark, folder.root)
    assert [examples.paths(i) for i in range(2)] == list(zip(folder.images, folder.masks, strict=True))
    for example, image, truth in zip(examples, folder.images, folder.truths, strict=True):
        assert example.name == image.stem
        assert example.truth.dtype == np.int64 and np.array_equal(example.truth, truth)
        assert np.abs(example.image[:, 2] - np.int64(RED)).max() < 12  # RGB, not BGR
        assert np.abs(example.image[:, -3] - np.int64(BLUE)).max() < 12


def test_ones_own_classes_do_not_change_what_the_labels_are(tmp_path: Path) -> None:
    """In a process of its own, since mmsegmentation's classes are registered once."""
    real_formats.write("coco_object", tmp_path)  # labels 0, 1, 12, 63 and 80
    own = tmp_path / "config/benchmarks/coco_object.yaml"
    own.parent.mkdir(parents=True)
    fields = real_formats.read_benchmark("coco_object").model_dump(mode="json", exclude={"name", "prompts"})
    own.write_text(yaml.safe_dump({**fields, "classes": ["background", "stop sign", "person"]}))
    code = (
        "import numpy, pathlib; from cocu.benchmarks.definitions import read_benchmark\n"
        "from cocu.benchmarks.mmseg import Examples\n"
        "truth = Examples(read_benchmark('coco_object'), pathlib.Path())[0].truth\n"
        "print(numpy.unique(truth).tolist(), truth[10, 0])"
    )
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | path, capture_output=True, text=True, check=True
    )
    assert run.stdout == "[0, 1, 2, 255] 1\n"  # labels 12 and 1, and the others


def test_the_check_passes_two_images_and_says_that_they_are_not_the_published_number(folder: Folder) -> None:
    report = check(folder.benchmark, folder.root)
    assert report.sound and report.faults == {}
    assert (report.images, report.looked_at, report.published) == (2, 2, folder.benchmark.image_count)
    assert report.warnings[0] == f"images listed, 2: the published benchmark has {report.published:,}"
    assert report.sizes == [(20, 32), (20, 32), (32, 24)]  # 640 and 768 pixels, width first
    assert report.modes == {"RGB": 2}
    truth = np.concatenate([t.ravel() for t in folder.truths])
    scored = truth[truth != folder.benchmark.ignore_index]
    assert report.ignored == pytest.approx(1 - scored.size / truth.size)
    for c, (name, share, images) in enumerate(report.classes):
        assert name == folder.benchmark.classes[c]
        assert share == pytest.approx((scored == c).mean())
        assert images == sum((t == c).any() for t in folder.truths)
    present = len(np.unique(scored))
    assert report.warnings[1].startswith(
        f"classes that occur in no image, {len(report.classes) - present} of {len(report.classes)}: "
    )
    assert len(report.warnings) == 2
    assert format_report(report).splitlines()[-1] == (
        f"{folder.benchmark.name} can be evaluated: 2 images of {report.published:,}: not the published benchmark."
    )


def test_every_scored_pixel_counts_once(folder: Folder, model: Any, normalisation: Any) -> None:
    counts = counted(folder, model, normalisation)
    truth = np.concatenate([t.ravel() for t in folder.truths])
    scored = truth[truth != folder.benchmark.ignore_index]
    assert np.array_equal(counts.sum(1), np.bincount(scored, minlength=len(folder.benchmark.classes)))


def counted(folder: Folder, model: Any, normalisation: Any) -> np.ndarray:
    """The confusion matrix of a GroupViT that learned nothing, the same from both ways of scoring."""
    torch.manual_seed(0)
    small = folder.benchmark.model_copy(update={"scale": (2048, 16), "window": 16, "stride": 8})
    segmenter = benchmark_segmenter(GroupViT(model.config).eval(), normalisation, small)
    painter = partial(segmenter.segment, threshold=small.background_threshold)
    examples = Examples(small, folder.root)
    (score,) = scores(segmenter, small, examples, [painter])
    assert score.images == 2
    assert np.array_equal(checked_score(segmenter, small, examples, painter).counts, score.counts)
    return score.counts


def test_a_large_image_of_imagenet_s_is_shrunk_and_its_truth_is_not(
    write: Callable[[str], Folder], model: Any, normalisation: Any
) -> None:
    folder = write("imagenet_s_50")
    for at, size in ((0, (810, 1250)), (1, (1000, 1000))):  # more than a million pixels, and not more
        picture(size).save(folder.images[at], format="JPEG")
        labels = np.zeros(size, np.int64)
        labels[:400] = 50
        save_colour(folder.masks[at], labels)
    large, limit = Examples(folder.benchmark, folder.root)
    assert large.image.shape == (648, 1000, 3) and limit.image.shape == (1000, 1000, 3)
    assert large.truth.shape == (810, 1250) and (large.truth == 50).sum() == 400 * 1250
    report = check(folder.benchmark, folder.root)
    assert report.sound and report.shrunk == 1 and report.sizes[-1] == (1250, 810)
    assert "shrunk        images 1, before" in format_report(report)
    counts = counted(folder, model, normalisation)
    assert counts[50].sum() == 400 * 2250 and counts.sum() == 810 * 1250 + 1000 * 1000


@pytest.mark.parametrize("name", ["imagenet_s_50", "coco_stuff"])
def test_images_in_cmyk_or_grey_keep_their_colours(write: Callable[[str], Folder], name: str) -> None:
    folder = write(name)
    inks = np.zeros((*SIZES[0], 4), np.uint8)
    inks[:, :16], inks[:, 16:] = (30, 200, 180, 20), (200, 60, 10, 90)
    Image.fromarray(inks, mode="CMYK").save(folder.images[0], format="JPEG", quality=98)
    Image.new("L", SIZES[1][::-1], 77).save(folder.images[1], format="JPEG")
    cmyk, grey = Examples(folder.benchmark, folder.root)
    for column, (*cmy, k) in ((3, inks[0, 3].tolist()), (-3, inks[0, -3].tolist())):
        expected = [(255 - ink) * (255 - k) / 255 for ink in cmy]
        assert np.abs(cmyk.image[:, column] - np.array(expected)).max() < 8
    assert np.abs(grey.image.astype(int) - 77).max() <= 1
    report = check(folder.benchmark, folder.root)
    assert report.sound and report.modes == {"CMYK": 1, "L": 1}


def cut(path: Path, share: float = 0.6) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def turn(path: Path, tag: int, size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = tag
    picture(size).save(path, format="JPEG", exif=exif)


def other_size(folder: Folder) -> None:
    save_grey(folder.masks[1], np.zeros((20, 20)))


def colour_labels(folder: Folder) -> None:
    save_colour(folder.masks[1], folder.truths[1])


def grey_labels(folder: Folder) -> None:
    save_grey(folder.masks[1], folder.truths[1])


def out_of_range(folder: Folder, label: int) -> None:
    save = save_colour if "imagenet" in folder.benchmark.name else save_grey
    save(folder.masks[1], np.where(np.eye(*SIZES[1]) == 1, label, 1))


def all_ignored(folder: Folder) -> None:
    if "imagenet" in folder.benchmark.name:
        save_colour(folder.masks[1], np.full(SIZES[1], 1000))
    else:
        save_grey(folder.masks[1], np.full(SIZES[1], 0 if folder.benchmark.name == "ade20k" else 255))


Damage = Callable[[Folder], object]
DAMAGES: list[tuple[str, Damage, str, str]] = [
    *(
        (name, other_size, "mask of another size", r"is \(32, 20\) and its mask .* \(20, 20\)")
        for name in ("voc", "coco_object", "coco_stuff", "cityscapes", "ade20k")
    ),
    *(
        (name, colour_labels, "mask of another mode", "is of mode RGB; labels need one 8-bit channel")
        for name in ("context", "ade20k", "coco_object")
    ),
    *(
        (name, grey_labels, "mask of another mode", "is of mode L; labels are in its red and green")
        for name in ("imagenet_s_50", "imagenet_s_300")
    ),
    *(
        (name, partial(out_of_range, label=label), "label out of range", f"holds the label {found}, but {name} has")
        for name, label, found in (
            ("voc", 21, 21),
            ("context", 60, 60),
            ("coco_object", 81, 81),
            ("imagenet_s_50", 51, 51),
            ("imagenet_s_50", 255, 255),
            ("imagenet_s_300", 301, 301),
            ("coco_stuff", 171, 171),
            ("cityscapes", 19, 19),
            ("ade20k", 151, 150),  # one above the last: the files count from 1
        )
    ),
    *((name, lambda f: cut(f.images[1]), "damaged file", r"Cannot read [^:]*{image}") for name in NAMES),
    *((name, lambda f: cut(f.masks[1]), "damaged file", r"Cannot read [^:]*{mask}") for name in NAMES),
    *((name, lambda f: f.masks[1].unlink(), "missing mask", "{mask}") for name in NAMES),
    *((name, lambda f: f.images[1].unlink(), "missing image", "{image}") for name in ("voc", "context")),
]


@pytest.mark.parametrize(
    ("name", "damage", "kind", "message"), DAMAGES, ids=[f"{d[0]}-{d[2]}-{i}" for i, d in enumerate(DAMAGES)]
)
def test_each_fault_is_named_and_the_other_image_is_still_counted(
    write: Callable[[str], Folder], name: str, damage: Damage, kind: str, message: str
) -> None:
    folder = write(name)
    damage(folder)
    message = message.replace("{image}", re.escape(folder.images[1].name))
    message = message.replace("{mask}", re.escape(folder.masks[1].name))
    report = check(folder.benchmark, folder.root)
    assert list(report.faults) == [kind]
    (sentence,) = report.faults[kind]
    assert re.search(message, sentence)
    assert not report.sound and report.looked_at == 2 and sum(report.modes.values()) == 1
    text = format_report(report)
    assert f"\nfault: {kind}, 1\n  {sentence}\n" in text
    assert text.endswith(f"\n{name} cannot be evaluated: 1 of 2 images has a fault.")
    examples = Examples(folder.benchmark, folder.root)
    assert np.array_equal(examples[0].truth, folder.truths[0])
    with pytest.raises(DataError, match=message):
        examples[1]


@pytest.mark.parametrize("name", NAMES)
def test_an_image_without_a_labelled_pixel_is_a_note(write: Callable[[str], Folder], name: str) -> None:
    folder = write(name)
    all_ignored(folder)
    report = check(folder.benchmark, folder.root)
    assert report.sound and report.faults == {}
    (note,) = [warning for warning in report.warnings if "ignored label" in warning]
    assert note.endswith(f"(their images are passed over), 1: {folder.masks[1]}")
    first, second = Examples(folder.benchmark, folder.root)
    assert np.array_equal(first.truth, folder.truths[0])
    assert (second.truth == folder.benchmark.ignore_index).all()


def test_a_cut_image_is_told_from_its_mask_whatever_opencv_makes_of_it(
    write: Callable[[str], Folder], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write("ade20k")
    data = folder.images[1].read_bytes()
    folder.images[1].write_bytes(data[:-2])  # the end marker: OpenCV 4 reads on without it
    anything = Example(np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.int64), "x")
    monkeypatch.setattr(Examples, "__getitem__", lambda self, i: anything)
    (sentence,) = check(folder.benchmark, folder.root).faults["damaged file"]
    assert sentence.startswith(f"Cannot read {folder.images[1]}: image file is truncated")


def test_a_mask_that_ends_between_two_chunks_of_its_png_is_damaged(write: Callable[[str], Folder]) -> None:
    folder = write("ade20k")
    noise = np.random.default_rng(0).integers(1, 150, (400, 400))
    save_grey(folder.masks[1], noise)
    data = folder.masks[1].read_bytes()
    second = data.index(b"IDAT", data.index(b"IDAT") + 4)
    folder.masks[1].write_bytes(data[: second - 4])
    with pytest.raises(DataError, match="Cannot read"):
        Examples(folder.benchmark, folder.root)[1]
    assert list(check(folder.benchmark, folder.root).faults) == ["damaged file"]


def test_faults_of_all_images_are_found(write: Callable[[str], Folder]) -> None:
    folder = write("cityscapes")
    cut(folder.images[0])
    folder.masks[1].unlink()
    report = check(folder.benchmark, folder.root)
    assert {kind: len(found) for kind, found in report.faults.items()} == {"damaged file": 1, "missing mask": 1}
    assert report.verdict == "cityscapes cannot be evaluated: 2 of 2 images have a fault."
    assert report.sizes == [] and all(images == 0 for _, _, images in report.classes)
    first = check(folder.benchmark, folder.root, limit=1)
    assert list(first.faults) == ["damaged file"] and (first.images, first.looked_at) == (2, 1)


def test_an_image_that_exif_turns_is_named_as_such(write: Callable[[str], Folder]) -> None:
    folder = write("ade20k")
    turn(folder.images[1], 6, SIZES[1])
    report = check(folder.benchmark, folder.root)
    (sentence,) = report.faults["image turned by EXIF"]
    assert sentence.startswith(f"{folder.images[1]} is 20 x 32 like its mask, until its EXIF tag lays it on its side.")
    with pytest.raises(DataError, match=r"is \(20, 32\) and its mask .*EXIF"):
        Examples(folder.benchmark, folder.root)[1]
    save_grey(folder.masks[1], np.ones(SIZES[1][::-1]))  # it was labelled as a viewer shows it
    as_shown = check(folder.benchmark, folder.root)
    assert as_shown.sound and not [w for w in as_shown.warnings if "EXIF" in w]


@pytest.mark.parametrize("tag", [2, 3, 4])
def test_an_image_that_exif_turns_upside_down_is_a_warning(write: Callable[[str], Folder], tag: int) -> None:
    folder = write("coco_stuff")
    turn(folder.images[0], tag, SIZES[0])
    turn(folder.images[1], 1, SIZES[1])
    report = check(folder.benchmark, folder.root)
    assert report.sound
    (warning,) = [w for w in report.warnings if "EXIF" in w]
    assert warning.startswith("images that an EXIF tag turns by 180 degrees") and warning.endswith(
        str(folder.images[0])
    )


def test_masks_without_image_are_a_warning_where_folders_decide_and_none_where_a_list_does(
    write: Callable[[str], Folder],
) -> None:
    scanned = write("imagenet_s_300")
    scanned.images[0].unlink()
    report = check(scanned.benchmark, scanned.root)
    assert report.sound and report.images == 1
    assert f"masks without image, 1: {scanned.masks[0]}" in report.warnings
    listed = write("voc")
    report = check(listed.benchmark, listed.root)
    assert report.unread == (1, 1) and not [w for w in report.warnings if "masks" in w]
    assert "not read      images 1, masks 1, which no list names" in format_report(report)


def test_an_image_that_is_listed_twice_is_a_warning(write: Callable[[str], Folder]) -> None:
    folder = write("voc")
    listed = folder.root / folder.benchmark.list_file
    listed.write_text(listed.read_text() + "2011_003271\n")
    report = check(folder.benchmark, folder.root)
    assert report.sound and report.images == 3
    assert "images that are listed, and count, more than once, 1: 2011_003271" in report.warnings


def without_folder(folder: Folder) -> None:
    (folder.root / folder.benchmark.images).rename(folder.root / "elsewhere")


def without_images(folder: Folder) -> None:
    for image in (folder.root / folder.benchmark.images).rglob("*.*"):
        image.unlink()


def with_jpg(folder: Folder) -> None:
    for image in folder.images:
        image.rename(image.with_suffix(".jpg"))


def without_converted_masks(folder: Folder) -> None:
    for mask in folder.masks:
        mask.rename(mask.with_name(mask.name.replace("_instanceTrainIds", "")))


def without_list(folder: Folder) -> None:
    (folder.root / folder.benchmark.list_file).unlink()


def with_empty_list(folder: Folder) -> None:
    (folder.root / folder.benchmark.list_file).write_text("\n")


@pytest.mark.parametrize(
    ("name", "damage", "message", "how_to"),
    [
        (
            "cityscapes",
            without_folder,
            r"images, .*leftImg8bit/val, does not exist",
            r"leftImg8bit_trainvaltest .*then",
        ),
        ("voc", without_images, r"images, .*JPEGImages, has no file that ends in \.jpg: it is empty", "VOC2012 train"),
        (
            "imagenet_s_50",
            with_jpg,
            r"has no file that ends in \.JPEG: it has 2 other files, such as ILSVRC2012_val_00048864\.jpg",
            "mode=50",
        ),
        (
            "coco_object",
            without_converted_masks,
            r"has no file that ends in _instanceTrainIds\.png: .* such as 000000000139\.png",
            "cocu convert coco-object --maps",
        ),
        ("context", without_list, r"list of images, .*SegmentationContext/val\.txt, does not exist", "detail-api"),
        ("voc", with_empty_list, r"list of images, .*val\.txt, is empty", "VOC2012 train"),
    ],
)
def test_what_is_missing_is_named_with_how_to_get_it(
    write: Callable[[str], Folder], name: str, damage: Damage, message: str, how_to: str
) -> None:
    folder = write(name)
    damage(folder)
    report = check(folder.benchmark, folder.root)
    assert list(report.faults) == ["missing or empty"] and not report.sound
    (sentence,) = report.faults["missing or empty"]
    assert re.search(message, sentence)
    assert re.search(how_to, report.verdict) and format_report(report).endswith(report.verdict)
    assert report.verdict.startswith(f"{name} cannot be evaluated: files are missing. Get them (")


def test_all_that_is_missing_is_named(write: Callable[[str], Folder], tmp_path: Path) -> None:
    found = check(write("voc").benchmark, tmp_path / "nowhere").faults["missing or empty"]
    assert [s.split(",")[0] for s in found] == [
        "The folder of the images",
        "The folder of the masks",
        "The list of images",
    ]
    assert len(check(write("ade20k").benchmark, tmp_path / "nowhere").faults["missing or empty"]) == 2


def test_the_number_of_processes_does_not_change_the_report(
    write: Callable[[str], Folder], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write("imagenet_s_300")
    cut(folder.images[1])
    alone = check(folder.benchmark, folder.root)
    monkeypatch.setattr("cocu.benchmarks.check.CHUNK", 1)
    assert check(folder.benchmark, folder.root, processes=2) == alone


def test_ten_faults_of_a_kind_are_printed_and_all_are_kept(write: Callable[[str], Folder], tmp_path: Path) -> None:
    benchmark = write("voc").benchmark
    paths = [(tmp_path / f"{i}.jpg", tmp_path / f"{i}.png") for i in range(1449)]
    looks = [Look(("missing mask", f"mask {i}")) if i < 12 else Look(size=(2, 1), pixels={0: 2}) for i in range(1449)]
    report = summary(benchmark, tmp_path, paths, looks)
    text = format_report(report).splitlines()
    at = text.index("fault: missing mask, 12")
    assert text[at + 1 :] == [*(f"  mask {i}" for i in range(10)), "  and 2 more", "", report.verdict]
    assert len(report.faults["missing mask"]) == 12
    whole = summary(benchmark, tmp_path, paths, looks[12:] + looks[12:24])
    assert whole.verdict == "voc can be evaluated: 1,449 images, as published."
    assert not [w for w in whole.warnings if "published" in w]
    part = summary(benchmark, tmp_path, paths, looks[12:22])
    assert part.verdict == "The first 10 of 1,449 images of voc can be evaluated."
    assert part.warnings == []  # classes that the first ten lack may occur later
