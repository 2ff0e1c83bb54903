"""The sections of the configuration: what each key is, its type, its bounds and its default.

Every section is frozen and refuses keys that it does not know. What its keys make impossible together is refused here,
with a sentence that names them, their values and the remedy; `cocu.fit` does that across sections. The sections that
decide the data are in `cocu.data_sections`, config/config.yaml has a comment on every key, and `cocu.config` puts the
sections together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cocu.rand_augment import mistake

Device = Literal["auto", "cpu", "cuda"]
Sampling = Literal["cluster", "top", "softmax", "uniform"]
SegmentResidual = Literal["attended", "token", "none"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_]*$")]
# Strict: `steps: yes` would be 1, and the text '1e-3' a number.
Count = Annotated[int, Field(ge=1, strict=True)]
CountOrZero = Annotated[int, Field(ge=0, strict=True)]
Seed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]
Switch = Annotated[bool, Field(strict=True)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0, strict=True)]
Share = Annotated[float, Field(gt=0.0, le=1.0, strict=True)]  # of something that must not vanish
BelowOne = Annotated[float, Field(ge=0.0, lt=1.0, strict=True)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False, strict=True)]
NonNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False, strict=True)]


class Section(BaseModel):
    """A frozen group of keys; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def refuse(mistakes: Iterable[str]) -> None:
    """Raise one `ValueError` with a line for each mistake; what is empty is none."""
    if found := [mistake for mistake in mistakes if mistake]:
        raise ValueError("\n".join(found))


def reversed_range(key: str, bounds: tuple[float, float]) -> str:
    """What is wrong with a range of least and most, or nothing."""
    low, high = bounds
    return f"{key} is [{low}, {high}], the least above the most: write [{high}, {low}]" if low > high else ""


def repeated(key: str, values: Sequence[object]) -> str:
    """What is wrong with a list whose entries must differ, or nothing."""
    twice = [value for i, value in enumerate(values) if value in values[:i]]
    return f"{key} has {twice[0]!r} twice: remove one" if twice else ""


class Stage(Section):
    """One stage of the image encoder: attention layers, then grouping into segments (none when group_tokens is 0)."""

    depth: CountOrZero
    group_tokens: CountOrZero


class Model(Section):
    """GroupViT's architecture, from the mini model to the published one."""

    image_size: Annotated[int, Field(ge=16, strict=True)] = 48
    stem: Literal["patch", "convolutional"] = "convolutional"
    patch_size: Count = 4
    stem_channels: tuple[Count, ...] = ()
    stem_strides: tuple[Count, ...] = ()
    width: Annotated[int, Field(ge=8, strict=True)] = 128
    heads: Count = 4
    stages: tuple[Stage, ...]
    drop_path: BelowOne = 0.0
    initialisation: Literal["normal", "xavier"] = "normal"
    assign_scale: NonNegative = 0.0
    segment_residual: SegmentResidual = "attended"
    text_width: Annotated[int, Field(ge=8, strict=True)] = 128
    text_heads: Count = 4
    text_layers: Count = 2
    context_length: Annotated[int, Field(ge=4, strict=True)] = 32
    embed_dim: Annotated[int, Field(ge=8, strict=True)] = 128
    projector_layers: Annotated[int, Field(ge=1, le=2, strict=True)] = 2
    projector_width: Annotated[int, Field(ge=8, strict=True)] = 4096
    temperature: Positive = 0.07

    @model_validator(mode="after")
    def _can_be_built(self) -> Model:
        mistakes = [self._stem_mistake()]
        if self.image_size % self.patch_size:
            mistakes.append(
                f"model.image_size {self.image_size} is not a multiple of model.patch_size {self.patch_size}: change "
                "one of them"
            )
        for width, heads in (("width", "heads"), ("text_width", "text_heads")):
            d, h = getattr(self, width), getattr(self, heads)
            if d % h:
                mistakes.append(f"model.{width} {d} is not a multiple of model.{heads} {h}: change one of them")
        if not any(stage.group_tokens for stage in self.stages):
            mistakes.append(
                "model.stages has no stage with group_tokens, and nothing is grouped: give one a number above 0"
            )
        refuse(mistakes)
        return self

    def _stem_mistake(self) -> str:
        channels, strides = list(self.stem_channels), list(self.stem_strides)
        if self.stem == "patch":
            if not channels and not strides:
                return ""
            return (
                f"model.stem 'patch' is one convolution, without model.stem_channels {channels} and model.stem_strides "
                f"{strides}: set both to [], or model.stem to 'convolutional'"
            )
        if len(channels) != len(strides) or not channels:
            return (
                f"model.stem_channels {channels} and model.stem_strides {strides} need one entry a convolution, and at "
                "least one: make them as long as each other"
            )
        if math.prod(strides) != self.patch_size or channels[-1] != self.width:
            return (
                f"the stem's strides multiply to {math.prod(strides)} and it ends in {channels[-1]} channels; "
                f"model.patch_size is {self.patch_size} and model.width is {self.width}: make them equal"
            )
        return ""


class Augment(Section):
    """Image augmentation in training (timm's)."""

    crop_scale: tuple[Share, Share] = (0.08, 1.0)
    flip: Switch = True
    colour_jitter: NonNegative = 0.4
    rand_augment: str = ""
    erasing: Fraction = 0.25

    @model_validator(mode="after")
    def _is_what_timm_reads(self) -> Augment:
        refuse(
            [
                reversed_range("train.augment.crop_scale", self.crop_scale),
                mistake(self.rand_augment) if self.rand_augment else "",
            ]
        )
        return self


class Prompts(Section):
    """Which concepts become the soft positives of the multi-label loss."""

    source: Literal["caption", "archive", "truth"] = "caption"
    sampling: Sampling = "cluster"
    replacement: Switch = True
    temperature: Positive = 1.0
    count: Count = 3
    templates: Literal["imagenet", "one"] = "imagenet"


class Train(Section):
    """Pre-training of GroupViT on pairs and concept prompts."""

    steps: CountOrZero = 0
    epochs: Count = 30
    warmup_fraction: Fraction = 2 / 30
    batch_size: Annotated[int, Field(ge=2, strict=True)] = 1024
    lr: Positive = 1.6e-3
    lr_warmup: NonNegative = 4e-6
    lr_min: NonNegative = 4e-5
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.999)
    weight_decay: NonNegative = 0.05
    clip_grad: Positive = 5.0
    precision: Literal["float32", "bfloat16"] = "float32"
    threads: Count = 1
    workers: CountOrZero = 0
    multi_label_level: Literal["image", "segment"] = "image"
    gumbel: Switch = True
    prompts: Prompts = Prompts()
    augment: Augment = Augment()
    log_every: Count = 20
    checkpoint_every: Count = 200
    validate_every: CountOrZero = 0

    @model_validator(mode="after")
    def _lr_is_the_largest_rate(self) -> Train:
        refuse(
            f"train.{key} {rate:g} is above train.lr {self.lr:g}, where the warm-up ends and the cosine begins: lower "
            f"it, or raise train.lr"
            for key, rate in (("lr_warmup", self.lr_warmup), ("lr_min", self.lr_min))
            if rate > self.lr
        )
        return self


class Reference(Section):
    """A row of the tables that is evaluated and not trained here: one of checkpoint, hf and clip says what it is."""

    checkpoint: str = ""
    hf: str = ""
    clip: str = ""
    pretrained: str = ""

    @model_validator(mode="after")
    def _is_one_thing(self) -> Reference:
        given = [key for key in ("checkpoint", "hf", "clip") if getattr(self, key)]
        if len(given) != 1:
            raise ValueError(
                f"a reference needs one of checkpoint, hf and clip, and has {' and '.join(given) or 'none of them'}"
            )
        if bool(self.pretrained) != (bool(self.clip) and self.clip != "stand-in"):
            raise ValueError("a reference needs pretrained with an open_clip model under clip, and has it there alone")
        return self


class Evaluate(Section):
    """Zero-shot segmentation: which benchmarks, and where their files are."""

    benchmarks: tuple[Name, ...] = ()
    data: str = "data/benchmarks"
    limit: CountOrZero = 0
    backgrounds: tuple[Fraction, ...] = ()
    threads: Count = 1
    processes: Count = 1
    job: Literal["model", "benchmark"] = "model"

    @model_validator(mode="after")
    def _lists_differ(self) -> Evaluate:
        refuse(
            [
                repeated("evaluate.benchmarks", self.benchmarks),
                repeated("evaluate.backgrounds", self.backgrounds),
            ]
        )
        return self


class Report(Section):
    """The comparison that the tables and figures make."""

    baseline: Name = "groupvit"
    treatment: Name = "cocu"
    confidence: Annotated[float, Field(gt=0.0, lt=1.0, strict=True)] = 0.95
    panel_images: Count = 6
    seed: Seed = 0

    @model_validator(mode="after")
    def _compares_two_arms(self) -> Report:
        if self.baseline == self.treatment:
            raise ValueError(f"report.baseline and report.treatment are both '{self.baseline}': name two arms")
        return self
