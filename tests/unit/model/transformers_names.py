"""How the parameters of `transformers`' GroupViTModel are called here: what the parity test carries over."""

from __future__ import annotations

import re

from torch import Tensor

RULES = (
    (r"^vision_model\.embeddings\.patch_embeddings\.projection", "image.stem"),
    (r"^vision_model\.embeddings\.layernorm", "image.norm_patches"),
    (r"^vision_model\.embeddings\.position_embeddings", "image.positions"),
    (r"^vision_model\.encoder", "image"),
    (r"^vision_model\.layernorm", "image.norm"),
    (r"^text_model\.embeddings\.token_embedding", "text.tokens"),
    (r"^text_model\.embeddings\.position_embedding\.weight", "text.positions"),
    (r"^text_model\.encoder", "text"),
    (r"^text_model\.final_layer_norm", "text.norm"),
    (r"^visual_projection", "image_head"),
    (r"^text_projection", "text_head"),
    (r"\.group_token$", ".group_tokens"),
    (r"\.downsample\.", ".grouping."),
    (r"\.group_projector\.", ".carry."),
    (r"\.pre_assign_attn\.attn\.", ".pre_assign.attention."),
    (r"\.pre_assign_attn\.", ".pre_assign."),
    (r"\.self_attn\.", ".attention."),
    (r"\.layer_norm([12])", r".norm\1"),
    (r"\.(q|k|v)_proj\.", r".\1."),
    (r"\.out_proj\.", ".out."),
    (r"\.assign\.proj\.", ".assign.out."),
)


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state under this project's names; positions become a map (1, d, h, w)."""
    out = {}
    for name, value in state.items():
        if name.endswith("position_ids"):
            continue
        for pattern, replacement in RULES:
            name = re.sub(pattern, replacement, name)
        if name == "image.positions":
            side = round(value.shape[1] ** 0.5)
            value = value.transpose(1, 2).unflatten(2, (side, side))
        out[name] = value
    return out
