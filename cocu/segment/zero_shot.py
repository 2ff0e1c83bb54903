"""Zero-shot segmentation of windows: from a model's groups and a list of words to class scores for every pixel.

Takes window images and unit text embeddings; gives, in two steps, `Evidence` (the forward pass: which group each pixel
belongs to, and how well each group fits each word) and class logits under a background threshold. The steps are apart
because the first is expensive and knows nothing of the threshold: several thresholds are tried on one forward pass.
Source: GroupViT, section 3.3, and the protocol of its published evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from cocu.config import Model
from cocu.errors import NumericsError
from cocu.model.tokenizer import Tokenizer
from cocu.segment.windows import pad_to_multiple

TOP_CLASSES = 5  # classes of the image-level embedding that a window's groups may be given


class ImageOutput(Protocol):
    """embedding (b, d) unit; segments (b, g, d) unit; maps (b, h, w, g): the soft assignment of patches to groups."""

    @property
    def embedding(self) -> Tensor: ...
    @property
    def segments(self) -> Tensor: ...
    @property
    def maps(self) -> Tensor: ...


class SegmentationModel(Protocol):
    """What segmentation needs of a model; `cocu.model.groupvit.GroupViT` is one."""

    @property
    def config(self) -> Model: ...
    @property
    def logit_scale(self) -> Tensor: ...
    @property
    def training(self) -> bool: ...
    def scale(self) -> Tensor: ...
    def encode_image(self, images: Tensor) -> ImageOutput: ...
    def encode_text(self, ids: Tensor) -> Tensor: ...
    def train(self, mode: bool) -> object: ...


@dataclass(frozen=True)
class Evidence:
    """What one forward pass says about b windows, with n words and g groups.

    groups (b, h, w) int64: each pixel's group; scores (b, g, n) in [0, 1]; words (b, n): the whole window's softmax.
    """

    groups: Tensor
    scores: Tensor
    words: Tensor


@torch.no_grad()
def text_embeddings(model: SegmentationModel, words: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Unit embeddings (n, d) of the words: each the mean over templates of its embeddings, then normalised."""
    prompts = [template.format(word) for word in words for template in templates]
    embeddings = model.encode_text(Tokenizer(model.config.context_length)(prompts).to(model.logit_scale.device))
    return F.normalize(embeddings.reshape(len(words), len(templates), -1).mean(1), dim=-1)


@torch.no_grad()
def look(model: SegmentationModel, windows: Tensor, text: Tensor) -> Evidence:
    """The evidence in normalised windows (b, 3, h, w) for the words whose unit embeddings are text (n, d).

    A window whose sides are no multiples of the patch is padded with zeros below and to the right, and its map cropped.
    Raises `NumericsError` when the model's output is not finite.
    """
    height, width = windows.shape[-2:]
    padded = pad_to_multiple(windows, model.config.patch_size)
    seen = model.encode_image(padded)
    scale = model.scale()
    whole = seen.embedding @ text.T * scale
    scores = group_scores(seen.segments @ text.T * scale, whole)
    if not torch.isfinite(scores).all() or not torch.isfinite(seen.maps).all():
        raise NumericsError(
            "The model's output for an image is not finite: the checkpoint is damaged or training diverged."
        )
    groups = hard_groups(seen.maps, padded.shape[-2], padded.shape[-1])[:, :height, :width]
    return Evidence(groups, scores, whole.softmax(-1))


def hard_groups(maps: Tensor, height: int, width: int) -> Tensor:
    """Each pixel's group (b, height, width) int64: the argmax of maps (b, h, w, g) resized bilinearly."""
    resized = F.interpolate(maps.permute(0, 3, 1, 2), size=(height, width), mode="bilinear", align_corners=False)
    return resized.argmax(dim=1)


def group_scores(groups: Tensor, whole: Tensor, top: int = TOP_CLASSES) -> Tensor:
    """Scores A x B (b, g, n) from the logits of the groups (b, g, n) and of the whole window (b, n).

    A is the softmax over all words; B the softmax over the `top` words of the whole window alone, 0 for the others.
    """
    best = whole.topk(min(top, whole.shape[-1]), dim=-1).indices
    dropped = torch.ones_like(whole, dtype=torch.bool).scatter(-1, best, False)
    kept = groups.masked_fill(dropped[:, None], -torch.inf)
    return groups.softmax(-1) * kept.softmax(-1)


def class_logits(scores: Tensor, threshold: float | None) -> Tensor:
    """What each group says of each class (b, g, C), from scores (b, g, n).

    Without a threshold the classes are the words. With one, class 0 is the background: it gets 1 in the groups whose
    best score is strictly below min(threshold, the window's best score), so that a window's best group stays a word.
    """
    if threshold is None:
        return scores
    best = scores.amax(-1)  # (b, g)
    limit = best.amax(-1, keepdim=True).clamp(max=threshold)
    return torch.cat([(best < limit)[..., None].to(scores.dtype), scores], dim=-1)


def paint(groups: Tensor, logits: Tensor) -> Tensor:
    """Class logits of every pixel (b, C, h, w), from its group (b, h, w) and the groups' logits (b, g, C)."""
    index = groups.flatten(1)[:, None].expand(-1, logits.shape[-1], -1)
    return logits.transpose(1, 2).gather(2, index).reshape(len(groups), -1, *groups.shape[1:])
