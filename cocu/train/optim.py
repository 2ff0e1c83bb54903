"""AdamW and its schedule: linear warm-up, then a cosine. Source: GroupViT, section 4.1."""

from __future__ import annotations

import math

import torch
from torch import nn

from cocu.config import Train


def adamw(model: nn.Module, config: Train) -> torch.optim.AdamW:
    """Weight decay on matrices and kernels only: not on biases, norms, positions, tokens or the temperature."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        embedding = name.endswith(("positions", "group_tokens", "tokens.weight"))
        (free if parameter.ndim < 2 or embedding else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)


def learning_rate(step: int, steps: int, config: Train) -> float:
    """The rate of step 0..steps-1."""
    warmup = round(config.warmup_fraction * steps)
    if step < warmup:
        return config.lr_warmup + (config.lr - config.lr_warmup) * step / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return config.lr_min + (config.lr - config.lr_min) * (1 + math.cos(math.pi * done)) / 2
