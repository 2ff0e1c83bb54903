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
from cocu.model.transformers import from_transformers
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
    assert normalisation.image_size == 32
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"model\.safetensors is missing or damaged"):
        load_model(tmp_path)
