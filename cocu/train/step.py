"""One step of pre-training: a batch in, losses, gradients and new weights out.

Loss: InfoNCE of image and caption, plus the multi-label contrastive loss with concept prompts (GroupViT, equations 6
to 10), each with weight one. The encoders run in the precision of the configuration, the losses in float32: a
similarity times 100 has one decimal in bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from cocu.config import Train
from cocu.errors import NumericsError
from cocu.model.groupvit import GroupViT
from cocu.model.loss import image_logits, info_nce, multi_label, segment_logits
from cocu.train.data import Batch

NAMED = 4  # samples of a batch that an error names


def update(
    model: GroupViT, optimizer: torch.optim.Optimizer, batch: Batch, train: Train, key: Callable[[int], str]
) -> tuple[dict[str, float], float]:
    """One optimiser step -> the losses and the norm of the gradient before it was clipped.

    Raises `NumericsError`, before the weights change, when one of them is not finite; `key` names a row's sample.
    """
    info, labels = losses(model, batch, train)
    loss = info + labels
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), train.clip_grad)
    if not torch.isfinite(loss + norm):
        keys = ", ".join(key(int(i)) for i in batch.rows[:NAMED])
        raise NumericsError(
            f"The loss is {loss.item()} and its gradient's norm {norm.item()}, in a batch that begins with {keys}. "
            "The last checkpoint is whole: lower train.lr, or look at these samples, and run again."
        )
    optimizer.step()
    return {"info_nce": info.item(), "multi_label": labels.item()}, float(norm)


def losses(model: GroupViT, batch: Batch, train: Train) -> tuple[Tensor, Tensor]:
    """InfoNCE and the multi-label loss of a batch, float32; captions and prompts pass the text encoder together.

    At the image level the projector sees the images alone, as published; at the segment level images and segments.
    """
    b, m, _ = batch.prompts.shape
    segments: Tensor | None = None
    with autocast(train, batch.images.device):
        if train.multi_label_level == "segment":
            seen = model.encode_image(batch.images)
            image, segments = seen.embedding, seen.segments
        else:
            image = model.embed_image(batch.images)
        text = model.encode_text(torch.cat([batch.captions, batch.prompts.flatten(0, 1)]))
    prompts, scale = text[b:].unflatten(0, (b, m)), model.scale()
    logits = image_logits(image, prompts, scale) if segments is None else segment_logits(segments, prompts, scale)
    return info_nce(image, text[:b], scale), multi_label(logits)


def autocast(train: Train, device: torch.device) -> AbstractContextManager[Any]:
    """bfloat16 where the configuration asks for it."""
    if train.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
