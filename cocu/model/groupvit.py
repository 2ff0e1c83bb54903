"""GroupViT: an image encoder that groups patches into segments, and a text encoder, in one joint space.

Takes images (b, 3, H, W) and token ids (b, n); gives unit embeddings, segment embeddings and grouping maps. Driven by
the configuration from the mini model to the published one. Source: Xu et al. 2022 (arXiv 2202.11094).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cocu.config import Model
from cocu.model.grouping import GroupingStage
from cocu.model.layers import Block, project, projector
from cocu.model.tokenizer import Tokenizer

VOCABULARY = 49_408  # CLIP's byte-pair encoding
END_OF_TEXT = VOCABULARY - 1


@dataclass(frozen=True)
class ImageOutput:
    """embedding (b, e), segments (b, g, e), both unit; maps (b, h, w, g): soft assignments, product of the stages."""

    embedding: Tensor
    segments: Tensor
    maps: Tensor

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.maps.shape[1], self.maps.shape[2]


class ImageEncoder(nn.Module):
    """Images (b, 3, H, W) -> segment features (b, g, d) and maps (b, h, w, g). H and W are multiples of the patch."""

    def __init__(self, config: Model, *, gumbel: bool) -> None:
        super().__init__()
        d, side = config.width, config.image_size // config.patch_size
        self.patch_size = config.patch_size
        self.stem = patch_stem(config) if config.stem == "patch" else convolutional_stem(config)
        self.norm_patches, self.norm = nn.LayerNorm(d), nn.LayerNorm(d)
        self.positions = nn.Parameter(torch.empty(1, d, side, side))
        layers = sum(stage.depth for stage in config.stages)
        shares = [config.drop_path * i / max(1, layers - 1) for i in range(layers)]
        self.stages = nn.ModuleList()
        previous = 0
        for stage in config.stages:
            here, shares = shares[: stage.depth], shares[stage.depth :]
            self.stages.append(
                GroupingStage(
                    d,
                    config.heads,
                    here,
                    tokens=stage.group_tokens,
                    previous=previous,
                    scale=config.assign_scale,
                    gumbel=gumbel,
                    residual=config.segment_residual,
                )
            )
            previous = stage.group_tokens

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(images)  # (b, d, h, w)
        height, width = x.shape[-2:]
        positions: Tensor = self.positions
        if positions.shape[-2:] != x.shape[-2:]:
            positions = F.interpolate(positions, size=(height, width), mode="bicubic", align_corners=False)
        x = self.norm_patches(x.flatten(2).transpose(1, 2)) + positions.flatten(2).transpose(1, 2)
        maps: Tensor | None = None
        tokens: Tensor | None = None
        for stage in self.stages:
            x, tokens, soft = stage(x, tokens)
            if soft is not None:
                maps = soft if maps is None else maps @ soft
        if maps is None:
            raise ValueError("the model has no stage with group tokens")
        return self.norm(x), maps.unflatten(1, (height, width))


class TextEncoder(nn.Module):
    """Token ids (b, n) -> features (b, d) of each text's end-of-text token, under a causal mask."""

    def __init__(self, config: Model) -> None:
        super().__init__()
        d = config.text_width
        self.tokens = nn.Embedding(VOCABULARY, d)
        self.positions = nn.Parameter(torch.empty(config.context_length, d))
        self.layers = nn.ModuleList(
            Block(d, config.text_heads, causal=True, activation="quick_gelu") for _ in range(config.text_layers)
        )
        self.norm = nn.LayerNorm(d)

    def forward(self, ids: Tensor) -> Tensor:
        end = (ids == END_OF_TEXT).int().argmax(1)
        # What follows the last end-of-text token of the batch cannot change a result under a causal mask.
        ids = ids[:, : int(end.max()) + 1]
        x = self.tokens(ids) + self.positions[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return self.norm(x[torch.arange(len(x), device=x.device), end])  # type: ignore[no-any-return]


class GroupViT(nn.Module):
    """Both encoders, their projectors, the learned temperature. `gumbel` switches the assignment's training noise."""

    def __init__(self, config: Model, *, gumbel: bool = True) -> None:
        super().__init__()
        self.config = config
        self.image, self.text = ImageEncoder(config, gumbel=gumbel), TextEncoder(config)
        layers, hidden, out = config.projector_layers, config.projector_width, config.embed_dim
        self.image_head = projector(config.width, layers, hidden, out)
        self.text_head = projector(config.text_width, layers, hidden, out)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / config.temperature)))
        self.tokenizer = Tokenizer(config.context_length)
        initialise(self, config)

    @property
    def patch_size(self) -> int:
        """Pixels; an image's sides are multiples of it."""
        return self.config.patch_size

    def embed_image(self, images: Tensor) -> Tensor:
        """Images (b, 3, H, W), normalised -> unit embeddings (b, e), all that the image-level losses need."""
        segments, _ = self.image(images)
        return project(self.image_head, segments.mean(1))

    def encode_image(self, images: Tensor) -> ImageOutput:
        """Images (b, 3, H, W), normalised -> embeddings and maps.

        Images and segments pass the projector as one batch: in training its BatchNorm counts them together, and has
        then seen what it is asked for in evaluation.
        """
        segments, maps = self.image(images)
        projected = project(self.image_head, torch.cat([segments.mean(1, keepdim=True), segments], 1))
        return ImageOutput(projected[:, 0], projected[:, 1:], maps)

    def encode_text(self, ids: Tensor) -> Tensor:
        """Token ids (b, n) -> unit embeddings (b, e).

        Each distinct text passes the transformer once; the projector sees every row, since BatchNorm counts them.
        """
        distinct, row = torch.unique(ids, dim=0, return_inverse=True)
        return project(self.text_head, self.text(distinct)[row])

    def scale(self) -> Tensor:
        """The factor on cosine similarities, at most 100."""
        return self.logit_scale.exp().clamp(max=100.0)


def patch_stem(config: Model) -> nn.Module:
    """Non-overlapping patches through one linear map (the published stem)."""
    return nn.Conv2d(3, config.width, config.patch_size, config.patch_size)


def convolutional_stem(config: Model) -> nn.Module:
    """3x3 convolutions with BatchNorm and ReLU: local features whose reach is known, where attention would leak."""
    layers: list[nn.Module] = []
    channels = 3
    for out, stride in zip(config.stem_channels, config.stem_strides, strict=True):
        layers += [nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
        channels = out
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def initialise(model: GroupViT, config: Model) -> None:
    """`normal`: deviation 0.02 everywhere, as published. `xavier`: linear layers by fan, for short trainings."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            if config.initialisation == "xavier":
                nn.init.xavier_uniform_(module.weight)
            else:
                nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.normal_(model.text.tokens.weight, std=0.02)
    nn.init.normal_(model.text.positions, std=0.01)
    nn.init.trunc_normal_(model.image.positions, std=0.02)
    for stage in model.image.stages:
        assert isinstance(stage, GroupingStage)
        if stage.group_tokens is not None:
            nn.init.trunc_normal_(stage.group_tokens, std=1.0 if config.initialisation == "xavier" else 0.02)
