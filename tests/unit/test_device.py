"""The choice of a device."""

from __future__ import annotations

import pytest
import torch

from cocu.device import CPU, pick_device
from cocu.errors import EnvironmentFault


def test_cpu_is_the_cpu() -> None:
    assert pick_device("cpu") == CPU


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_auto_is_the_cpu_and_cuda_an_error() -> None:
    assert pick_device("auto") == CPU
    with pytest.raises(EnvironmentFault, match="device is 'cuda'"):
        pick_device("cuda")
