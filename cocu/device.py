"""The device that a stage computes on, as the configuration asks for it, and how attention runs there."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from cocu.errors import EnvironmentFault
from cocu.sections import Device

CPU = torch.device("cpu")


def pick_device(asked: Device, process: int = 0) -> torch.device:
    """`auto` takes a GPU when there is one; processes side by side take GPUs in turn.

    Raises `EnvironmentFault` when `cuda` is asked for and torch sees none.
    """
    if asked == "cuda" and not torch.cuda.is_available():
        raise EnvironmentFault("The key device is 'cuda', and torch sees no GPU here: set it to 'auto' or 'cpu'.")
    if asked == "cpu" or not torch.cuda.is_available():
        return CPU
    return torch.device("cuda", process % torch.cuda.device_count())


def attention_backend(device: torch.device) -> AbstractContextManager[Any]:
    """On the CPU, plain attention: the fused kernels are slower there for short texts, and pathological in bfloat16."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
