"""CLIP's byte-pair tokenizer (open_clip's), at a context length of one's own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Tokenizer:
    """Texts -> token ids (n, context), zeros behind the end-of-text token; a long text is cut."""

    def __init__(self, context_length: int) -> None:
        from open_clip.tokenizer import SimpleTokenizer

        self.context_length = context_length
        self._bpe = SimpleTokenizer(context_length=context_length)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        return torch.as_tensor(self._bpe(list(texts)), dtype=torch.int64)
