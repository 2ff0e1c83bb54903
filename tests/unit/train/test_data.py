from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cocu.errors import DataError
from cocu.train.data import Order, load_pairs, loader, seeded
from tests.unit.train.corpus import make_files, tiny_config


def test_order_from_a_step_is_the_tail_of_the_order_from_the_start() -> None:
    whole = list(Order(20, 6, seed=3, start=0, steps=8))
    assert list(Order(20, 6, seed=3, start=5, steps=8)) == whole[5:]
    assert sorted({epoch for batch in whole for epoch, _ in batch}) == [0, 1, 2]
    first = [i for batch in whole[:3] for _, i in batch]
    assert len(set(first)) == 18
    assert whole != list(Order(20, 6, seed=4, start=0, steps=8))


def test_a_corpus_smaller_than_a_batch_is_refused() -> None:
    with pytest.raises(DataError, match=r"holds 3 pairs, train\.batch_size is 8"):
        Order(3, 8, seed=0, start=0, steps=1)


def test_a_sample_depends_on_seed_epoch_and_row_alone(tmp_path: Path) -> None:
    files = make_files(tmp_path)
    config = tiny_config()
    one = load_pairs(config, 1, files.corpus, files.captions, None)
    again = load_pairs(config, 1, files.corpus, files.captions, None)
    torch.manual_seed(7)
    for a, b in zip(one[(0, 5)][:3], again[(0, 5)][:3], strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one[(0, 5)][0], one[(1, 5)][0])


def test_workers_give_the_same_batches(tmp_path: Path) -> None:
    files = make_files(tmp_path)
    batches = []
    for workers in (0, 2):
        config = tiny_config(workers=workers)
        pairs = load_pairs(config, 1, files.corpus, files.captions, files.archive)
        batches.append(list(loader(pairs, config, 0, 4)))
    for a, b in zip(*batches, strict=True):
        assert torch.equal(a.images, b.images) and torch.equal(a.prompts, b.prompts) and torch.equal(a.rows, b.rows)


def test_missing_concepts_are_filled_with_the_caption(tmp_path: Path) -> None:
    files = make_files(tmp_path)
    pairs = load_pairs(tiny_config(), 1, files.corpus, files.captions, None)
    _, caption, prompts, _ = pairs[(0, 0)]
    assert not torch.equal(prompts[0], caption)  # the one noun of the caption, in a template
    assert torch.equal(prompts[1], caption) and torch.equal(prompts[2], caption)


def test_an_archive_speaks_instead_of_the_caption(tmp_path: Path) -> None:
    files = make_files(tmp_path)
    config = tiny_config(prompts={"source": "archive", "sampling": "top", "templates": "one", "count": 2})
    pairs = load_pairs(config, 1, files.corpus, files.captions, files.archive)
    expected = pairs.tokenizer(["a photo of a cat.", "a photo of a grass."])
    assert torch.equal(pairs[(0, 3)][2], expected)


def test_side_cars_of_another_corpus_are_refused(tmp_path: Path) -> None:
    files, others = make_files(tmp_path / "a"), make_files(tmp_path / "b")
    (others.archive / "00001.parquet").unlink()
    (others.archive / "00000.parquet").rename(others.archive / "00001.parquet")
    with pytest.raises(DataError, match=r"00000\.parquet"):
        load_pairs(tiny_config(), 1, files.corpus, files.captions, others.archive)


def test_seeded_leaves_the_generators_as_they_were() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    with seeded(9):
        inner = torch.rand(1)
    assert torch.equal(torch.rand(1), expected)
    with seeded(9):
        assert torch.equal(torch.rand(1), inner)
