"""The training samples: an augmented image, its caption's tokens, and the tokens of its concept prompts.

Takes shards, the captions' side-cars and, for the arms that use one, an archive, joined by key; gives batches in an
order that is a function of the seed alone, so that a run can go on from any step. A sample's bits are a function of
seed, epoch and row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from cocu.config import Config
from cocu.curate.sample import sample
from cocu.errors import CocuError, DataError, EnvironmentFault
from cocu.io import file_sha256, read_json
from cocu.layout import MANIFEST, WORDS, side_car
from cocu.model.prompts import templates
from cocu.model.tokenizer import Tokenizer
from cocu.pairs.images import decode_image
from cocu.pairs.reader import ShardReader
from cocu.pairs.shards import manifest_shards
from cocu.pairs.tables import Archive, csr, join, keys_sha256, read_archive, read_table
from cocu.train.augment import Augmentation

TOKENIZED = 100_000  # texts whose tokens are kept
DECODED = 2**28  # bytes of images that a process keeps decoded: those of 38,000 of 48 pixels
ORDER, SAMPLE = 1, 2  # streams of random numbers that a seed is split into

Sample = tuple[Tensor, Tensor, Tensor, int]


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


class Pairs(Dataset[Sample]):
    """Item (epoch, i) -> image (3, H, W), caption tokens (n,), prompt tokens (m, n), i; drawn anew each epoch.

    `captions` (len(reader)) are the clean ones, of which `candidates` are the concepts, row by row. Raises `DataError`
    with a sample's key for an image that cannot be decoded or augmented.
    """

    def __init__(
        self,
        config: Config,
        seed: int,
        reader: ShardReader,
        captions: pa.ChunkedArray,
        candidates: Archive,
        vocabulary: list[str],
    ) -> None:
        self.reader, self.captions, self.candidates = reader, captions, candidates
        self.vocabulary, self.seed = vocabulary, seed
        self.prompts = config.train.prompts
        self.tokenizer = Tokenizer(config.model.context_length)
        self.augment = Augmentation(config.train.augment, config.model.image_size)
        self.templates = templates(self.prompts.templates)
        self._known: dict[str, Tensor] = {}
        self._decoded: dict[int, npt.NDArray[np.uint8]] = {}

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, item: tuple[int, int]) -> Sample:
        epoch, i = item
        rng = np.random.default_rng([self.seed, SAMPLE, epoch, i])
        pixels = self._pixels(i, int(rng.integers(2**63)))
        caption = self._tokens(self.captions[i].as_py())
        prompts = [self._prompt(int(c), rng) for c in self._draw(i, rng)]
        prompts += [caption] * (self.prompts.count - len(prompts))  # an image without enough concepts: its caption
        return pixels, caption, torch.stack(prompts), i

    def __getitems__(self, items: list[tuple[int, int]]) -> list[Sample] | CocuError:
        """A batch. An error is given, not raised: the DataLoader would bring it to the user as a traceback."""
        try:
            return [self[item] for item in items]
        except CocuError as error:
            return error

    def _pixels(self, i: int, seed: int) -> Tensor:
        pixels = self._decode(i)
        try:
            return self.augment(pixels, seed)
        except Exception as error:  # whatever an operation meets in an odd picture
            raise DataError(
                f"The image {self.reader.key(i)} of {pixels.shape[1]} x {pixels.shape[0]} pixels cannot be augmented "
                f"({error}). Remove the sample from its shard, or change train.augment."
            ) from error

    def _decode(self, i: int) -> npt.NDArray[np.uint8]:
        """uint8 (H, W, 3); kept where all images of this size together are small, as a little corpus's are."""
        pixels = self._decoded.get(i)
        if pixels is None:
            pixels = decode_image(self.reader.image(i), self.reader.key(i))
            if pixels.nbytes * len(self) <= DECODED:
                self._decoded[i] = pixels
        return pixels

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


def load_pairs(config: Config, seed: int, corpus: Path, captions: Path, archive: Path | None) -> Pairs:
    """The data set of an arm: `corpus` is a manifest, `captions` and `archive` are folders of side-cars.

    Rows are numbered by shard name, whatever the manifest's order. Raises `DataError` where a side-car's keys are not
    its shard's, row by row, and for an archive that speaks of another vocabulary.
    """
    files = sorted(manifest_shards(corpus), key=lambda file: file.shard)
    reader = ShardReader(files)
    shards, texts, concepts = [], [], []
    for number, file in enumerate(files):
        path, keys = side_car(captions, file.shard), reader.keys(number)
        table = read_table(path, ["key", "caption", "concepts"])
        _same_keys(path, table["key"].to_pylist(), keys)
        shards.append((file.shard, keys_sha256(keys)))
        texts += table["caption"].chunks
        concepts.append(csr(table, "concepts"))
    if archive:
        _same_vocabulary(archive, captions)
        candidates = read_archive(archive, captions, shards)
    else:  # the captions' own concepts, unranked
        indptr, ids = join(concepts)
        candidates = Archive(indptr, ids, np.ones(len(ids), np.float32), np.zeros(len(ids), np.uint16))
    vocabulary = (captions / WORDS).read_text(encoding="utf-8").splitlines()
    return Pairs(config, seed, reader, pa.chunked_array(texts, pa.string()), candidates, vocabulary)


def _same_keys(path: Path, found: list[str], keys: list[str]) -> None:
    if found == keys:
        return
    row = next((i for i, (a, b) in enumerate(zip(found, keys, strict=False)) if a != b), min(len(found), len(keys)))
    theirs, ours = (repr(k[row]) if row < len(k) else "none" for k in (found, keys))
    raise DataError(
        f"{path} is not of this corpus: the key of its row {row} is {theirs}, and of the shard's {ours}. "
        "Run the captions stage of this corpus again."
    )


def _same_vocabulary(archive: Path, captions: Path) -> None:
    made_with = read_json(archive / MANIFEST).get("vocabulary_sha256")
    if made_with != file_sha256(captions / WORDS):
        raise DataError(f"{archive} speaks of another vocabulary than {captions / WORDS}. Run the archive stage again.")


def collate(samples: list[Sample] | CocuError) -> Batch | CocuError:
    """Samples -> batch; an error stays one."""
    if isinstance(samples, CocuError):
        return samples
    images, captions, prompts, rows = zip(*samples, strict=True)
    return Batch(torch.stack(images), torch.stack(captions), torch.stack(prompts), torch.tensor(rows))


def batches(pairs: Pairs, config: Config, start: int, steps: int) -> Iterator[Batch]:
    """Batches from step `start` to `steps`, in the order of the seed, whatever the number of workers.

    Raises what a sample raises, in its own words, and `EnvironmentFault` when a loader process is killed.
    """
    workers = config.train.workers
    loader: DataLoader[Any] = DataLoader(
        pairs,
        batch_sampler=Order(len(pairs), config.train.batch_size, pairs.seed, start, steps),
        num_workers=workers,
        collate_fn=collate,
        generator=torch.Generator(),  # the default one is the model's: a draw from it here would shift a resumed run
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
    )
    try:
        for batch in loader:
            if isinstance(batch, CocuError):
                raise batch
            yield batch
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise EnvironmentFault(
            f"A loader process of the training ended ({error}), most likely for memory: lower train.workers or "
            "train.batch_size, and run again."
        ) from error
