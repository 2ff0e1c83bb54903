"""The grouping block: patches (or smaller segments) are assigned to group tokens and pooled into segments.

Takes tokens (b, n, d) and group tokens (b, t, d); gives segments (b, g, d) and the soft assignment (b, n, g).
Source: GroupViT (Xu et al. 2022, arXiv 2202.11094), equations 2 to 4.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cocu.model.layers import Attention, Block, MixerMlp, Mlp
from cocu.sections import SegmentResidual

RMS_EPS = 1e-6
ASSIGN_EPS = 1.0  # added to a segment's size before its patches are averaged; the published checkpoints are made with 1


class CrossAttention(nn.Module):
    """Group tokens (b, g, d) look at the tokens (b, n, d) that they will be assigned."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.norm2, self.norm_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = Mlp(width, 4 * width, width)

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        x = query + self.attention(query, key)
        return self.norm_post(x + self.mlp(self.norm2(x)))  # type: ignore[no-any-return]


class Assign(nn.Module):
    """Hard assignment with a straight-through gradient; Gumbel noise in training (Jang et al. 2017).

    `scale` > 0 centres the keys over an image's patches and gives them unit RMS times `scale`: the logits then keep a
    spread that Gumbel noise cannot drown in a short training. 0 is the published form.
    """

    def __init__(self, width: int, *, scale: float, gumbel: bool) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        self.scale, self.gumbel = scale, gumbel

    def forward(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        q, k = self.q(query), self.k(key)
        if self.scale:
            q, k = centred(q), centred(k)
            q = q * InverseRms.apply(q) * self.scale
        # (b, g, n); float32, since one minus a share and plus it again is not one in bfloat16
        logits = (q @ k.transpose(1, 2)).float() * q.shape[-1] ** -0.5
        if self.scale:
            logits = logits * InverseRms.apply(k).transpose(1, 2)  # of the keys: here, where they are few numbers
        soft = logits.softmax(1)
        noisy = F.gumbel_softmax(logits, dim=1) if self.gumbel and self.training else soft
        hard = torch.zeros_like(noisy).scatter_(1, noisy.argmax(1, keepdim=True), 1.0)
        weights = hard + noisy - noisy.detach()
        weights = weights / (weights.sum(-1, keepdim=True) + ASSIGN_EPS)
        # A mean of projected patches is the projected mean: g rows to project and not n.
        values = F.linear(weights @ key, self.v.weight) + weights.sum(-1, keepdim=True) * self.v.bias
        return self.out(values), soft.transpose(1, 2)


def centred(x: Tensor) -> Tensor:
    """x (b, n, d) without its mean over n."""
    return x + x.sum(1, keepdim=True) * (-1 / x.shape[1])  # with mean(), the gradient would be written out three times


class InverseRms(torch.autograd.Function):
    """1 / RMS over the last axis of x (..., d) -> (..., 1), float32. torch's own gradient passes over x five times."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        inverse = torch.rsqrt(torch.linalg.vector_norm(x.float(), dim=-1, keepdim=True) ** 2 / x.shape[-1] + RMS_EPS)
        ctx.save_for_backward(x, inverse)
        return inverse

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        x, inverse = ctx.saved_tensors
        of_x: Tensor = x * (gradient * inverse**3 * (-1 / x.shape[-1])).to(x.dtype)
        return of_x


class Grouping(nn.Module):
    """Group tokens (b or 1, t, d) and tokens (b, n, d) -> segments (b, g, d), soft assignment (b, n, g).

    `residual` is what a segment adds to its patches' mean: its group token after it looked at the image (published), so
    that it can report what other patches show; the token as it was before; or nothing.
    """

    def __init__(
        self, width: int, heads: int, tokens: int, groups: int, *, scale: float, gumbel: bool, residual: SegmentResidual
    ) -> None:
        super().__init__()
        self.norm_tokens, self.norm_post_tokens = nn.LayerNorm(width), nn.LayerNorm(width)
        self.norm_x, self.norm_new_x = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp_inter = MixerMlp(tokens, width // 2, groups)
        self.pre_assign = CrossAttention(width, heads)
        self.assign = Assign(width, scale=scale, gumbel=gumbel)
        self.mlp_channels = Mlp(width, 4 * width, width)
        self.residual = residual

    def forward(self, x: Tensor, group_tokens: Tensor) -> tuple[Tensor, Tensor]:
        groups = self.norm_post_tokens(self.mlp_inter(self.norm_tokens(group_tokens))).expand(len(x), -1, -1)
        x = self.norm_x(x)
        attended = self.pre_assign(groups, x)
        segments, soft = self.assign(attended, x)
        if self.residual != "none":
            segments = segments + (attended if self.residual == "attended" else groups)
        return segments + self.mlp_channels(self.norm_new_x(segments)), soft


class GroupingStage(nn.Module):
    """Attention layers over tokens and group tokens, then the grouping block (none when `tokens` is 0)."""

    def __init__(
        self,
        width: int,
        heads: int,
        drop_paths: list[float],
        *,
        tokens: int,
        previous: int,
        scale: float,
        gumbel: bool,
        residual: SegmentResidual,
    ) -> None:
        super().__init__()
        self.group_tokens = nn.Parameter(torch.empty(1, tokens, width)) if tokens else None
        self.layers = nn.ModuleList(Block(width, heads, drop_path=p) for p in drop_paths)
        self.grouping, self.carry = None, None
        if tokens:
            self.grouping = Grouping(width, heads, tokens, tokens, scale=scale, gumbel=gumbel, residual=residual)
        if tokens and previous:
            self.carry = nn.Sequential(nn.LayerNorm(width), MixerMlp(previous, width // 2, tokens))

    def forward(self, x: Tensor, previous: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Tokens (b, n, d) and the last stage's group tokens -> new tokens, group tokens, soft assignment."""
        if self.group_tokens is None or self.grouping is None:
            for layer in self.layers:
                x = layer(x)
            return x, None, None
        n = x.shape[1]
        tokens = self.group_tokens if self.carry is None else self.group_tokens + self.carry(previous)
        if self.layers:  # without them the tokens are the same for all images, and what they become is computed once
            both = torch.cat([x, tokens.expand(len(x), -1, -1)], 1)
            for layer in self.layers:
                both = layer(both)
            x, tokens = both[:, :n], both[:, n:]
        segments, soft = self.grouping(x, tokens)
        return segments, tokens, soft
