"""Zero-shot segmentation of windows: from a model's groups and a list of words to class scores for every pixel.

Takes window images and unit text embeddings; gives, in two steps, `Evidence` (the forward pass: which region each pixel
belongs to, and how well each region fits each word) and class logits under a background threshold. The steps are apart
because the first is expensive and knows nothing of the threshold: several thresholds are tried on one forward pass.
Source: GroupViT, section 3.3, and the protocol of its published evaluation. A model without groups (CLIP) has its
patches for regions, as in MaskCLIP (Zhou et al. 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from cocu.errors import NumericsError
from cocu.segment.windows import pad_to_multiple

TEXTS = 64  # prompts that are encoded at a time
TOP_CLASSES = 5  # classes of the image-level embedding that a window's groups may be given


class ImageOutput(Protocol):
    """embedding (b, d) and segments (b, g, d), unit; grid: rows and columns of patches.

    maps (b, rows, columns, g): the soft assignment of patches to groups; None where each patch is a segment.
    """

    @property
    def embedding(self) -> Tensor: ...
    @property
    def segments(self) -> Tensor: ...
    @property
    def maps(self) -> Tensor | None: ...
    @property
    def grid(self) -> tuple[int, int]: ...


class SegmentationModel(Protocol):
    """What segmentation needs of a model: `cocu.model.groupvit.GroupViT` is one, `cocu.clip.dense.DenseClip` another.

    patch_size: an image's sides are multiples of it; tokenizer: texts -> ids (n, context).
    """

    @property
    def patch_size(self) -> int: ...
    @property
    def tokenizer(self) -> Callable[[list[str]], Tensor]: ...
    @property
    def logit_scale(self) -> Tensor: ...
    @property
    def training(self) -> bool: ...
    def scale(self) -> Tensor: ...
    def encode_image(self, images: Tensor) -> ImageOutput: ...
    def encode_text(self, ids: Tensor) -> Tensor: ...
    def train(self, mode: bool) -> object: ...


@dataclass(frozen=True)
class Groups:
    """Regions of b windows: labels (b, h, w) int64, each pixel's group."""

    labels: Tensor

    def paint(self, logits: Tensor) -> Tensor:
        """Class logits of every pixel (b, C, h, w), those of its group, from the groups' (b, g, C)."""
        index = self.labels.flatten(1)[:, None].expand(-1, logits.shape[-1], -1)
        return logits.transpose(1, 2).gather(2, index).reshape(len(self.labels), -1, *self.labels.shape[1:])

    def pick(self, windows: slice) -> Groups:
        """The regions of some of the windows."""
        return Groups(self.labels[windows])


@dataclass(frozen=True)
class Patches:
    """Regions of windows of `size` pixels: a grid of patches over the window, which was padded to `padded` pixels."""

    grid: tuple[int, int]
    padded: tuple[int, int]
    size: tuple[int, int]

    def paint(self, logits: Tensor) -> Tensor:
        """Class logits of every pixel (b, C, h, w), bilinear between the centres of patches (b, rows x columns, C)."""
        patches = logits.transpose(1, 2).unflatten(2, self.grid)
        pixels = F.interpolate(patches, size=self.padded, mode="bilinear", align_corners=False)
        return pixels[:, :, : self.size[0], : self.size[1]]

    def pick(self, windows: slice) -> Patches:
        """The regions of some of the windows: they are the same in all."""
        return self


@dataclass(frozen=True)
class Seen:
    """The half of the evidence that knows no words: embedding (b, d) of windows, segments (b, g, d) and their regions.

    damaged: whether the model's maps are not finite.
    """

    embedding: Tensor
    segments: Tensor
    regions: Groups | Patches
    damaged: bool


@dataclass(frozen=True)
class Evidence:
    """What one forward pass says about b windows, with n words and g regions.

    scores (b, g, n) in [0, 1]: how well a region fits a word; words (b, n): the whole window's softmax.
    """

    regions: Groups | Patches
    scores: Tensor
    words: Tensor


def joined(parts: Sequence[Evidence]) -> Evidence:
    """The evidence of several runs over windows of one size, in their order."""
    regions = parts[0].regions
    if isinstance(regions, Groups):
        regions = Groups(torch.cat([p.regions.labels for p in parts if isinstance(p.regions, Groups)]))
    return Evidence(regions, torch.cat([p.scores for p in parts]), torch.cat([p.words for p in parts]))


@torch.no_grad()
def text_embeddings(model: SegmentationModel, words: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Unit embeddings (n, d) of the words: each the mean over templates of its embeddings, then normalised."""
    prompts = [template.format(word) for word in words for template in templates]
    ids = model.tokenizer(prompts).to(model.logit_scale.device)
    embeddings = torch.cat([model.encode_text(part) for part in ids.split(TEXTS)])
    return F.normalize(embeddings.reshape(len(words), len(templates), -1).mean(1), dim=-1)


@torch.no_grad()
def see(model: SegmentationModel, windows: Tensor) -> Seen:
    """The forward pass over normalised windows (b, 3, h, w).

    A window whose sides are no multiples of the patch is padded with zeros below and to the right, and its map cropped.
    """
    height, width = windows.shape[-2:]
    padded = pad_to_multiple(windows, model.patch_size)
    seen = model.encode_image(padded)
    if seen.maps is None:
        patches = Patches(seen.grid, (padded.shape[-2], padded.shape[-1]), (height, width))
        return Seen(seen.embedding, seen.segments, patches, damaged=False)
    groups = Groups(hard_groups(seen.maps, padded.shape[-2], padded.shape[-1])[:, :height, :width])
    return Seen(seen.embedding, seen.segments, groups, damaged=not bool(torch.isfinite(seen.maps).all()))


@torch.no_grad()
def weigh(seen: Seen, scale: Tensor, text: Tensor) -> Evidence:
    """What was seen says of the words whose unit embeddings are text (n, d); `scale` is the model's.

    Raises `NumericsError` when the model's output is not finite.
    """
    whole = seen.embedding @ text.T * scale
    logits = seen.segments @ text.T * scale
    regions = seen.regions
    scores = logits.softmax(-1) if isinstance(regions, Patches) else group_scores(logits, whole)
    if seen.damaged or not torch.isfinite(scores).all():
        raise NumericsError(
            "The model's output for an image is not finite: the checkpoint is damaged or training diverged."
        )
    return Evidence(regions, scores, whole.softmax(-1))


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
    """What each region says of each class (b, g, C), from scores (b, g, n).

    Without a threshold the classes are the words. With one, class 0 is the background: it gets 1 in the regions whose
    best score is strictly below min(threshold, the window's best score), so that a window's best region stays a word.
    """
    if threshold is None:
        return scores
    best = scores.amax(-1)  # (b, g)
    limit = best.amax(-1, keepdim=True).clamp(max=threshold)
    return torch.cat([(best < limit)[..., None].to(scores.dtype), scores], dim=-1)
