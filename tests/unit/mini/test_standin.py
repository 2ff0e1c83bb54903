"""The stand-in: deterministic, learning, and its shortened texts are exact."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cocu.clip.encoder import build_stand_in, stand_in_tokenizer
from cocu.config import Config, StandIn
from cocu.errors import DataError
from cocu.io import read_json
from cocu.mini import standin
from tests.unit.clip.conftest import tiny_config


@pytest.fixture(scope="session")
def config() -> Config:
    return tiny_config()


def test_shortened_texts_are_exact() -> None:
    torch.manual_seed(0)
    model = build_stand_in(standin.describe(32))
    tokens = stand_in_tokenizer(standin.describe(32))(
        ["a cat", "a photo of a dog, a very long sentence and a horse", "sky"]
    )
    with torch.inference_mode():
        expected = model.encode_text(tokens)
        assert torch.allclose(standin.encode_tokens(model, tokens, model.token_embedding.weight), expected, atol=1e-5)
        used, compact = torch.unique(tokens, return_inverse=True)
        table = model.token_embedding.weight[used]
        assert torch.allclose(standin.encode_tokens(model, compact, table), expected, atol=1e-5)


def test_same_seed_same_weights(config: Config, corpus: Path, clip: Path, tmp_path: Path) -> None:
    torch.manual_seed(123)  # the caller's generator must not matter
    standin.run(config, corpus=corpus, out=tmp_path / "again")
    assert (tmp_path / "again/model.safetensors").read_bytes() == (clip / "model.safetensors").read_bytes()
    manifest = read_json(clip / "manifest.json")
    assert manifest["counts"] == {"pairs": 40, "probe_scenes": 500, "steps": 3}
    assert np.isfinite(manifest["loss"]) and 0 < manifest["zero_shot_map"] <= 1


def test_training_lowers_the_loss_and_keeps_unused_tokens(corpus: Path) -> None:
    pairs = standin.read_corpus(corpus, 32)
    section = StandIn(steps=25, batch_size=8)
    model, losses = standin.train(pairs, standin.describe(32), section)
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    with torch.random.fork_rng():
        torch.manual_seed(section.seed)
        fresh = build_stand_in(standin.describe(32))
    moved = (model.token_embedding.weight != fresh.token_embedding.weight).any(dim=1).nonzero().flatten()
    assert torch.equal(moved, torch.unique(stand_in_tokenizer(standin.describe(32))(pairs.captions)))


def test_orders_show_every_pair_before_any_again() -> None:
    order = standin._orders(10, StandIn(steps=5, batch_size=5))
    assert order.shape == (5, 5)
    assert sorted(order[:2].ravel()) == sorted(order[2:4].ravel()) == list(range(10))
    assert not np.array_equal(order[:2], order[2:4])


def test_average_precision_by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    relevant = np.array([True, False, True, False])
    assert standin.average_precision(scores, relevant) == pytest.approx((1 + 2 / 3) / 2)


def test_a_corpus_smaller_than_a_batch_is_refused(config: Config, corpus: Path, tmp_path: Path) -> None:
    clip = config.clip.model_copy(update={"stand_in": StandIn(steps=1, batch_size=41)})
    with pytest.raises(DataError, match=r"40 pairs, fewer than a batch \(41\)"):
        standin.run(config.model_copy(update={"clip": clip}), corpus=corpus, out=tmp_path)
