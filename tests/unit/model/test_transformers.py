from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPImageProcessor, GroupViTConfig, GroupViTModel

from cocu import cli
from cocu.config import Model
from cocu.errors import ConfigError, DataError, EnvironmentFault
from cocu.io import file_sha256, read_json, write_json
from cocu.model.groupvit import GroupViT
from cocu.model.hub import load_model, save_model
from cocu.model.transformers import export_checkpoint, from_transformers, import_checkpoint, to_transformers
from cocu.sections import Stage
from tests.unit.model.test_groupvit import PUBLISHED, scramble, texts

SMALL = Model(
    image_size=32,
    stem="patch",
    patch_size=8,
    width=16,
    heads=2,
    stages=(Stage(depth=2, group_tokens=6), Stage(depth=1, group_tokens=3), Stage(depth=1, group_tokens=0)),
    text_width=16,
    text_heads=2,
    text_layers=2,
    context_length=12,
    embed_dim=8,
    projector_layers=2,
    projector_width=24,
)


@dataclass(frozen=True)
class Folders:
    """One random model of the published size: as `transformers` wrote it, imported, and exported again."""

    theirs: Path
    ours: Path
    back: Path


@pytest.fixture(scope="module")
def published() -> Iterator[Folders]:
    with TemporaryDirectory() as root:
        folders = Folders(Path(root) / "theirs", Path(root) / "ours", Path(root) / "back")
        reference = GroupViTModel(GroupViTConfig())
        scramble(reference)
        reference.save_pretrained(folders.theirs)
        import_checkpoint(str(folders.theirs), folders.ours)
        export_checkpoint(folders.ours, folders.back)
        yield folders


@pytest.fixture(scope="module")
def small_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("small")
    made(root / "ours", SMALL)
    export_checkpoint(root / "ours", root / "theirs")
    return root


@pytest.fixture
def small(small_once: Path, tmp_path: Path) -> Path:
    """A small model as `transformers` writes it, for a test to change."""
    return Path(shutil.copytree(small_once / "theirs", tmp_path / "theirs"))


def made(folder: Path, config: Model) -> GroupViT:
    """A random model, and its folder."""
    model = GroupViT(config).eval()
    scramble(model)
    save_model(folder, model, {})
    return model


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what a JSON file holds, in place."""
    value = read_json(path)
    change(value)
    write_json(path, value)


def their_outputs(folder: Path, images: Tensor, ids: Tensor) -> tuple[Tensor, ...]:
    """Image and text embeddings, grouping maps (b, h * w, g), logits (texts, images)."""
    with torch.no_grad():
        out = GroupViTModel.from_pretrained(folder).eval()(
            input_ids=ids, pixel_values=images, output_segmentation=True, output_attentions=True
        )
    maps = [a.transpose(1, 2) for a in out.vision_model_output.attentions if a is not None]
    return out.image_embeds, out.text_embeds, reduce(torch.matmul, maps), out.logits_per_text


def our_outputs(folder: Path, images: Tensor, ids: Tensor) -> tuple[Tensor, ...]:
    model, _ = load_model(folder)
    with torch.no_grad():
        image, text = model.encode_image(images), model.encode_text(ids)
        return image.embedding, text, image.maps.flatten(1, 2), model.scale() * text @ image.embedding.T


def assert_alike(folder: Path, theirs: Path, side: int, context: int) -> None:
    torch.manual_seed(1)
    images, ids = torch.randn(2, 3, side, side), texts(9, context, 5, context=context)
    ours, reference = our_outputs(folder, images, ids), their_outputs(theirs, images, ids)
    for mine, other in zip(ours, reference, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=0)
        assert (mine[0] - mine[1]).abs().max() > 1e-3


def test_an_imported_model_gives_what_transformers_gives(published: Folders) -> None:
    assert load_model(published.ours)[0].config.model_copy(update={"temperature": 0.07}) == PUBLISHED
    assert_alike(published.ours, published.theirs, 224, 77)


def test_an_exported_model_gives_in_transformers_what_it_gives_here(published: Folders) -> None:
    assert_alike(published.ours, published.back, 224, 77)


def test_import_undoes_export(small_once: Path, tmp_path: Path) -> None:
    import_checkpoint(str(small_once / "theirs"), tmp_path)
    before, after = (load_model(folder)[0] for folder in (small_once / "ours", tmp_path))
    assert after.config.model_copy(update={"temperature": 0.07}) == SMALL
    assert after.config.temperature == pytest.approx(0.07)
    old, new = before.state_dict(), after.state_dict()
    assert old.keys() == new.keys() and all(torch.equal(old[name], new[name]) for name in old)
    assert new["logit_scale"] == 2.5 and new["image_head.1.running_var"].std() > 0.1


def test_names_go_there_and_back(published: Folders) -> None:
    theirs = load_file(published.theirs / "model.safetensors")
    ours = from_transformers(theirs)
    assert ours.keys() == load_file(published.ours / "model.safetensors").keys()
    assert len(ours) == len(theirs) == 502
    back = to_transformers(ours)
    assert back.keys() == theirs.keys() and all(torch.equal(back[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("groups", [(4,), (0, 6, 4), (6, 0, 4, 0)])
def test_stages_may_group_where_they_like(tmp_path: Path, groups: tuple[int, ...]) -> None:
    stages = tuple(Stage(depth=1 - i % 2, group_tokens=n) for i, n in enumerate(groups))
    made(tmp_path / "a", SMALL.model_copy(update={"stages": stages}))
    export_checkpoint(tmp_path / "a", tmp_path / "b")
    assert_alike(tmp_path / "a", tmp_path / "b", 32, 12)
    import_checkpoint(str(tmp_path / "b"), tmp_path / "c")
    assert load_model(tmp_path / "c")[0].config.stages == stages


def test_the_bound_on_the_temperature_is_exported(tmp_path: Path) -> None:
    model = made(tmp_path / "a", SMALL)
    model.logit_scale.data.fill_(5.0)
    save_model(tmp_path / "a", model, {})
    export_checkpoint(tmp_path / "a", tmp_path / "b")
    assert GroupViTModel.from_pretrained(tmp_path / "b").logit_scale.exp().item() == pytest.approx(model.scale().item())


def test_a_file_as_on_the_hub_is_read(small: Path, tmp_path: Path) -> None:
    # The published ones are from 2022: pickled, with a constant among the weights, and 2 for the end of a text.
    state = GroupViTModel.from_pretrained(small).state_dict()
    state["text_model.embeddings.position_ids"] = torch.arange(12).expand(1, -1)
    torch.save(state, small / "pytorch_model.bin")
    (small / "model.safetensors").unlink()
    edit(small / "config.json", lambda c: c["text_config"].update(eos_token_id=2, bos_token_id=0))
    import_checkpoint(str(small), tmp_path / "ours")
    assert_alike(tmp_path / "ours", small, 32, 12)
    card = read_json(tmp_path / "ours" / "model.json")["imported"]
    assert card["source"] == str(small)
    assert card["weights_sha256"] == file_sha256(tmp_path / "ours" / "model.safetensors")


def test_the_exported_processor_normalises_as_training_did(small: Path) -> None:
    pixels = CLIPImageProcessor.from_pretrained(small)(torch.full((3, 64, 48), 255, dtype=torch.uint8))
    values = torch.as_tensor(pixels["pixel_values"][0])
    assert values.shape == (3, 32, 32)
    torch.testing.assert_close(
        values[:, 0, 0], (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    )


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("vision_config", "hidden_act", "gelu_new"),
        ("vision_config", "assign_eps", 0.5),
        ("vision_config", "layer_norm_eps", 1e-6),
        ("vision_config", "num_output_groups", [6, 2, 0]),
        ("vision_config", "intermediate_size", 32),
        ("text_config", "hidden_act", "gelu"),
        ("text_config", "vocab_size", 1000),
        ("text_config", "eos_token_id", 3),
    ],
)
def test_another_architecture_is_named(small: Path, tmp_path: Path, part: str, key: str, value: Any) -> None:
    edit(small / "config.json", lambda c: c[part].update({key: value}))
    with pytest.raises(DataError, match=rf"^{small} differs .* in its config\.json {part}\.{key} is ") as error:
        import_checkpoint(str(small), tmp_path / "ours")
    assert repr(value) in str(error.value)
    assert not (tmp_path / "ours").exists()


def without(name: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        model = GroupViTModel.from_pretrained(folder)
        state = {k: v for k, v in model.state_dict().items() if k != name}
        model.save_pretrained(folder, state_dict=state)

    return change


def surplus(folder: Path) -> None:
    model = GroupViTModel.from_pretrained(folder)
    model.save_pretrained(folder, state_dict={**model.state_dict(), "extra.weight": torch.zeros(2)})


def cut_off(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without("vision_model.layernorm.bias"), r"^The weights of .* lack vision_model\.layernorm\.bias: .* Download"),
        (surplus, r"^The weights of .* have, beyond the model's, extra\.weight: "),
        (cut_off, r"theirs holds no GroupViT that can be read \(.+\)\. It needs .*: download it again"),
        (lambda f: (f / "model.safetensors").unlink(), r"theirs holds no GroupViT .*\(.*model\.safetensors"),
        (lambda f: (f / "config.json").write_text("{"), r"theirs holds no GroupViT .*config\.json"),
        (lambda f: (f / "config.json").unlink(), r"is no GroupViT: the model_type .* is missing"),
        (lambda f: edit(f / "config.json", lambda c: c.update(model_type="clip")), r"the model_type .* is clip, not"),
        (lambda f: edit(f / "config.json", lambda c: c.update(projection_dim=9)), r"theirs holds no GroupViT that"),
        (
            lambda f: edit(f / "config.json", lambda c: c["vision_config"].update(image_size=33)),
            r"config\.json of .* describes no model (.|\n)*image_size 33 is not a multiple",
        ),
    ],
)  # fmt: skip
def test_damage_is_named(small: Path, tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(small)
    with pytest.raises(DataError, match=message):
        import_checkpoint(str(small), tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"There is no folder {tmp_path}/none\. "):
        import_checkpoint(f"{tmp_path}/none", tmp_path / "ours")


def test_a_hub_name_that_cannot_be_fetched_says_what_to_do(tmp_path: Path) -> None:
    # A process of its own, since the hub's library reads this variable when it is first imported.
    arguments = ["import", "--hf", "cocu/nothing", "--out", str(tmp_path / "ours")]
    run = subprocess.run(
        [sys.executable, "-c", "from cocu.cli import app; app()", *arguments],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == EnvironmentFault.exit_code
    fetched, error = run.stderr.splitlines()
    assert fetched.startswith("cocu/nothing is fetched from the Hugging Face hub")
    assert error.startswith("cocu: cocu/nothing is no folder here, and could not be fetched from the hub (")
    assert error.endswith("with `hf download cocu/nothing --local-dir DIR` and give that folder.")


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    said = r"^The checkpoint {} .* \(import of transformers halted.*: run `pip install 'cocu\[hf\]'`\.$"
    with pytest.raises(EnvironmentFault, match=said.format(tmp_path)):
        import_checkpoint(str(tmp_path), tmp_path / "ours")
    with pytest.raises(EnvironmentFault, match=said.format(tmp_path / "theirs")):
        export_checkpoint(tmp_path, tmp_path / "theirs")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            {"stem": "convolutional", "stem_channels": (8, 16), "stem_strides": (2, 4)},
            r"model\.stem is 'convolutional', not 'patch'",
        ),
        ({"assign_scale": 4.0}, r"model\.assign_scale is 4\.0, not 0\.0"),
        ({"segment_residual": "none"}, r"model\.segment_residual is 'none', not 'attended'"),
        (
            {"stages": (Stage(depth=0, group_tokens=3),)},
            r"model\.stages has depth 0 alone, and needs an attention layer",
        ),
        ({"projector_layers": 1}, r"model\.projector_layers is 1, not 2"),
    ],
)
def test_a_model_that_transformers_has_not_is_refused(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    made(tmp_path / "a", SMALL.model_copy(update=change))
    with pytest.raises(ConfigError, match=rf"^{tmp_path}/a cannot be exported, .*: {named}\. Train with "):
        export_checkpoint(tmp_path / "a", tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_what_a_folder_holds_is_not_written_over(small: Path, small_once: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds a checkpoint of transformers, .*: give another --out"):
        import_checkpoint(str(small), small)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter").write_text("dear")
    with pytest.raises(DataError, match=r"home would be replaced, .*: give a new folder"):
        export_checkpoint(small_once / "ours", tmp_path / "home")
    export_checkpoint(small_once / "ours", small)


def test_the_verbs_say_nothing_when_all_is_well(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made(tmp_path / "a", SMALL)
    for verb, *arguments in (
        ("export", "--hf", tmp_path / "b", "--checkpoint", tmp_path / "a" / "model.safetensors"),
        ("import", "--hf", tmp_path / "b", "--out", tmp_path / "c"),
    ):
        with pytest.raises(SystemExit) as end:
            cli.app([verb, *(str(a) for a in arguments)])
        assert not end.value.code
    assert capfd.readouterr() == ("", "")
    assert load_model(tmp_path / "c")[0].config.stages == SMALL.stages
