"""`clip.threads` reaches torch and the decoding of images, and ends with the stage."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from cocu.cli import app
from cocu.clip import embed
from cocu.clip.encoder import ClipEncoder
from cocu.config import Config
from cocu.curate import pipeline
from cocu.errors import NumericsError
from cocu.stamp import Store


@pytest.fixture(autouse=True)
def three() -> Iterator[None]:
    """The process has three threads, which no stage asks for."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def with_threads(config: Config, threads: int) -> Config:
    return config.model_copy(update={"clip": config.clip.model_copy(update={"threads": threads})})


@pytest.fixture
def captions(tmp_path: Path) -> Path:
    (tmp_path / "vocabulary.txt").write_text("cat\ndog\nsky\n")
    return tmp_path


@pytest.mark.parametrize("threads", [1, 2])
def test_model_and_decoding_are_given_the_threads(
    config: Config, corpus: Path, clip: Path, captions: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    of_torch: list[int] = []
    decoding: set[str] = set()
    together = threading.Barrier(threads)  # passed only when so many images are decoded at once
    prepared, texts = ClipEncoder.prepared, ClipEncoder.texts
    decode = embed.decode_image

    def watched(image: bytes, key: str) -> Any:
        if len(decoding) < threads:
            decoding.add(threading.current_thread().name)
            together.wait(timeout=20)
        return decode(image, key)

    monkeypatch.setattr(ClipEncoder, "prepared", lambda *a: of_torch.append(torch.get_num_threads()) or prepared(*a))
    monkeypatch.setattr(ClipEncoder, "texts", lambda *a: of_torch.append(torch.get_num_threads()) or texts(*a))
    pools: list[int] = []
    pool = embed.ThreadPoolExecutor
    monkeypatch.setattr(embed, "ThreadPoolExecutor", lambda workers: pools.append(workers) or pool(workers))
    monkeypatch.setattr(embed, "decode_image", watched)
    config = with_threads(config, threads)
    store = Store(captions / "state")
    embed.run_images(config, corpus=corpus, clip=clip, out=captions, store=store, number=1)
    assert torch.get_num_threads() == 3
    embed.run_vocabulary(config, captions=captions, clip=clip, out=captions / "vocabulary.npy")
    assert torch.get_num_threads() == 3
    assert set(of_torch) == set(pools) == {threads} and len(of_torch) > 2
    assert len(decoding) == threads


def test_more_threads_change_no_more_than_a_last_bit(config: Config, corpus: Path, clip: Path, captions: Path) -> None:
    """Products are divided among threads, and the rows at the seams are summed in another order."""
    rows: list[dict[str, np.ndarray]] = []
    names = ("web/00000.npy", "web/00001.npy", "vocabulary.npy")
    for threads in (1, 2):
        out, changed = captions / str(threads), with_threads(config, threads)
        embed.run_images(changed, corpus=corpus, clip=clip, out=out, store=Store(out / "state"), number=0)
        embed.run_vocabulary(changed, captions=captions, clip=clip, out=out / "vocabulary.npy")
        rows.append({name: np.load(out / name) for name in names})
    for name, one in rows[0].items():
        unit = 2e-6 if one.dtype == np.float32 else np.spacing(np.abs(one))
        assert (np.abs(one.astype(np.float64) - rows[1][name]) <= unit).all()


def test_an_error_ends_the_stage_with_the_threads_that_it_found(
    config: Config, corpus: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClipEncoder, "prepared", lambda self, tensors: np.zeros((len(tensors), 8), np.float32))
    store, two = Store(tmp_path / "state"), with_threads(config, 2)
    with pytest.raises(NumericsError):
        embed.run_images(two, corpus=corpus, clip=clip, out=tmp_path, store=store, number=0)
    assert torch.get_num_threads() == 3


def test_the_command_s_threads_are_clip_s_and_the_search_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Config] = []
    monkeypatch.setattr(pipeline, "run", lambda config, out: asked.append(config))
    words = ["curate", "--shards", "0.tar", "--clip", "ViT-B-16", "--pretrained", "openai", "--out", str(tmp_path)]
    assert CliRunner().invoke(app, [*words, "--threads", "5"]).exit_code == 0
    assert (asked[0].clip.threads, asked[0].curate.threads) == (5, 5)
