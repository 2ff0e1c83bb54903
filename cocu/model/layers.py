"""The transformer blocks that the image and the text encoder share.

Shapes: b batch, n tokens, d width. Pre-norm residual blocks; attention is scaled dot-product (Vaswani et al. 2017).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Activation = Literal["gelu", "quick_gelu"]


class Mlp(nn.Module):
    """Two linear layers; `quick_gelu` is x sigmoid(1.702 x), as CLIP's text encoder has it."""

    def __init__(self, width: int, hidden: int, out: int, activation: Activation = "gelu") -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, out)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        return self.fc2(F.gelu(x) if self.activation == "gelu" else x * torch.sigmoid(1.702 * x))  # type: ignore[no-any-return]


class MixerMlp(Mlp):
    """An MLP over tokens instead of channels: (b, n, d) -> (b, out, d)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head attention of queries (b, n, d) on keys (b, m, d) -> (b, n, d).

    Few queries, as group tokens are, go to the keys: q (W x) is (q W) x, and a mean of W x is W times the mean of x, so
    that no key is projected. It is the same sum in another order, at a fraction of the work.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, query: Tensor, key: Tensor, *, causal: bool = False) -> Tensor:
        if not causal and query.shape[1] * self.heads < key.shape[2]:
            return self.out(self._of_few(query, key))  # type: ignore[no-any-return]
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.q, query), (self.k, key), (self.v, key))
        )
        x = F.scaled_dot_product_attention(q, k, v, is_causal=causal)  # (b, heads, n, d / heads)
        return self.out(x.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _of_few(self, query: Tensor, key: Tensor) -> Tensor:
        """The heads' means of the values, (b, n, d), without the values."""
        b, n, d = query.shape
        q = self.q(query).reshape(b * n, self.heads, -1).transpose(0, 1)  # (heads, b n, c), c = d / heads
        into, bias = (x.reshape(self.heads, -1, size) for x, size in ((self.k.weight, d), (self.k.bias, 1)))
        asked = (q @ into).unflatten(1, (b, n)).transpose(0, 1).flatten(1, 2)  # (b, heads n, d)
        alike = (q @ bias).unflatten(1, (b, n)).transpose(0, 1).flatten(1, 2)  # (b, heads n, 1), for every key
        scores = (asked @ key.transpose(1, 2) + alike) * (d // self.heads) ** -0.5
        mean = (scores.softmax(-1) @ key).unflatten(1, (self.heads, n)).transpose(0, 1).flatten(1, 2)
        values = mean @ self.v.weight.reshape(self.heads, -1, d).transpose(1, 2)  # (heads, b n, c)
        merged: Tensor = values.transpose(0, 1).reshape(b, n, d) + self.v.bias
        return merged


class DropPath(nn.Module):
    """Stochastic depth: in training, leaves a residual branch out for a share of the samples (Huang et al. 2016)."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.share == 0:
            return x
        keep = torch.rand(len(x), *[1] * (x.dim() - 1), device=x.device) >= self.share
        return x * keep / (1 - self.share)


class Block(nn.Module):
    """Self-attention and MLP, (b, n, d) -> (b, n, d)."""

    def __init__(
        self, width: int, heads: int, *, causal: bool = False, activation: Activation = "gelu", drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = Mlp(width, 4 * width, width, activation)
        self.drop_path = DropPath(drop_path)
        self.causal = causal

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.drop_path(self.attention(y, y, causal=self.causal))
        return x + self.drop_path(self.mlp(self.norm2(x)))  # type: ignore[no-any-return]


def projector(width: int, layers: int, hidden: int, out: int) -> nn.Module:
    """The head into the joint space: one linear layer, or two with BatchNorm between (GroupViT, section 3.3)."""
    if layers == 1:
        return nn.Linear(width, out)
    return nn.Sequential(nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, out))


def project(head: nn.Module, x: Tensor) -> Tensor:
    """`head` on the last axis of (..., d), then unit length, float32; BatchNorm sees all leading axes as one batch."""
    y: Tensor = F.normalize(head(x.flatten(0, -2)).float(), dim=-1)
    return y.reshape(*x.shape[:-1], -1)
