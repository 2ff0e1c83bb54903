"""What was seen once is remembered by the windows' bits, and no more of it than there is room for."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cocu.segment import memory
from cocu.segment.memory import Memory


def test_the_same_windows_are_looked_at_once(model: Any) -> None:
    kept, windows = Memory(model), torch.rand(2, 3, 16, 16)
    first = kept.see(windows)
    again = kept.see(windows.clone())
    assert model.calls == 1 and again is first
    other = windows.clone()
    other[1, 2, 15, 15] += 1e-3
    assert not torch.equal(kept.see(other).embedding, first.embedding) and model.calls == 2
    kept.see(windows.reshape(1, 3, 32, 16))  # the same bits in another shape
    assert model.calls == 3


def test_there_is_an_end_to_what_is_kept(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = torch.rand(2, 1, 3, 16, 16)
    monkeypatch.setattr(memory, "ROOM", 3 * 16 * 16 * 4 + 1)
    kept = Memory(model)
    for part in (windows[0], windows[1], windows[0], windows[1]):
        kept.see(part)
    assert model.calls == 3  # the second was never kept
