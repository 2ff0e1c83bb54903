"""The training samples: an augmented image, its caption's tokens, and the tokens of its concept prompts.

Takes shards, the captions' side-cars and, for the arms that use one, an archive; gives batches in an order that is a
function of the seed alone, so that a run can go on from any step and any number of workers sees the same samples.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from timm.data.transforms_factory import create_transform
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from cocu.config import Augment, Config
from cocu.corpus.images import decode_image
from cocu.corpus.shards import ShardReader, manifest_shards
from cocu.curate.sample import sample
from cocu.curate.tables import Archive, csr, join, read_archive, read_table
from cocu.errors import DataError
from cocu.io import read_json
from cocu.model.tokenizer import Tokenizer
from cocu.train.prompts import templates

TOKENIZED = 100_000  # texts whose tokens are kept
ORDER, SAMPLE = 1, 2  # streams of random numbers that a seed is split into


@dataclass(frozen=True)
class Batch:
    """images (b, 3, H, W) normalised; captions (b, n) and prompts (b, m, n) as token ids; rows (b,) in the corpus."""

    images: Tensor
    captions: Tensor
    prompts: Tensor
    rows: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on a device; copies overlap with computation when the memory is pinned."""
        move = [t.to(device, non_blocking=True) for t in (self.images, self.captions, self.prompts, self.rows)]
        return Batch(*move)

    def pin_memory(self) -> Batch:
        """Called by the DataLoader when it pins memory."""
        return Batch(*(t.pin_memory() for t in (self.images, self.captions, self.prompts, self.rows)))


class Pairs(Dataset[tuple[Tensor, Tensor, Tensor, int]]):
    """Item (epoch, i) -> image (3, H, W), caption tokens (n,), prompt tokens (m, n), i; drawn anew each epoch."""

    def __init__(
        self, config: Config, seed: int, reader: ShardReader, candidates: Archive, vocabulary: list[str]
    ) -> None:
        self.reader, self.candidates, self.vocabulary, self.seed = reader, candidates, vocabulary, seed
        self.prompts = config.train.prompts
        self.tokenizer = Tokenizer(config.model.context_length)
        self.augment = augmentation(config.train.augment, config.model.image_size)
        self.templates = templates(self.prompts.templates)
        self._known: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, int]:
        epoch, i = item
        rng = np.random.default_rng([self.seed, SAMPLE, epoch, i])
        image = Image.fromarray(decode_image(self.reader.image(i), self.reader.key(i)))
        with seeded(int(rng.integers(2**63))):
            pixels = self.augment(image)
        caption = self._tokens(self.reader.caption(i))
        prompts = [self._prompt(int(c), rng) for c in self._draw(i, rng)]
        prompts += [caption] * (self.prompts.count - len(prompts))  # an image without enough concepts: its caption
        return pixels, caption, torch.stack(prompts), i

    def _draw(self, i: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        # Only an archive ranks its concepts; those of a caption, and the true ones, are drawn alike.
        ranked = self.prompts.source == "archive"
        drawn = sample(
            self.candidates,
            np.array([i]),
            rng.random((1, 2 * self.prompts.count)),
            sampling=self.prompts.sampling if ranked else "uniform",
            temperature=self.prompts.temperature,
            replacement=self.prompts.replacement and ranked,
        )[0]
        kept: npt.NDArray[np.int64] = drawn[drawn >= 0]
        return kept

    def _prompt(self, concept: int, rng: np.random.Generator) -> Tensor:
        return self._tokens(self.templates[rng.integers(len(self.templates))].format(self.vocabulary[concept]))

    def _tokens(self, text: str) -> Tensor:
        """Kept, since prompts, and captions in small corpora, come again and again, and the encoding is slow."""
        if text not in self._known:
            if len(self._known) >= TOKENIZED:
                self._known.clear()
            self._known[text] = self.tokenizer([text])[0]
        return self._known[text]


class Order(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, i) from `start` to `steps`: a permutation an epoch; what does not fill a batch is left out."""

    def __init__(self, pairs: int, batch_size: int, seed: int, start: int, steps: int) -> None:
        if pairs < batch_size:
            raise DataError(
                f"The corpus holds {pairs} pairs, train.batch_size is {batch_size}: use more pairs or smaller batches."
            )
        self.pairs, self.batch_size, self.seed, self.start, self.steps = pairs, batch_size, seed, start, steps

    def __len__(self) -> int:
        return self.steps - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, order, a_epoch = -1, np.empty(0, np.int64), self.pairs // self.batch_size
        for step in range(self.start, self.steps):
            if step // a_epoch != epoch:
                epoch = step // a_epoch
                order = np.random.default_rng([self.seed, ORDER, epoch]).permutation(self.pairs)
            first = step % a_epoch * self.batch_size
            yield [(epoch, int(i)) for i in order[first : first + self.batch_size]]


class seeded:
    """Python's and torch's random numbers from one seed, within; the old state is put back (timm draws from both)."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __enter__(self) -> None:
        self._python, self._torch = random.getstate(), torch.get_rng_state()
        random.seed(self.seed)
        torch.default_generator.manual_seed(self.seed)  # the CPU's alone: torch.manual_seed visits every kind of device

    def __exit__(self, *_: object) -> None:
        random.setstate(self._python)
        torch.set_rng_state(self._torch)


def augmentation(config: Augment, side: int) -> Any:
    """timm's training transform: PIL image -> float32 (3, side, side), normalised by ImageNet's mean and deviation."""
    return create_transform(
        (3, side, side),
        is_training=True,
        scale=config.crop_scale,
        hflip=0.5 if config.flip else 0.0,
        color_jitter=config.colour_jitter,
        auto_augment=config.rand_augment or None,
        re_prob=config.erasing,
        re_mode="pixel",
        interpolation="bicubic",
    )


def load_pairs(config: Config, seed: int, corpus: Path, captions: Path, archive: Path | None) -> Pairs:
    """The data set of an arm: `corpus` is a manifest, `captions` and `archive` are folders of side-cars."""
    files, name = manifest_shards(corpus), read_json(corpus)["corpus"]
    reader = ShardReader(files, name)
    candidates = read_archive(archive, captions) if archive else caption_concepts(captions, [f.stem for f in files])
    if len(candidates) != len(reader):
        raise DataError(
            f"{archive or captions} holds {len(candidates)} rows and the corpus {name} {len(reader)} pairs: they do "
            "not belong together. Run the curation of this corpus again."
        )
    vocabulary = (captions / "vocabulary.txt").read_text(encoding="utf-8").splitlines()
    return Pairs(config, seed, reader, candidates, vocabulary)


def caption_concepts(captions: Path, stems: list[str]) -> Archive:
    """The captions' own concepts in an archive's form, unranked."""
    indptr, ids = join([csr(read_table(captions / f"{stem}.parquet", ["concepts"]), "concepts") for stem in stems])
    return Archive(indptr, ids, np.ones(len(ids), np.float32), np.zeros(len(ids), np.uint16))


def collate(samples: list[tuple[Tensor, Tensor, Tensor, int]]) -> Batch:
    """Samples -> batch."""
    images, captions, prompts, rows = zip(*samples, strict=True)
    return Batch(torch.stack(images), torch.stack(captions), torch.stack(prompts), torch.tensor(rows))


def loader(pairs: Pairs, config: Config, start: int, steps: int) -> DataLoader[Any]:
    """Batches from step `start` to `steps`, in the order of the seed, whatever the number of workers."""
    order = Order(len(pairs), config.train.batch_size, pairs.seed, start, steps)
    workers = config.train.workers
    return DataLoader(
        pairs,
        batch_sampler=order,
        num_workers=workers,
        collate_fn=collate,
        generator=torch.Generator(),  # the default one is the model's: a draw from it here would shift a resumed run
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
    )
