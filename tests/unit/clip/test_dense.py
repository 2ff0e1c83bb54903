"""Dense CLIP against open_clip's own forward pass, on small models with random weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from cocu.clip.dense import DenseClip, load_dense_clip
from cocu.clip.encoder import load_encoder
from cocu.config import Clip
from cocu.errors import ConfigError
from cocu.pairs.images import OPENAI
from cocu.segment.zero_shot import Patches, see, weigh

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
VIT = {"layers": 2, "width": 32, "head_width": 16, "patch_size": 8, "image_size": 32}


def make(**vision: Any) -> Any:
    from open_clip import CLIP

    torch.manual_seed(0)
    model = CLIP(embed_dim=24, vision_cfg=VIT | vision, text_cfg=TEXT).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def dense(model: Any) -> DenseClip:
    from open_clip import SimpleTokenizer

    return DenseClip(model, SimpleTokenizer(context_length=16), "tiny").eval()


@torch.no_grad()
@pytest.mark.parametrize("pool", ["tok", "avg"])
def test_the_images_embedding_is_open_clips(pool: str) -> None:
    model, images = make(pool_type=pool), torch.randn(2, 3, 32, 32)
    expected = model.encode_image(images, normalize=True)
    torch.testing.assert_close(dense(model).encode_image(images).embedding, expected, atol=1e-6, rtol=0)


@torch.no_grad()
def test_patches_are_the_value_path_of_the_last_layer() -> None:
    """Written out: v and its output projection in the place of attention, then the block's MLP, norm and projection."""
    model, images = make(), torch.randn(2, 3, 32, 32)
    visual = model.visual
    x = visual._embeds(images)
    x = visual.transformer.resblocks[0](x)
    last = visual.transformer.resblocks[1]
    attention = last.attn
    weight, bias = attention.in_proj_weight[-32:], attention.in_proj_bias[-32:]
    y = x + attention.out_proj(F.linear(last.ln_1(x), weight, bias))
    y = y + last.mlp(last.ln_2(y))
    expected = F.normalize(visual.ln_post(y)[:, 1:] @ visual.proj, dim=-1)
    seen = dense(model).encode_image(images)
    assert seen.grid == (4, 4) and seen.maps is None
    torch.testing.assert_close(seen.segments, expected, atol=1e-5, rtol=0)
    attended = F.normalize(visual.ln_post(last(x))[:, 1:] @ visual.proj, dim=-1)
    assert (seen.segments - attended).abs().max() > 0.01  # with attention it is another map


@torch.no_grad()
def test_positions_are_interpolated_to_other_sizes() -> None:
    model = make()
    seen = dense(model).encode_image(torch.randn(1, 3, 40, 64))
    assert seen.grid == (5, 8) and seen.segments.shape == (1, 40, 24)
    torch.testing.assert_close(seen.segments.norm(dim=-1), torch.ones(1, 40))


@torch.no_grad()
def test_at_another_size_it_is_the_model_with_bicubic_positions() -> None:
    """A model of 5 x 8 patches whose positions were interpolated by hand, with Keys' kernel (a = -0.75)."""

    def weights(of: int, to: int) -> torch.Tensor:  # (to, of)
        matrix = torch.zeros(to, of)
        for i in range(to):
            centre = (i + 0.5) * of / to - 0.5
            for j in range(math.floor(centre) - 1, math.floor(centre) + 3):
                x = abs(centre - j)
                near = 1.25 * x**3 - 2.25 * x**2 + 1
                far = -0.75 * (x**3 - 5 * x**2 + 8 * x - 4)
                matrix[i, min(max(j, 0), of - 1)] += near if x <= 1 else far
        return matrix

    model, images = make(), torch.randn(2, 3, 40, 64)
    seen = dense(model).encode_image(images)
    places = model.visual.positional_embedding[1:].reshape(4, 4, 32)
    larger = torch.einsum("yr,xc,rcw->yxw", weights(4, 5), weights(4, 8), places).flatten(0, 1)
    model.visual.positional_embedding = torch.nn.Parameter(torch.cat([model.visual.positional_embedding[:1], larger]))
    model.visual.grid_size = (5, 8)
    expected = model.encode_image(images, normalize=True)
    torch.testing.assert_close(seen.embedding, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(seen.segments, dense(model).encode_image(images).segments, atol=1e-5, rtol=0)


def test_the_normalisation_is_what_open_clip_says_of_the_model() -> None:
    model = dense(make())
    assert model.normalisation == OPENAI
    model.model.visual.preprocess_cfg = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    assert (model.normalisation.mean, model.normalisation.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


@torch.no_grad()
def test_scores_are_a_softmax_over_all_words_without_a_top_five() -> None:
    model = dense(make())
    model.model.logit_scale.fill_(20.0)  # CLIP's factor is at most 100
    text = F.normalize(torch.randn(7, 24), dim=-1)
    windows = torch.randn(2, 3, 30, 32)
    evidence = weigh(see(model, windows), model.scale(), text)
    padded = F.pad(windows, (0, 0, 0, 2))
    expected = (100 * model.encode_image(padded).segments @ text.T).softmax(-1)
    torch.testing.assert_close(evidence.scores, expected)
    assert evidence.regions == Patches(grid=(4, 4), padded=(32, 32), size=(30, 32))


@torch.no_grad()
def test_the_stand_ins_patches_average_to_its_embedding(clip: Path) -> None:
    section = Clip()
    model = load_dense_clip(section, clip)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    pixels = (torch.from_numpy(image).float() / 255 - torch.tensor(OPENAI.mean)) / torch.tensor(model.normalisation.std)
    seen = model.encode_image(pixels.permute(2, 0, 1)[None])
    expected = load_encoder(section, clip).images([image])
    np.testing.assert_allclose(seen.embedding.numpy(), expected, atol=1e-5)
    assert seen.grid == (1, 1)
    assert model.encode_image(torch.zeros(1, 3, 64, 96)).grid == (2, 3)


def test_an_encoder_that_loses_places_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'tiny' has no dense features here.*ViT-B-16"):
        dense(make(attentional_pool=True, attn_pooler_heads=2))
    timm = {"timm_model_name": "test_vit", "timm_model_pretrained": False, "timm_pool": "", "image_size": 160}
    with pytest.raises(ConfigError, match="its image encoder is timm's"):
        dense(make(**timm))
