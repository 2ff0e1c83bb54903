"""CLIP's byte-pair tokenizer (open_clip's), at a context length of one's own."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


class Tokenizer:
    """Texts -> token ids (n, context), zeros behind the end-of-text token; a long text is cut."""

    def __init__(self, context_length: int) -> None:
        self.context_length = context_length
        self._bpe = _open_clip_tokenizer().SimpleTokenizer(context_length=context_length)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        return torch.as_tensor(self._bpe(list(texts)), dtype=torch.int64)


def _open_clip_tokenizer() -> Any:
    """open_clip's tokenizer module by its file: the package's import loads every model it knows, for three seconds."""
    package = importlib.util.find_spec("open_clip")
    assert package is not None and package.origin is not None
    spec = importlib.util.spec_from_file_location("open_clip_tokenizer", Path(package.origin).with_name("tokenizer.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
