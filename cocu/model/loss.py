"""The contrastive losses on unit embeddings: image-caption InfoNCE, and the multi-label loss with concept prompts.

Shapes: b batch, m prompts an image, g segments, e embedding. Source: GroupViT (arXiv 2202.11094), equations 6 to 10;
CoCu (arXiv 2309.13505) feeds the same loss with curated concepts.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def info_nce(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
    """Mean of both directions' cross-entropies; image and text (b, e), pairs on the diagonal."""
    logits = scale * image @ text.T
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def multi_label(logits: Tensor) -> Tensor:
    """The multi-label contrastive loss, mean of both directions.

    `logits` (b, b, m): image i against prompt m of image j, scaled. An image's own prompts are its soft positives, 1/m
    each, among the prompts of the whole batch; a prompt's positive is its own image among all images.
    """
    b, _, m = logits.shape
    own = torch.arange(b, device=logits.device)
    to_text = logits.flatten(1).log_softmax(1).unflatten(1, (b, m))[own, own]  # (b, m)
    to_image = logits.log_softmax(0)[own, own]  # (b, m)
    loss: Tensor = -(to_text.mean() + to_image.mean()) / 2
    return loss


def image_logits(image: Tensor, prompts: Tensor, scale: Tensor) -> Tensor:
    """Image embeddings (b, e) against prompts (b, m, e) -> (b, b, m): the paper's level."""
    logits: Tensor = scale * torch.einsum("ie,jme->ijm", image, prompts)
    return logits


def segment_logits(segments: Tensor, prompts: Tensor, scale: Tensor) -> Tensor:
    """Segments (b, g, e) against prompts (b, m, e) -> (b, b, m): the best segments speak (log-sum-exp over segments).

    A departure from the paper, where the loss sees only the mean of the segments; the mean over g keeps the scale.
    """
    similarity: Tensor = scale * torch.einsum("ige,jme->ijmg", segments, prompts)
    best: Tensor = similarity.logsumexp(-1) - math.log(segments.shape[1])
    return best
