from __future__ import annotations

import torch
from open_clip import get_tokenizer

from cocu.model.groupvit import END_OF_TEXT
from cocu.model.tokenizer import Tokenizer

TEXTS = ["a photo of a dog", "", "Ünïcode &amp; an emoji 🐈, twice", "word " * 200]


def test_tokens_are_open_clips_own() -> None:
    assert torch.equal(Tokenizer(77)(TEXTS), get_tokenizer("ViT-B-16")(TEXTS))


def test_a_long_text_is_cut_and_still_ends() -> None:
    ids = Tokenizer(12)(TEXTS)
    assert ids.shape == (4, 12) and ids.dtype == torch.int64
    assert int(ids[3, -1]) == END_OF_TEXT and ((ids == END_OF_TEXT).sum(1) == 1).all()
