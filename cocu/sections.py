"""The sections of the configuration: what each key is, its type, its bounds and its default.

Every section is frozen and refuses keys that it does not know. config/config.yaml has a comment on every key;
`cocu.config` puts the sections together.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Device = Literal["auto", "cpu", "cuda"]
Sampling = Literal["cluster", "top", "softmax", "uniform"]
SegmentResidual = Literal["attended", "token", "none"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_]*$")]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class Section(BaseModel):
    """A frozen group of keys; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class MiniWorld(Section):
    """The composed corpus: sprites over procedural textures, with exact masks and captions that leave things out."""

    image_size: int = Field(48, ge=16)
    web_pairs: int = Field(10_000, ge=1)
    train_pairs: int = Field(10_000, ge=1)
    val_images: int = Field(200, ge=1)
    test_images: int = Field(500, ge=1)
    pairs_per_shard: int = Field(1_000, ge=1)
    objects_per_scene: tuple[int, int] = (2, 3)
    object_side: tuple[Fraction, Fraction] = (0.38, 0.62)
    thing_salience: Positive = 0.2
    vague_captions: Fraction = 0.4
    mention_second_object: Fraction = 0.25
    mention_stuff: Fraction = 0.2
    seed: int = Field(0, ge=0)


class Corpus(Section):
    """Where the image-text pairs come from."""

    kind: Literal["mini", "shards"] = "mini"
    name: Name = "mini"
    shards: str = ""
    lenient: bool = False
    max_bad: Fraction = 0.05
    mini: MiniWorld = MiniWorld()

    @model_validator(mode="after")
    def _shards_are_named(self) -> Corpus:
        if self.kind == "shards" and not self.shards:
            raise ValueError("corpus.kind 'shards' needs corpus.shards, a path such as data/cc3m/{00000..00331}.tar")
        return self


class StandIn(Section):
    """Training of the small CLIP that takes the published one's place in the mini experiment."""

    steps: int = Field(450, ge=1)
    batch_size: int = Field(128, ge=2)
    lr: Positive = 1.5e-3
    weight_decay: NonNegative = 0.05
    seed: int = Field(0, ge=0)


class Clip(Section):
    """The CLIP that sees concepts: an open_clip model, or the stand-in that a rule trains."""

    model: str = "stand-in"
    pretrained: str = ""
    batch_size: int = Field(256, ge=1)
    shards_per_job: int = Field(32, ge=1)
    threads: int = Field(1, ge=1)
    stand_in: StandIn = StandIn()


class Vocabulary(Section):
    """Which words of the captions become concepts."""

    file: str = ""
    min_count: int = Field(20, ge=1)
    max_concepts: int = Field(16_384, ge=1, le=65_535)
    max_tokens: int = Field(4, ge=1, le=8)
    exclude: tuple[str, ...] = ()
    exclude_benchmarks: tuple[Name, ...] = ()


class Search(Section):
    """Nearest neighbours in the retrieval pool."""

    neighbours: int = Field(8, ge=1)
    exclude_self: bool = True
    index: Literal["auto", "exact", "flat", "ivf", "lists"] = "exact"
    nlist: int = Field(0, ge=0)
    nprobe: int = Field(32, ge=1)


class Curate(Section):
    """Vision-driven expansion and text-to-vision-guided ranking."""

    vocabulary: Vocabulary = Vocabulary()
    search: Search = Search()
    pool: str = ""
    compat: Literal["paper", "released"] = "paper"
    shards_per_job: int = Field(32, ge=1)
    threads: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _released_finds_itself(self) -> Curate:
        if self.compat == "released" and self.search.exclude_self:
            raise ValueError(
                "curate.compat 'released' lets an anchor find itself: set curate.search.exclude_self to false"
            )
        return self


class Stage(Section):
    """One stage of the image encoder: attention layers, then grouping into segments (none when group_tokens is 0)."""

    depth: int = Field(ge=0)
    group_tokens: int = Field(ge=0)


class Model(Section):
    """GroupViT's architecture, from the mini model to the published one."""

    image_size: int = Field(48, ge=16)
    stem: Literal["patch", "convolutional"] = "convolutional"
    patch_size: int = Field(4, ge=1)
    stem_channels: tuple[int, ...] = ()
    stem_strides: tuple[int, ...] = ()
    width: int = Field(128, ge=8)
    heads: int = Field(4, ge=1)
    stages: tuple[Stage, ...]
    drop_path: Fraction = 0.0
    initialisation: Literal["normal", "xavier"] = "normal"
    assign_scale: NonNegative = 0.0
    segment_residual: SegmentResidual = "attended"
    text_width: int = Field(128, ge=8)
    text_heads: int = Field(4, ge=1)
    text_layers: int = Field(2, ge=1)
    context_length: int = Field(32, ge=4)
    embed_dim: int = Field(128, ge=8)
    projector_layers: Literal[1, 2] = 2
    projector_width: int = Field(4096, ge=8)
    temperature: Positive = 0.07

    @model_validator(mode="after")
    def _stem_matches_patch(self) -> Model:
        if self.stem == "convolutional":
            stride = 1
            for s in self.stem_strides:
                stride *= s
            if len(self.stem_channels) != len(self.stem_strides) or not self.stem_channels:
                raise ValueError("model.stem_channels and model.stem_strides need one entry a convolution")
            if stride != self.patch_size or self.stem_channels[-1] != self.width:
                raise ValueError(
                    f"the stem's strides multiply to {stride} and it ends in {self.stem_channels[-1]} channels; "
                    f"model.patch_size is {self.patch_size} and model.width is {self.width}: make them equal"
                )
        if self.image_size % self.patch_size:
            raise ValueError(f"model.image_size {self.image_size} is not a multiple of patch_size {self.patch_size}")
        return self


class Augment(Section):
    """Image augmentation in training (timm's)."""

    crop_scale: tuple[Fraction, Fraction] = (0.08, 1.0)
    flip: bool = True
    colour_jitter: NonNegative = 0.4
    rand_augment: str = ""
    erasing: Fraction = 0.25


class Prompts(Section):
    """Which concepts become the soft positives of the multi-label loss."""

    source: Literal["caption", "archive", "truth"] = "caption"
    sampling: Sampling = "cluster"
    replacement: bool = True
    temperature: Positive = 1.0
    count: int = Field(3, ge=1)
    templates: Literal["imagenet", "one"] = "imagenet"


class Train(Section):
    """Pre-training of GroupViT on pairs and concept prompts."""

    steps: int = Field(0, ge=0)
    epochs: int = Field(30, ge=1)
    warmup_fraction: Fraction = 2 / 30
    batch_size: int = Field(1024, ge=2)
    lr: Positive = 1.6e-3
    lr_warmup: NonNegative = 4e-6
    lr_min: NonNegative = 4e-5
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    weight_decay: NonNegative = 0.05
    clip_grad: Positive = 5.0
    precision: Literal["float32", "bfloat16"] = "float32"
    threads: int = Field(1, ge=1)
    workers: int = Field(0, ge=0)
    multi_label_level: Literal["image", "segment"] = "image"
    gumbel: bool = True
    prompts: Prompts = Prompts()
    augment: Augment = Augment()
    log_every: int = Field(20, ge=1)
    checkpoint_every: int = Field(200, ge=1)
    validate_every: int = Field(0, ge=0)


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

    benchmarks: tuple[Name, ...] = Field(min_length=1)
    data: str = "data/benchmarks"
    limit: int = Field(0, ge=0)
    backgrounds: tuple[Fraction, ...] = ()
    threads: int = Field(1, ge=1)
    processes: int = Field(1, ge=1)


class Report(Section):
    """The comparison that the tables and figures make."""

    baseline: Name = "groupvit"
    treatment: Name = "cocu"
    confidence: Fraction = 0.95
    panel_images: int = Field(6, ge=1)
    seed: int = Field(0, ge=0)
