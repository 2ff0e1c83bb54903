"""The sections of the configuration that decide the data: the corpus, the CLIP that sees it, and its curation.

As in `cocu.sections`, what cannot work is refused here, with a sentence that names the key, its value and the remedy.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

from braceexpand import braceexpand
from pydantic import Field, model_validator

from cocu.sections import (
    Count,
    CountOrZero,
    Fraction,
    Name,
    NonNegative,
    Positive,
    Section,
    Seed,
    Share,
    Switch,
    refuse,
    repeated,
    reversed_range,
)

_TAR = re.compile(r"([^\s/'\"=?&]+\.tar)\b")
SPRITES = 12  # objects of the mini world; a scene shows none twice


class MiniWorld(Section):
    """The composed corpus: sprites over procedural textures, with exact masks and captions that leave things out."""

    image_size: Annotated[int, Field(ge=16, strict=True)] = 48
    web_pairs: Count = 10_000
    train_pairs: Count = 10_000
    val_images: Count = 200
    test_images: Count = 500
    pairs_per_shard: Count = 1_000
    objects_per_scene: tuple[CountOrZero, Annotated[int, Field(ge=1, le=SPRITES, strict=True)]] = (2, 3)
    object_side: tuple[Share, Share] = (0.38, 0.62)
    thing_salience: Positive = 0.2
    vague_captions: Fraction = 0.4
    mention_second_object: Fraction = 0.25
    mention_stuff: Fraction = 0.2
    seed: Seed = 0

    @model_validator(mode="after")
    def _ranges_rise(self) -> MiniWorld:
        refuse(
            [
                reversed_range("corpus.mini.objects_per_scene", self.objects_per_scene),
                reversed_range("corpus.mini.object_side", self.object_side),
            ]
        )
        return self


class DataSet(Section):
    """One data set of a corpus: WebDataset shards, by the pattern of their paths or addresses.

    A shard is called after its file, and its data set: `cc3m/00000` for data/cc3m/00000.tar of the set cc3m.
    """

    name: Name
    shards: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _shards_have_names(self) -> DataSet:
        try:
            names = self.shard_names()
        except ValueError as error:
            raise ValueError(
                f"the shards of '{self.name}' are no pattern ({error}): write one such as "
                "data/cc3m/{00000..00331}.tar"
            ) from error
        if "" in names:
            raise ValueError(
                f"the shard {self.addresses()[names.index('')]} of '{self.name}' names no .tar file, after which its "
                "pairs are called: correct the pattern"
            )
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            same = [address for address, name in zip(self.addresses(), names, strict=True) if name == twice[0]]
            raise ValueError(
                f"{same[0]} and {same[1]}, shards of '{self.name}', have the same name, so that keys would clash: "
                "rename one of them, or make two sets of them"
            )
        return self

    def addresses(self) -> list[str]:
        """The path or address of every shard, in order."""
        return list(braceexpand(self.shards))

    def shard_names(self) -> list[str]:
        """The name of every shard, in order: its file's, without the ending; empty where an address has none."""
        return [_shard_name(address) for address in self.addresses()]


class Corpus(Section):
    """Where the image-text pairs come from."""

    kind: Literal["mini", "shards"] = "mini"
    name: Name = "mini"
    sets: tuple[DataSet, ...] = ()
    lenient: Switch = False
    max_bad: Fraction = 0.05
    mini: MiniWorld = MiniWorld()

    @model_validator(mode="after")
    def _sets_are_given(self) -> Corpus:
        if self.kind == "shards" and not self.sets:
            raise ValueError(
                "corpus.kind 'shards' needs corpus.sets, data sets such as "
                "[{name: cc3m, shards: 'data/cc3m/{00000..00331}.tar'}]"
            )
        if self.kind == "mini" and self.sets:
            raise ValueError(
                f"corpus.sets names '{self.sets[0].name}', and corpus.kind 'mini' composes its own: set corpus.kind to "
                "'shards', or corpus.sets to []"
            )
        refuse([repeated("corpus.sets", [one.name for one in self.sets])])
        return self

    def addresses(self) -> list[str]:
        """The path or address of every shard of every set, in order."""
        return [address for one in self.sets for address in one.addresses()]


def is_remote(address: str) -> bool:
    """Whether a shard is no file of this machine: an address that fsspec opens, or `pipe:COMMAND`."""
    return address.startswith("pipe:") or "://" in address


def _shard_name(address: str) -> str:
    if not is_remote(address):
        return Path(address).stem
    names = _TAR.findall(address)
    return Path(names[-1]).stem if names else ""


class StandIn(Section):
    """Training of the small CLIP that takes the published one's place in the mini experiment."""

    steps: Count = 450
    batch_size: Annotated[int, Field(ge=2, strict=True)] = 128
    lr: Positive = 1.5e-3
    weight_decay: NonNegative = 0.05
    seed: Seed = 0


class Clip(Section):
    """The CLIP that sees concepts: an open_clip model, or the stand-in that a rule trains."""

    model: str = "stand-in"
    pretrained: str = ""
    batch_size: Count = 256
    shards_per_job: Count = 32
    threads: Count = 1
    stand_in: StandIn = StandIn()


class Vocabulary(Section):
    """Which words of the captions become concepts."""

    file: str = ""
    min_count: Count = 20
    max_concepts: Annotated[int, Field(ge=1, le=65_535, strict=True)] = 16_384
    max_tokens: Annotated[int, Field(ge=1, le=8, strict=True)] = 4
    exclude: tuple[str, ...] = ()
    exclude_benchmarks: tuple[Name, ...] = ()


class Search(Section):
    """Nearest neighbours in the retrieval pool."""

    neighbours: Count = 8
    exclude_self: Switch = True
    index: Literal["auto", "exact", "flat", "ivf", "lists"] = "exact"
    nlist: CountOrZero = 0
    nprobe: Count = 32


class Curate(Section):
    """Vision-driven expansion and text-to-vision-guided ranking."""

    vocabulary: Vocabulary = Vocabulary()
    search: Search = Search()
    pool: str = ""
    compat: Literal["paper", "released"] = "paper"
    shards_per_job: Count = 32
    threads: Count = 1

    @model_validator(mode="after")
    def _released_finds_itself(self) -> Curate:
        if self.compat == "released" and self.search.exclude_self:
            raise ValueError(
                "curate.compat 'released' lets an anchor find itself: set curate.search.exclude_self to false"
            )
        return self
