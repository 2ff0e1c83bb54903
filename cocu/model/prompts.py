"""The sentence templates that a concept is put into: the 80 of CLIP's ImageNet evaluation, as open_clip ships them."""

from __future__ import annotations

from typing import Literal


def templates(kind: Literal["imagenet", "one"]) -> tuple[str, ...]:
    """Templates with one `{}` each, where the concept goes."""
    if kind == "one":
        return ("a photo of a {}.",)
    from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

    return tuple(fill("{}") for fill in OPENAI_IMAGENET_TEMPLATES)
