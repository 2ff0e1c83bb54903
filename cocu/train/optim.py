"""AdamW and its schedule: linear warm-up, then a cosine. Source: GroupViT, section 4.1."""

from __future__ import annotations

import math

import torch
from timm.optim import param_groups_weight_decay
from torch import nn

from cocu.config import Train

EMBEDDINGS = ("positions", "group_tokens", "tokens.weight")


def adamw(model: nn.Module, config: Train) -> torch.optim.AdamW:
    """Weight decay on matrices and kernels only: not on biases, norms, positions, tokens or the temperature."""
    embeddings = [name for name, _ in model.named_parameters() if name.endswith(EMBEDDINGS)]
    groups = param_groups_weight_decay(model, config.weight_decay, no_weight_decay_list=embeddings)
    # timm puts those without decay first; saved states have them last.
    return torch.optim.AdamW(groups[::-1], lr=config.lr, betas=config.betas, fused=True)


def learning_rate(step: int, steps: int, config: Train) -> float:
    """The rate of step 0..steps-1."""
    warmup = round(config.warmup_fraction * steps)
    if step < warmup:
        return config.lr_warmup + (config.lr - config.lr_warmup) * step / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return config.lr_min + (config.lr - config.lr_min) * (1 + math.cos(math.pi * done)) / 2
