"""The encoder: unit rows whatever the batches, open_clip's own numbers, and a sentence for weights that are absent."""

from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from cocu.clip.encoder import load_encoder
from cocu.config import Clip, Config
from cocu.errors import ConfigError, DataError, EnvironmentFault
from cocu.io import read_json, write_json
from cocu.pairs.images import OPENAI


def pictures(count: int, side: int = 32) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (side, side, 3), np.uint8) for _ in range(count)]


def no_network(*_: Any, **__: Any) -> None:
    raise ConnectionError("network is unreachable")


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a model that open_clip knows, small enough for a test."""
    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
    text = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    config = {"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-clip", config)
    return "tiny-clip"


def test_rows_are_unit_and_do_not_depend_on_batches(config: Config, clip: Path) -> None:
    small, large = (load_encoder(config.clip.model_copy(update={"batch_size": n}), clip) for n in (2, 64))
    images, texts = pictures(5), ["a cat", "a photo of a dog", "grass"]
    for one, other in ((small.images(images), large.images(images)), (small.texts(texts), large.texts(texts))):
        assert one.dtype == np.float32 and one.shape[1] == 128
        assert np.allclose(np.linalg.norm(one, axis=1), 1, atol=1e-5)
        assert np.allclose(one, other, atol=1e-5)
    assert not np.allclose(small.images(images)[0], small.images(images)[1], atol=1e-4)
    assert small.images([]).shape[0] == 0


def test_the_stand_ins_preprocessing_is_open_clips(config: Config, clip: Path) -> None:
    prepare = load_encoder(config.clip, clip).prepare
    mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    assert (mean, std) == (OPENAI.mean, OPENAI.std)
    theirs = open_clip.image_transform(32, is_train=False, mean=mean, std=std)
    for side in (32, 50):  # at its own size, and resized
        image = pictures(1, side)[0]
        assert torch.allclose(prepare(image), theirs(Image.fromarray(image)), atol=1e-5)


def test_pillow_images_and_arrays_are_the_same(config: Config, clip: Path) -> None:
    model, image = load_encoder(config.clip, clip), pictures(1)[0]
    assert np.array_equal(model.images([image]), model.images([Image.fromarray(image).convert("RGBA")]))


def test_facts_follow_the_weights(config: Config, clip: Path, tmp_path: Path) -> None:
    weights = load_file(clip / "model.safetensors")
    weights["logit_scale"] = weights["logit_scale"] + 1
    save_file(weights, tmp_path / "model.safetensors")
    write_json(tmp_path / "model.json", read_json(clip / "model.json"))
    one, again, other = (load_encoder(config.clip, folder).facts for folder in (clip, clip, tmp_path))
    assert one == again and one["model"] == "stand-in"
    assert one["sha256"] != other["sha256"]


@pytest.mark.parametrize("damage", ["cut", "absent", "shape", "format", "json"])
def test_a_damaged_stand_in_is_named(config: Config, clip: Path, tmp_path: Path, damage: str) -> None:
    data, description = (clip / "model.safetensors").read_bytes(), read_json(clip / "model.json")
    if damage == "shape":
        description["open_clip"]["embed_dim"] = 64
    if damage == "format":
        description["format"] = 99
    if damage == "json":
        del description["open_clip"]
    write_json(tmp_path / "model.json", description)
    if damage != "absent":
        (tmp_path / "model.safetensors").write_bytes(data[:1000] if damage == "cut" else data)
    with pytest.raises(DataError, match=str(tmp_path)):
        load_encoder(config.clip, tmp_path)


def test_a_published_model_gives_open_clips_numbers(published: str, tmp_path: Path) -> None:
    theirs, _, transform = open_clip.create_model_and_transforms(published)
    torch.save(theirs.state_dict(), tmp_path / "weights.pt")
    ours = load_encoder(Clip(model=published, pretrained=str(tmp_path / "weights.pt")), None)
    image, text = pictures(1, 40)[0], "a photo of a cat"
    with torch.inference_mode():
        v = theirs.eval().encode_image(transform(Image.fromarray(image))[None], normalize=True)
        t = theirs.encode_text(open_clip.get_tokenizer(published)([text]), normalize=True)
    assert np.allclose(ours.images([image]), v, atol=1e-5) and np.allclose(ours.texts([text]), t, atol=1e-5)
    assert ours.facts["pretrained"] == "weights.pt"  # not the folder, which differs between machines


def test_weights_that_cannot_be_had_are_explained(
    published: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(open_clip.factory, "download_pretrained", no_network)
    with pytest.raises(
        EnvironmentFault, match=r"'laion2b_s34b_b88k' of ViT-B-16 .*unreachable.*pretrained to its path"
    ):
        load_encoder(Clip(model="ViT-B-16", pretrained="laion2b_s34b_b88k"), None)
    (tmp_path / "bad.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(DataError, match=r"bad\.pt does not hold weights of tiny-clip"):
        load_encoder(Clip(model=published, pretrained=str(tmp_path / "bad.pt")), None)


@pytest.mark.parametrize(
    ("model", "pretrained", "message"),
    [
        ("ViT-B-61", "openai", "did you mean 'ViT-B-16'"),
        ("ViT-B-16", "opnai", "did you mean 'openai'"),
        ("ViT-B-16", "", "neither a file"),
        ("ViT-B-16", "openai", "ViT-B-16-quickgelu"),
        ("stand-in", "", "no folder"),
    ],
)
def test_names_that_mean_nothing_are_refused(
    monkeypatch: pytest.MonkeyPatch, model: str, pretrained: str, message: str
) -> None:
    monkeypatch.setattr(open_clip.factory, "download_pretrained", lambda *_, **__: "nowhere.pt")
    with pytest.raises(ConfigError, match=message):
        load_encoder(Clip(model=model, pretrained=pretrained), None)
