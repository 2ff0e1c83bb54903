"""Photographs in, three files each out: labels, areas and scores against scenes that can be read by eye."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cocu.errors import ConfigError, DataError
from cocu.io import file_sha256
from cocu.model.groupvit import GroupViT
from cocu.model.hub import save_model
from cocu.segment import photos
from cocu.segment.overlay import class_colours, rgb
from cocu.segment.photos import default_size, find_photos, parse_classes

RED, GREEN, BLUE, DARK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)
WORDS = "bird, cat, dog"


def halves(left: Any, right: Any, size: tuple[int, int] = (32, 32)) -> Image.Image:
    image = Image.new("RGB", size, left)
    image.paste(right, (size[0] // 2, 0, *size))
    return image


@pytest.fixture
def checkpoint(tmp_path: Path, model: Any) -> Path:
    """A GroupViT that learned nothing, the same at every call."""
    torch.manual_seed(0)
    save_model(tmp_path / "checkpoint", GroupViT(model.config), {})
    return tmp_path / "checkpoint"


@pytest.fixture
def by_colour(checkpoint: Path, monkeypatch: pytest.MonkeyPatch, model: Any, normalisation: Any) -> Path:
    """The path of a checkpoint that is the colour model."""
    monkeypatch.setattr(photos, "load_model", lambda folder, device: (model, normalisation))
    return checkpoint


def run(images: list[Path], checkpoint: Path, out: Path, **options: Any) -> None:
    given = {"classes": WORDS, "background": None, "size": 16, "processes": 1, "device": "cpu", **options}
    photos.run(images, checkpoint=checkpoint, out=out, **given)


def labels_of(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_labels_areas_and_palette(by_colour: Path, tmp_path: Path) -> None:
    halves(RED, BLUE).save(tmp_path / "a.png")
    run([tmp_path / "a.png"], by_colour, tmp_path / "out")
    with Image.open(tmp_path / "out/a.labels.png") as image:
        assert (image.mode, image.size, image.info.get("transparency")) == ("P", (32, 32), None)
        palette = image.getpalette()
        assert palette is not None
        colours = class_colours(["background", "bird", "cat", "dog"])
        assert palette[:12] == [channel for colour in colours for channel in rgb(colour)]
    data = (tmp_path / "out/a.labels.png").read_bytes()
    assert data[24] == 8  # bits a pixel, in the header
    labels = labels_of(tmp_path / "out/a.labels.png")
    assert (labels[:, :16] == 1).all() and (labels[:, 16:] == 3).all()
    said = json.loads((tmp_path / "out/a.json").read_text())
    assert [(c["label"], c["name"], c["pixels"], c["area"]) for c in said["classes"]] == [
        (1, "bird", 512, 0.5), (2, "cat", 0, 0.0), (3, "dog", 512, 0.5),
    ]  # fmt: skip
    assert said["classes"][1]["score"] is None
    assert said["classes"][0]["colour"] == "#{:02x}{:02x}{:02x}".format(*rgb(colours[1]))
    assert (said["image"], said["height"], said["width"]) == (str(tmp_path / "a.png"), 32, 32)
    assert said["checkpoint"] == {
        "folder": str(by_colour), "sha256": file_sha256(by_colour / "model.safetensors"),
    }  # fmt: skip
    assert said["settings"] == {
        "background": None, "size": 16, "window": 16, "stride": 8, "cap": 2048, "templates": ["a photo of a {}."],
    }  # fmt: skip


def test_the_overlay_shows_the_colours_of_the_labels(by_colour: Path, tmp_path: Path) -> None:
    halves(RED, BLUE).save(tmp_path / "a.png")
    run([tmp_path / "a.png"], by_colour, tmp_path / "out")
    drawn = np.asarray(Image.open(tmp_path / "out/a.overlay.png"))
    bird, dog = (np.array(class_colours(["background", "bird", "cat", "dog"])[i]) for i in (1, 3))
    for colour, grey, column in ((bird, 0.299, 40), (dog, 0.114, 240)):  # the luma of red and of blue
        assert drawn[100, column] == pytest.approx(255 * (0.6 * colour + 0.4 * grey), abs=1)


def test_a_word_keeps_its_number_with_a_background(by_colour: Path, tmp_path: Path) -> None:
    halves(DARK, BLUE).save(tmp_path / "a.png")
    run([tmp_path / "a.png"], by_colour, tmp_path / "out", background=0.9)
    labels = labels_of(tmp_path / "out/a.labels.png")
    assert (labels[:, 16:] == 3).all() and (labels[:, :14] == 0).all()
    said = json.loads((tmp_path / "out/a.json").read_text())["classes"]
    assert [(c["label"], c["name"]) for c in said] == [(0, "background"), (1, "bird"), (2, "cat"), (3, "dog")]
    assert said[0]["pixels"] + said[3]["pixels"] == 1024 and said[0]["score"] is None


def test_the_score_by_hand(by_colour: Path, tmp_path: Path) -> None:
    """A red picture: its group is `bird` itself, whose logits are 10, 0, 0; the softmax over three words, squared."""
    Image.new("RGB", (16, 16), RED).save(tmp_path / "a.png")
    run([tmp_path / "a.png"], by_colour, tmp_path / "out")
    said = json.loads((tmp_path / "out/a.json").read_text())["classes"]
    assert said[0]["score"] == pytest.approx((1 / (1 + 2 * np.exp(-10))) ** 2, abs=1e-6)
    run([tmp_path / "a.png"], by_colour, tmp_path / "one", classes="cat")  # one word has all of any softmax
    assert json.loads((tmp_path / "one/a.json").read_text())["classes"][0]["score"] == 1.0


def test_the_mean_of_the_score_is_over_windows_and_pixels(by_colour: Path, model: Any, normalisation: Any) -> None:
    """Against all words' scores at full size, by numpy."""
    torch.manual_seed(1)
    job = photos.Job(by_colour, "", ("bird", "cat", "dog"), 0.5, 16, "cpu", Path())
    segmenter = photos.load_segmenter(job)
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    labels, scores = photos.label(segmenter, image, 0.5)
    views = segmenter.look([image])
    total, count = np.zeros((3, *views.resized)), np.zeros(views.resized)
    for i, (top, left) in enumerate(views.corners):
        one = slice(i, i + 1)
        seen = views.evidence.regions.pick(one).paint(views.evidence.scores[one])[0].numpy()
        total[:, top : top + 16, left : left + 16] += seen
        count[top : top + 16, left : left + 16] += 1
    full = torch.nn.functional.interpolate(
        torch.from_numpy(total / count)[None], size=labels.shape, mode="bilinear", align_corners=False
    )[0].numpy()
    assert len(views.corners) > 1 and {0, 1, 2, 3} >= set(np.unique(labels).tolist()) >= {1, 2, 3}
    assert scores == pytest.approx([full[i][labels == i + 1].mean() for i in range(3)], abs=1e-6)


def test_a_picture_that_is_all_background_has_no_scores(by_colour: Path) -> None:
    segmenter = photos.load_segmenter(photos.Job(by_colour, "", ("bird", "cat", "dog"), 0.5, 16, "cpu", Path()))
    views = segmenter.look([np.zeros((16, 16, 3), np.uint8)])
    assert np.isnan(photos.mean_scores(views, np.zeros((16, 16), np.int64), 3)).all()


def test_exif_rotation_and_alpha_count(by_colour: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera's top is the viewer's right
    halves(RED, BLUE, (32, 16)).save(tmp_path / "a.png", exif=exif)
    clear = Image.new("RGBA", (32, 32), (*GREEN, 255))
    clear.paste((*BLUE, 0), (0, 0, 16, 32))
    clear.save(tmp_path / "b.png")
    run([tmp_path / "a.png", tmp_path / "b.png"], by_colour, tmp_path / "out")
    upright = labels_of(tmp_path / "out/a.labels.png")
    assert upright.shape == (32, 16) and (upright[:16] == 1).all() and (upright[16:] == 3).all()
    assert (labels_of(tmp_path / "out/b.labels.png")[:, 16:] == 2).all()
    drawn = np.asarray(Image.open(tmp_path / "out/b.overlay.png"))
    assert drawn[100, 40].max() > 200  # white is under the colour, not the blue that no one sees


def test_a_broken_picture_does_not_lose_the_others(
    by_colour: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    halves(RED, BLUE).save(folder / "a.png")
    (folder / "b.jpg").write_bytes(b"no picture")
    whole = (folder / "a.png").read_bytes()
    (folder / "c.png").write_bytes(whole[: len(whole) - 30])
    halves(GREEN, BLUE).save(folder / "d.png")
    with pytest.raises(DataError) as caught:
        run([folder], by_colour, tmp_path / "out")
    first, b, c = str(caught.value).splitlines()
    assert first == "2 of 4 pictures could not be read:"
    assert f"{folder}/b.jpg cannot be decoded" in b and f"{folder}/c.png cannot be decoded" in c
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        f"{name}.{kind}" for name in "ad" for kind in ("json", "labels.png", "overlay.png")
    ]
    assert f"2 pictures segmented into {tmp_path / 'out'} in " in capsys.readouterr().err


def test_folders_keep_their_structure(by_colour: Path, tmp_path: Path) -> None:
    for name in ("in/a.jpg", "in/sub/a.JPEG", "in/sub/.hidden.png", "in/.git/b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        halves(RED, BLUE).save(tmp_path / name)
    (tmp_path / "in/notes.txt").write_text("not a picture")
    run([tmp_path / "in"], by_colour, tmp_path / "in/segmented")
    run([tmp_path / "in"], by_colour, tmp_path / "in/segmented")  # its own results are no pictures
    made = sorted(p.relative_to(tmp_path / "in/segmented").as_posix() for p in tmp_path.rglob("segmented/**/*.json"))
    assert made == ["a.json", "sub/a.json"]


def test_which_files_are_found(tmp_path: Path) -> None:
    for name in ("x/b.png", "x/a.tif", "y/c.webp", "y/c.labels.png", "y/c.overlay.png", "file"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    x, y, file = tmp_path / "x", tmp_path / "y", tmp_path / "file"
    assert [p.name for p in find_photos([file, y, x, y / "c.webp"])] == ["file", "c", "a", "b"]
    (tmp_path / "y/a.gif").touch()
    with pytest.raises(DataError, match=r"x/a\.tif and .*y/a\.gif would both be called a: rename one"):
        find_photos([x, y])
    with pytest.raises(DataError, match=r"nowhere\.jpg does not exist"):
        find_photos([x, tmp_path / "nowhere.jpg"])
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/a.txt").touch()
    with pytest.raises(DataError, match=r"The folder .*empty holds no images"):
        find_photos([tmp_path / "empty"])


def test_classes() -> None:
    assert parse_classes(" cat,polar   bear , dog") == ("cat", "polar bear", "dog")
    assert len(parse_classes(",".join(map(str, range(255))))) == 255
    for text, sentence in (
        ("cat,,dog", "has an empty word"),
        ("", "has an empty word"),
        ("cat, dog, Cat", "has 'Cat' twice"),
        ("cat, Background", "give --background"),
        (",".join(map(str, range(256))), "has 256 words.* holds 255"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            parse_classes(text)


def test_the_default_size_is_the_published_one_for_patches(model: Any) -> None:
    assert default_size(model.config) == 32
    convolutional = {"stem": "convolutional", "stem_channels": (16, 16), "stem_strides": (2, 2)}
    assert default_size(model.config.model_validate({**model.config.model_dump(), **convolutional})) == 16


def test_processes_and_repetition_change_no_byte(checkpoint: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(noise.integers(0, 256, (20 + i, 37, 3), np.uint8)).save(tmp_path / f"{i}.png")
    (tmp_path / "3.png").write_bytes(b"broken")
    images = [tmp_path / f"{i}.png" for i in range(4)]
    weights = checkpoint / "model.safetensors"
    for out, processes in (("one", 1), ("two", 2), ("two", 1)):
        with pytest.raises(DataError, match=r"1 of 4 pictures could not be read:\n.*3\.png cannot be decoded"):
            run(images, weights, tmp_path / out, size=None, processes=processes, background=0.3)
    files = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert len(files) == 9 and files == sorted(p.name for p in (tmp_path / "two").iterdir())
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert json.loads((tmp_path / "one/0.json").read_text())["settings"]["size"] == 32


@pytest.mark.parametrize("shape", [(1, 1), (3, 400), (400, 3)])
def test_extreme_shapes(checkpoint: Path, tmp_path: Path, shape: tuple[int, int]) -> None:
    Image.new("RGB", (shape[1], shape[0]), RED).save(tmp_path / "a.png")
    run([tmp_path / "a.png"], checkpoint, tmp_path / "out")
    assert labels_of(tmp_path / "out/a.labels.png").shape == shape


def test_a_missing_checkpoint_is_a_sentence(tmp_path: Path) -> None:
    halves(RED, BLUE).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"Cannot read .*nowhere/model\.json"):
        run([tmp_path / "a.png"], tmp_path / "nowhere/model.safetensors", tmp_path / "out")
