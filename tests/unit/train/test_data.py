from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from cocu.config import Config, load
from cocu.errors import DataError, EnvironmentFault
from cocu.io import write_json, write_text
from cocu.layout import side_car
from cocu.pairs.shards import index_shard, manifest_shards
from cocu.pairs.tables import Archive, write_archive
from cocu.train import data
from cocu.train.data import Batch, Order, Pairs, batches, load_pairs
from tests.unit.train.corpus import PAIRS, VOCABULARY, Files, make_files, tiny_config

PAPER = load([Path(f"config/{name}.yaml") for name in ("config", "paper", "cc3m")])


def paper_config(**train: object) -> Config:
    """The tiny model with the paper's augmentation and prompts."""
    prompts = PAPER.arm("cocu").train.prompts.model_dump()
    return tiny_config(**{"augment": PAPER.train.augment.model_dump(), "prompts": prompts, **train})


def equal(one: list[Batch], other: list[Batch]) -> bool:
    fields = ("images", "captions", "prompts", "rows")
    return len(one) == len(other) and all(
        torch.equal(getattr(a, f), getattr(b, f)) for a, b in zip(one, other, strict=True) for f in fields
    )


def test_order_from_a_step_is_the_tail_of_the_order_from_the_start() -> None:
    whole = list(Order(20, 6, seed=3, start=0, steps=8))
    assert list(Order(20, 6, seed=3, start=5, steps=8)) == whole[5:]
    assert [epoch for batch in whole for epoch, _ in batch[:1]] == [0, 0, 0, 1, 1, 1, 2, 2]
    epochs = [[i for batch in whole[s : s + 3] for _, i in batch] for s in (0, 3)]
    assert len(set(epochs[0])) == len(set(epochs[1])) == 18
    assert epochs[0] != epochs[1] and epochs[0] != sorted(epochs[0])
    assert whole != list(Order(20, 6, seed=4, start=0, steps=8))


def test_a_corpus_smaller_than_a_batch_is_refused() -> None:
    with pytest.raises(DataError, match=r"holds 3 pairs, train\.batch_size is 8"):
        Order(3, 8, seed=0, start=0, steps=1)
    assert len(list(Order(8, 8, seed=0, start=0, steps=2))) == 2


def test_a_sample_depends_on_seed_epoch_and_row_alone(tmp_path: Path) -> None:
    files, config = make_files(tmp_path), paper_config()
    one, again = (load_pairs(config, 1, files.corpus, files.captions, files.archive) for _ in range(2))
    other = load_pairs(config, 2, files.corpus, files.captions, files.archive)
    for i in range(24):
        torch.manual_seed(i), np.random.seed(i)
        again[(1, 23 - i)]  # what was drawn before is no matter
        for a, b in zip(one[(0, i)][:3], again[(0, i)][:3], strict=True):
            assert torch.equal(a, b)
    for samples in ([one[(e, 5)] for e in range(8)], [p[(0, 5)] for p in (one, other)], [one[(0, i)] for i in (5, 6)]):
        assert not torch.equal(samples[0][0], samples[1][0])
    for items in ([(e, 5) for e in range(8)], [(0, i) for i in range(8)]):
        drawn = {one[item][2].numpy().tobytes() for item in items}
        assert len(drawn) > 4  # prompts are drawn anew each epoch, and for each of the rows, whose archives are equal


def test_the_operations_of_rand_augment_differ_between_seeds(tmp_path: Path) -> None:
    config = paper_config(augment={**PAPER.train.augment.model_dump(), "crop_scale": (1.0, 1.0), "erasing": 0.0})
    files = make_files(tmp_path)
    pixels = [load_pairs(config, s, files.corpus, files.captions, None)[(0, 3)][0] for s in range(12)]
    assert len({p.numpy().tobytes() for p in pixels}) > 6  # a quarter are left as they are, flipped or not


def test_any_number_of_workers_and_a_resume_give_the_same_bits_with_the_papers_settings(tmp_path: Path) -> None:
    files, found = make_files(tmp_path), {}
    for workers in (0, 1, 2, 4):
        config = paper_config(workers=workers)
        pairs = load_pairs(config, 1, files.corpus, files.captions, files.archive)
        torch.manual_seed(workers), np.random.seed(workers)
        found[workers] = list(batches(pairs, config, 0, 7))
        if workers in (0, 2):
            found[f"resumed {workers}"] = found[workers][:3] + list(batches(pairs, config, 3, 7))
    assert all(equal(found[0], other) for other in found.values())
    assert not torch.equal(found[0][0].images, found[0][3].images)


def test_missing_concepts_are_filled_with_the_clean_caption(tmp_path: Path) -> None:
    files = make_files(tmp_path)
    pairs = load_pairs(tiny_config(), 1, files.corpus, files.captions, None)
    _, caption, prompts, row = pairs[(0, 15)]
    assert row == 15 and pairs.reader.key(15) == "toy/00001/00003"
    assert torch.equal(caption, pairs.tokenizer(["a photo of dog 13"])[0])  # the tar has tags in it
    said = pairs.tokenizer([t.format("dog") for t in pairs.templates])
    assert any(torch.equal(prompts[0], s) for s in said)  # the one noun of the caption, in a template
    assert torch.equal(prompts[1], caption) and torch.equal(prompts[2], caption)
    assert len({pairs[(0, i)][2][0].numpy().tobytes() for i in range(24)}) > 8  # in one of 80 templates, drawn


def test_an_archive_speaks_instead_of_the_caption(tmp_path: Path) -> None:
    files = make_files(tmp_path)
    config = tiny_config(prompts={"source": "archive", "sampling": "top", "templates": "one", "count": 2})
    pairs = load_pairs(config, 1, files.corpus, files.captions, files.archive)
    expected = pairs.tokenizer(["a photo of a cat.", "a photo of a grass."])
    assert torch.equal(pairs[(0, 3)][2], expected)


def cats(files: Files, **prompts: object) -> list[int]:
    """How many of the prompts of each of 200 samples are the archive's first concept, a cat."""
    settings = {"source": "archive", "sampling": "softmax", "templates": "one", "count": 2, **prompts}
    archive = files.archive if settings["source"] != "caption" else None
    pairs = load_pairs(tiny_config(prompts=settings), 1, files.corpus, files.captions, archive)
    (cat,) = pairs.tokenizer(["a photo of a cat."])
    return [sum(torch.equal(p, cat) for p in pairs[(epoch, epoch % 24)][2]) for epoch in range(200)]


def test_prompts_follow_temperature_sampling_and_replacement(tmp_path: Path) -> None:
    files = make_files(tmp_path)  # scores 2 for the cat, 1 for grass
    share = {t: float(np.mean(cats(files, temperature=t))) / 2 for t in (0.05, 1.0, 50.0)}
    assert share[0.05] == 1 and abs(share[1.0] - 0.731) < 0.07 and abs(share[50.0] - 0.505) < 0.07
    assert abs(float(np.mean(cats(files, sampling="cluster"))) / 2 - 0.731) < 0.07  # one cluster
    assert abs(float(np.mean(cats(files, sampling="uniform"))) / 2 - 0.5) < 0.07
    assert set(cats(files, sampling="uniform")) == {0, 1, 2}
    assert set(cats(files, sampling="uniform", replacement=False)) == {1}
    # the truth is not ranked: uniform, and each once, whatever the section says
    assert set(cats(files, source="truth", sampling="top", temperature=0.05)) == {1}


def test_side_cars_are_joined_by_key_whatever_the_order_of_the_manifest(tmp_path: Path) -> None:
    files, config = make_files(tmp_path), tiny_config(prompts={"source": "archive", "sampling": "top", "count": 1})
    row = np.arange(PAIRS + 1, dtype=np.int64)
    for shard, concept in (("toy/00000", 1), ("toy/00001", 2)):  # the shards' archives differ
        keys = [f"{shard}/{i:05d}" for i in range(PAIRS)]
        same = np.full(PAIRS, concept, np.uint16)
        archive = Archive(row, same, np.ones(PAIRS, np.float32), np.zeros(PAIRS, np.uint16))
        write_archive(side_car(files.archive, shard), keys, archive)

    def by_key(pairs: Pairs) -> dict[str, tuple[str, int]]:
        rows = range(len(pairs))
        return {pairs.reader.key(i): (pairs.captions[i].as_py(), int(pairs.candidates.row(i)[0][0])) for i in rows}

    pairs = load_pairs(config, 1, files.corpus, files.captions, files.archive)
    expected = by_key(pairs)
    assert expected["toy/00000/00002"] == ("a photo of dog 02", 1)
    assert expected["toy/00001/00002"] == ("a photo of dog 12", 2)
    for path in (files.corpus, files.captions / "manifest.json"):
        manifest = json.loads(path.read_text())
        write_json(path, {**manifest, "shards": manifest["shards"][::-1]})
        reordered = load_pairs(config, 1, files.corpus, files.captions, files.archive)
        assert by_key(reordered) == expected
        assert equal(list(batches(reordered, config, 0, 2)), list(batches(pairs, config, 0, 2)))


@pytest.mark.parametrize("archive", [False, True], ids=["captions", "archive"])
def test_side_cars_of_another_corpus_of_the_same_shape_are_refused(tmp_path: Path, archive: bool) -> None:
    ours, theirs = make_files(tmp_path / "a", "train0"), make_files(tmp_path / "b", "train1")
    for folder in (theirs.captions, theirs.archive):
        shutil.move(folder / "train1", folder / "train0")  # in our files' place
    captions = ours.captions if archive else theirs.captions
    said = "is not the archive of" if archive else r"its row 0 is 'train1/00000/00000', and of the shard's 'train0/"
    with pytest.raises(DataError, match=said):
        load_pairs(tiny_config(), 1, ours.corpus, captions, theirs.archive)


def test_side_cars_of_other_shards_or_fewer_rows_are_refused(tmp_path: Path) -> None:
    files = make_files(tmp_path)
    second = side_car(files.captions, "toy/00001")
    second.write_bytes(side_car(files.captions, "toy/00000").read_bytes())
    with pytest.raises(DataError, match=r"00001\.parquet is not of this corpus: the key of its row 0"):
        load_pairs(tiny_config(), 1, files.corpus, files.captions, None)
    second.unlink()
    with pytest.raises(DataError, match=r"Cannot read .*00001\.parquet"):
        load_pairs(tiny_config(), 1, files.corpus, files.captions, None)


def test_an_archive_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    files = make_files(tmp_path)
    write_text(files.captions / "vocabulary.txt", "\n".join(reversed(VOCABULARY)) + "\n")
    with pytest.raises(DataError, match="speaks of another vocabulary"):
        load_pairs(tiny_config(), 1, files.corpus, files.captions, files.archive)


@pytest.mark.parametrize("aside", [0, 1])
@pytest.mark.parametrize("archive", [False, True], ids=["captions", "archive"])
def test_a_shard_that_is_set_aside_has_no_samples(tmp_path: Path, aside: int, archive: bool) -> None:
    files, config = make_files(tmp_path, aside=aside), tiny_config(prompts={"source": "archive"} if archive else {})
    pairs = load_pairs(config, 1, files.corpus, files.captions, files.archive if archive else None)
    assert len(pairs) == len(pairs.captions) == len(pairs.candidates) == PAIRS
    assert (
        pairs.reader.key(0) == f"toy/{1 - aside:05d}/00000"
        and pairs.captions[0].as_py() == f"a photo of dog {1 - aside}0"
    )
    assert pairs.candidates.row(PAIRS - 1)[0].tolist() == ([1, 2] if archive else [0])
    (batch,) = batches(pairs, config, 0, 1)
    assert len(batch.rows) == 8


def spoil(files: Files, row: int) -> None:
    """Overwrite the image of a row of the first shard."""
    path = manifest_shards(files.corpus)[0].path
    offset, size, *_ = index_shard(path).spans[row]
    content = bytearray(path.read_bytes())
    content[offset : offset + size] = bytes(size)
    path.write_bytes(content)


def fail(pixels: np.ndarray, seed: int) -> torch.Tensor:
    raise ZeroDivisionError("an odd picture")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("break_it", ["file", "operation"])
def test_a_bad_picture_is_named_in_one_sentence(tmp_path: Path, workers: int, break_it: str) -> None:
    files, config = make_files(tmp_path), tiny_config(workers=workers, batch_size=24)
    pairs = load_pairs(config, 1, files.corpus, files.captions, None)
    if break_it == "file":
        spoil(files, 4)
        said = r"The image toy/00000/00004 cannot be decoded"
    else:
        pairs.augment = fail
        said = r"The image toy/0000\d/000\d\d of 32 x 32 pixels cannot be augmented \(an odd picture\)"
    with pytest.raises(DataError, match=said) as caught:
        list(batches(pairs, config, 0, 1))
    assert "Traceback" not in str(caught.value) and "DataLoader" not in str(caught.value)


def killed(samples: list[data.Sample]) -> Batch:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def test_a_killed_loader_process_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, config = make_files(tmp_path), tiny_config(workers=1)
    pairs = load_pairs(config, 1, files.corpus, files.captions, None)
    monkeypatch.setattr(data, "collate", killed)
    with pytest.raises(EnvironmentFault, match=r"A loader process of the training ended .* lower train\.workers"):
        list(batches(pairs, config, 0, 1))


def test_tokens_of_a_text_are_kept_and_not_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = make_files(tmp_path)
    pairs = load_pairs(tiny_config(), 1, files.corpus, files.captions, None)
    monkeypatch.setattr(data, "TOKENIZED", 3)
    expected = pairs.tokenizer(["a cat"])[0]
    for text in ("a cat", "a dog", "a cat", "grass", "a cow", "a cat"):
        tokens = pairs._tokens(text)
        assert len(pairs._known) <= 3
    assert torch.equal(tokens, expected)


@pytest.mark.parametrize(("room", "decoded"), [(24 * 32 * 32 * 3, 1), (24 * 32 * 32 * 3 - 1, 3)])
def test_a_small_corpus_is_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, decoded: int
) -> None:
    files = make_files(tmp_path)
    pairs = load_pairs(tiny_config(), 1, files.corpus, files.captions, None)
    monkeypatch.setattr(data, "DECODED", room)
    asked: list[str] = []
    decode = data.decode_image
    monkeypatch.setattr(data, "decode_image", lambda content, key: asked.append(key) or decode(content, key))
    samples = [pairs[(0, 7)] for _ in range(3)]
    assert asked == [pairs.reader.key(7)] * decoded
    assert all(torch.equal(sample[0], samples[0][0]) for sample in samples)
