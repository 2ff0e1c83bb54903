"""`cocu curate` again, with another number of threads: nothing is made anew."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch

from cocu.curate import pipeline
from tests.unit.curate.test_pipeline import config_of, write_photographs


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
    text = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    description = {"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-clip", description)
    torch.save(open_clip.create_model("tiny-clip").state_dict(), tmp_path / "weights.pt")
    return {"model": "tiny-clip", "pretrained": str(tmp_path / "weights.pt")}


def test_other_threads_embed_nothing_again(weights: dict[str, str], tmp_path: Path) -> None:
    pattern, out = write_photographs(tmp_path), tmp_path / "out"
    before = torch.get_num_threads()

    def times(**clip: int) -> dict[str, int]:
        config = config_of(pattern, weights)
        pipeline.run(config.model_copy(update={"clip": config.clip.model_copy(update=clip)}), out=out)
        assert torch.get_num_threads() == before
        return {
            path.name: path.stat().st_mtime_ns
            for path in [*(out / "embeddings").rglob("*.npy"), out / "vocabulary.npy"]
        }

    first = times(threads=1)
    assert len(first) == 4 and times(threads=2, shards_per_job=1) == first
    other = times(threads=2, batch_size=7)
    assert other["vocabulary.npy"] != first["vocabulary.npy"]
