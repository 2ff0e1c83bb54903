from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import GroupViTConfig, GroupViTModel

from cocu.config import Model
from cocu.errors import DataError
from cocu.model.groupvit import END_OF_TEXT, GroupViT
from cocu.model.hub import load_model, save_model
from cocu.model.layers import DropPath
from cocu.model.transformers import from_transformers
from cocu.pairs.images import IMAGENET
from cocu.sections import Stage

PUBLISHED = Model(
    image_size=224,
    stem="patch",
    patch_size=16,
    width=384,
    heads=6,
    stages=(Stage(depth=6, group_tokens=64), Stage(depth=3, group_tokens=8), Stage(depth=3, group_tokens=0)),
    text_width=256,
    text_heads=4,
    text_layers=12,
    context_length=77,
    embed_dim=256,
    projector_layers=2,
    projector_width=4096,
)
SMALL = Model(
    image_size=32,
    stem="convolutional",
    patch_size=4,
    stem_channels=(8, 16),
    stem_strides=(2, 2),
    width=16,
    heads=2,
    stages=(Stage(depth=0, group_tokens=4),),
    text_width=16,
    text_heads=2,
    text_layers=1,
    context_length=12,
    embed_dim=8,
    projector_layers=1,
)


def scramble(model: nn.Module) -> None:
    """Random weights under which each counts: small ones leave an output that hardly sees its image."""
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 0:
            nn.init.constant_(parameter, 2.5)
        elif parameter.dim() == 1:
            nn.init.normal_(parameter, float(name.endswith("weight")), 0.3)
        else:  # positions and group tokens have a leading 1
            inputs = parameter.numel() / len(parameter) if len(parameter) > 1 else 1.0
            nn.init.normal_(parameter, std=1.5 * inputs**-0.5)
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.uniform_(0.5, 1.5)


def texts(*lengths: int, context: int) -> torch.Tensor:
    """Random token ids that end at the given lengths."""
    ids = torch.zeros(len(lengths), context, dtype=torch.int64)
    for row, length in zip(ids, lengths, strict=True):
        row[:length] = torch.randint(1, END_OF_TEXT - 1, (length,))
        row[length - 1] = END_OF_TEXT
    return ids


def test_outputs_equal_transformers_at_the_published_size() -> None:
    reference = GroupViTModel(GroupViTConfig()).eval()
    scramble(reference)
    ours = GroupViT(PUBLISHED).eval()
    ours.load_state_dict(from_transformers(reference.state_dict()))
    images, ids = torch.randn(2, 3, 224, 224), texts(9, 77, 5, context=77)
    with torch.no_grad():
        image, text = ours.encode_image(images), ours.encode_text(ids)
        theirs = reference(input_ids=ids, pixel_values=images, output_segmentation=True, output_attentions=True)
        groupings = [a for a in theirs.vision_model_output.attentions if a is not None]
    torch.testing.assert_close(image.embedding, theirs.image_embeds, atol=1e-5, rtol=0)
    torch.testing.assert_close(text, theirs.text_embeds, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.scale() * text @ image.embedding.T, theirs.logits_per_text, atol=1e-5, rtol=0)
    maps = groupings[0].transpose(1, 2) @ groupings[1].transpose(1, 2)
    torch.testing.assert_close(image.maps.flatten(1, 2), maps, atol=1e-5, rtol=0)
    assert (image.embedding[0] - image.embedding[1]).abs().max() > 0.01


def test_a_text_is_encoded_alike_alone_and_beside_longer_and_equal_ones() -> None:
    torch.manual_seed(1)
    model = GroupViT(SMALL).eval()
    ids = texts(4, 12, 7, context=12)
    with torch.no_grad():
        together = model.encode_text(torch.cat([ids, ids[:1]]))
        alone = model.encode_text(ids[:1])
    torch.testing.assert_close(together[0], alone[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(together[3], together[0], atol=1e-6, rtol=0)
    assert (together[0] - together[1]).abs().max() > 1e-3


def test_grouping_maps_are_distributions_at_any_size() -> None:
    torch.manual_seed(2)
    model = GroupViT(SMALL).eval()
    with torch.no_grad():
        out = model.encode_image(torch.randn(2, 3, 24, 40))
    assert out.maps.shape == (2, 6, 10, 4)
    torch.testing.assert_close(out.maps.sum(-1), torch.ones(2, 6, 10))
    torch.testing.assert_close(out.segments.norm(dim=-1), torch.ones(2, 4))


def test_gradient_reaches_the_assignment_through_the_hard_choice() -> None:
    torch.manual_seed(3)
    model = GroupViT(SMALL).train()
    model.encode_image(torch.randn(2, 3, 32, 32)).embedding[:, 0].sum().backward()
    gradient = model.image.stages[0].grouping.assign.q.weight.grad  # type: ignore[union-attr]
    assert gradient is not None and gradient.abs().max() > 0


def test_a_segment_without_the_group_token_sees_only_its_own_patches() -> None:
    # Shift what the group tokens see in the image: where a segment adds the attended token it follows; else the
    # assignment alone decides, and hard groups of unchanged members stay what they were.
    torch.manual_seed(4)
    images = torch.randn(1, 3, 32, 32)
    moved = []
    for residual in ("attended", "token", "none"):
        torch.manual_seed(5)
        model = GroupViT(SMALL.model_copy(update={"segment_residual": residual})).eval()
        with torch.no_grad():
            before, maps = model.image(images)
            bias = model.image.stages[0].grouping.pre_assign.norm_post.bias  # type: ignore[union-attr]
            bias[0] += 1e-3
            after, shifted = model.image(images)
        assert torch.equal(maps.argmax(-1), shifted.argmax(-1))
        moved.append(float((after - before).abs().max()))
    assert moved[0] > 1e-5 and max(moved[1:]) < 1e-6


def test_a_model_folder_comes_back_whole_and_damage_is_named(tmp_path: Path) -> None:
    torch.manual_seed(6)
    model = GroupViT(SMALL).eval()
    save_model(tmp_path, model, {})
    loaded, normalisation = load_model(tmp_path)
    assert normalisation == IMAGENET
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"model\.safetensors is missing or damaged"):
        load_model(tmp_path)


def test_drop_path_leaves_out_its_share_of_the_samples_and_enlarges_the_others() -> None:
    torch.manual_seed(7)
    path, x = DropPath(0.25), torch.randn(4000, 2, 3)
    y = path.train()(x)
    left_out = (y == 0).all((1, 2))
    torch.testing.assert_close(y[~left_out], x[~left_out] / 0.75)
    assert 0.22 < float(left_out.float().mean()) < 0.28
    assert torch.equal(path.eval()(x), x) and torch.equal(DropPath(0.0).train()(x), x)


def test_drop_path_rises_linearly_over_the_layers() -> None:
    model = GroupViT(PUBLISHED.model_copy(update={"drop_path": 0.11}))
    shares = [layer.drop_path.share for stage in model.image.stages for layer in stage.layers]  # type: ignore[union-attr]
    assert shares == pytest.approx([0.01 * i for i in range(12)], abs=1e-6)
    assert all(layer.drop_path.share == 0 for layer in model.text.layers)  # type: ignore[union-attr]


def test_the_factor_on_similarities_begins_at_the_temperature_and_is_at_most_a_hundred() -> None:
    model = GroupViT(SMALL.model_copy(update={"temperature": 0.05}))
    assert model.scale().item() == pytest.approx(20.0, rel=1e-5)
    for value, expected in ((4.5, 90.017), (4.7, 100.0), (9.0, 100.0), (-1.0, 0.36788)):
        with torch.no_grad():
            model.logit_scale.fill_(value)
        assert model.scale().item() == pytest.approx(expected, rel=1e-4)


def test_image_embedding_alone_is_that_of_the_whole_output() -> None:
    torch.manual_seed(8)
    model, images = GroupViT(SMALL).eval(), torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        out = model.encode_image(images)
        torch.testing.assert_close(model.embed_image(images), out.embedding, atol=1e-6, rtol=0)
    assert (out.embedding[:, None] - out.segments).abs().max() > 1e-3


def test_gumbel_noise_moves_assignments_in_training_alone() -> None:
    torch.manual_seed(9)
    images = torch.randn(2, 3, 32, 32)
    for gumbel, mode, differ in ((True, True, True), (False, True, False), (True, False, False)):
        torch.manual_seed(10)
        model = GroupViT(SMALL, gumbel=gumbel).train(mode)
        with torch.no_grad():
            first, second = (model.embed_image(images) for _ in range(2))
        assert torch.equal(first, second) is not differ


@pytest.mark.parametrize("kind", ["normal", "xavier"])
def test_initialisation(kind: str) -> None:
    torch.manual_seed(11)
    update = {"initialisation": kind, "width": 64, "stem_channels": (8, 64), "text_width": 64}
    model = GroupViT(SMALL.model_copy(update=update))
    stage, state = model.image.stages[0], model.state_dict()
    matrix = state["text.layers.0.mlp.fc1.weight"]  # (256, 64)
    expected = 0.02 if kind == "normal" else (2 / (256 + 64)) ** 0.5
    assert float(matrix.std()) == pytest.approx(expected, rel=0.05)
    assert stage.group_tokens.std().item() == pytest.approx(0.02 if kind == "normal" else 1.0, rel=0.2)  # type: ignore
    assert float(state["text.tokens.weight"].std()) == pytest.approx(0.02, rel=0.05)
    assert float(state["text.positions"].std()) == pytest.approx(0.01, rel=0.2)
    assert float(state["image.positions"].std()) == pytest.approx(0.02, rel=0.1)
    # fan out: nine pixels of every output channel
    assert float(state["image.stem.3.weight"].std()) == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.1)
    biases = [v for n, v in state.items() if n.endswith("bias") and "norm" not in n and "stem" not in n]
    assert all(not bias.any() for bias in biases)
