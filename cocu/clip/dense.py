"""CLIP as a segmentation model without training: every patch is compared with the words.

Takes an open_clip model; gives `DenseClip`, which answers like GroupViT does, with one segment a patch. A ViT gives the
value projection of its last attention layer, as if each token attended to itself alone (MaskCLIP: Zhou et al. 2022,
"Extract Free Dense Labels from CLIP"); a convolutional network with average pooling, as the stand-in is, the projection
of its features before they are pooled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cocu.clip.encoder import STAND_IN, load_published, load_stand_in
from cocu.config import Clip
from cocu.device import CPU
from cocu.errors import ConfigError
from cocu.pairs.images import OPENAI, Normalisation

MAX_SCALE = 100.0  # of cosine similarities, as CLIP was trained


@dataclass(frozen=True)
class DenseOutput:
    """embedding (b, d) of the image and segments (b, rows x columns, d) of the patches, unit; no maps."""

    embedding: Tensor
    segments: Tensor
    grid: tuple[int, int]
    maps: None = None


class DenseClip(nn.Module):
    """An open_clip model whose image encoder keeps the places. Raises `ConfigError` for an encoder that cannot."""

    def __init__(self, model: Any, tokenizer: Callable[[list[str]], Tensor], name: str) -> None:
        super().__init__()
        self.model, self.tokenizer = model, tokenizer
        visual = model.visual
        if hasattr(visual, "trunk"):  # open_clip's adapter of timm's models
            pool = getattr(getattr(visual.trunk, "global_pool", None), "pool_type", "")  # a timm ViT's is a mere name
            if pool != "avg" or set(visual.head._modules) != {"drop", "proj"}:
                raise _unfit(name, "its image encoder is timm's, and does not end in average pooling and a projection")
            self.patch_size = 1
        else:
            if getattr(visual, "attn_pool", None) is not None or not hasattr(visual, "transformer"):
                raise _unfit(name, "its image encoder is no ViT with a class token or average pooling")
            self.patch_size = int(visual.patch_size[0])

    @property
    def logit_scale(self) -> Tensor:
        """The logarithm of the factor on cosine similarities."""
        scale: Tensor = self.model.logit_scale
        return scale

    @property
    def normalisation(self) -> Normalisation:
        """What open_clip says of the model's input; OpenAI's values where it says nothing."""
        said = getattr(self.model.visual, "preprocess_cfg", {})
        return Normalisation(tuple(said.get("mean", OPENAI.mean)), tuple(said.get("std", OPENAI.std)))

    def scale(self) -> Tensor:
        """The factor on cosine similarities."""
        return self.logit_scale.exp().clamp(max=MAX_SCALE)

    def encode_text(self, ids: Tensor) -> Tensor:
        """Token ids (n, context) -> unit embeddings (n, d)."""
        return F.normalize(self.model.encode_text(ids).float(), dim=-1)

    def encode_image(self, images: Tensor) -> DenseOutput:
        """Images (b, 3, H, W), normalised, sides multiples of the patch -> embeddings of image and patches."""
        whole, patches, grid = self._convolutional(images) if hasattr(self.model.visual, "trunk") else self._vit(images)
        return DenseOutput(F.normalize(whole.float(), dim=-1), F.normalize(patches.float(), dim=-1), grid)

    def _convolutional(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        features = self.model.visual.trunk.forward_features(images)  # (b, c, h, w)
        patches = self.model.visual.head(features.flatten(2).transpose(1, 2))
        return patches.mean(1), patches, (features.shape[-2], features.shape[-1])

    def _vit(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        visual = self.model.visual
        x, grid = self._embedded(images)
        *blocks, last = visual.transformer.resblocks
        for block in blocks:
            x = block(x)
        alone = torch.full((x.shape[1], x.shape[1]), -torch.inf, device=x.device).fill_diagonal_(0)
        whole, _ = visual._pool(last(x))
        patches = visual.ln_post(last(x, attn_mask=alone))[:, 1:]
        return whole @ visual.proj, patches @ visual.proj, grid

    def _embedded(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Class token and patches (b, 1 + rows x columns, width), positions interpolated to the grid, and the grid."""
        visual = self.model.visual
        patches = visual.conv1(images)  # (b, width, rows, columns)
        rows, columns = patches.shape[-2:]
        token, places = visual.positional_embedding[:1], visual.positional_embedding[1:]
        trained: tuple[int, int] = tuple(visual.grid_size)
        if (rows, columns) != trained:
            square = places.T.unflatten(1, trained)[None]
            places = F.interpolate(square, (rows, columns), mode="bicubic", align_corners=False)[0].flatten(1).T
        first = (visual.class_embedding + token).expand(len(images), 1, -1)
        x = torch.cat([first, patches.flatten(2).transpose(1, 2) + places], dim=1)
        return visual.ln_pre(x), (rows, columns)


def load_dense_clip(section: Clip, stand_in: Path | None, device: torch.device = CPU) -> DenseClip:
    """The CLIP that the section names, in evaluation mode; `stand_in` is the stand-in's folder, needed for that alone.

    Raises what `cocu.clip.encoder.load_encoder` raises, and `ConfigError` for a model without dense features.
    """
    if section.model == STAND_IN:
        if stand_in is None:
            raise ConfigError("clip.model is 'stand-in' and no folder of a trained stand-in is given.")
        model, tokenizer, _ = load_stand_in(stand_in)
    else:
        model, _, tokenizer = load_published(section.model, section.pretrained)
    return DenseClip(model, tokenizer, section.model).to(device).eval()


def _unfit(name: str, why: str) -> ConfigError:
    return ConfigError(f"The CLIP model '{name}' has no dense features here: {why}. Take a ViT, e.g. ViT-B-16.")
