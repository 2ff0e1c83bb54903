"""Embeddings: tar order, blocks, resumption shard by shard, and vectors that are no vectors."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from cocu.clip import embed
from cocu.clip.encoder import ClipEncoder, Floats, load_encoder
from cocu.config import Config
from cocu.corpus.images import decode_image
from cocu.corpus.shards import manifest_shards, read_pairs, write_shard
from cocu.errors import ConfigError, DataError, NumericsError
from cocu.io import file_sha256, read_json, write_json


def test_blocks_cover_the_shards_in_tar_order(config: Config, corpus: Path, clip: Path, tmp_path: Path) -> None:
    entries = []
    for block in (0, 1):
        embed.run_images(config, corpus=corpus, clip=clip, block=block, out=tmp_path / f"{block}.json")
        manifest = read_json(tmp_path / f"{block}.json")
        assert manifest["block"] == block and manifest["clip"] == load_encoder(config.clip, clip).facts
        entries += manifest["shards"]
    assert [(e["stem"], e["rows"]) for e in entries] == [("00000", 16), ("00001", 16), ("00002", 8)]
    encoder = load_encoder(config.clip, clip)
    for entry, file in zip(entries, manifest_shards(corpus), strict=True):
        pairs = list(read_pairs(file.path, "web"))
        rows = np.load(tmp_path / f"{file.stem}.npy")
        assert rows.dtype == np.float16
        assert np.allclose(rows, encoder.images([decode_image(p.image, p.key) for p in pairs]), atol=2e-3)
        assert entry["keys_sha256"] == hashlib.sha256("\n".join(p.key for p in pairs).encode()).hexdigest()
        assert entry["sha256"] == file_sha256(tmp_path / f"{file.stem}.npy")
    with pytest.raises(ConfigError, match="no block 2"):
        embed.run_images(config, corpus=corpus, clip=clip, block=2, out=tmp_path / "2.json")


def test_only_what_does_not_match_is_embedded_again(
    config: Config, corpus: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded: list[int] = []
    original = embed.embed_images

    def counting(*args: object) -> tuple[list[str], Floats]:
        keys, rows = original(*args)  # type: ignore[arg-type]
        embedded.append(len(keys))
        return keys, rows

    def run() -> list[int]:
        embedded.clear()
        embed.run_images(one_job, corpus=corpus, clip=clip, block=0, out=tmp_path / "0.json")
        return embedded

    monkeypatch.setattr(embed, "embed_images", counting)
    one_job = config.model_copy(update={"clip": config.clip.model_copy(update={"shards_per_job": 3})})
    assert run() == [16, 16, 8]
    first = read_json(tmp_path / "0.json")["shards"]
    assert run() == []
    (tmp_path / "00002.npy").write_bytes((tmp_path / "00002.npy").read_bytes()[:-2])
    (tmp_path / "00000.made").unlink()
    assert run() == [16, 8]
    made = read_json(tmp_path / "00001.made")
    made["from"]["clip"]["sha256"] = "another clip"
    write_json(tmp_path / "00001.made", made)
    assert run() == [16]
    made["from"]["clip"]["sha256"], made["from"]["shard_sha256"] = first[1]["sha256"], "another shard"
    write_json(tmp_path / "00001.made", made)
    assert run() == [16]
    assert read_json(tmp_path / "0.json")["shards"] == first


@pytest.mark.parametrize("value", [np.nan, 0.0, np.inf])
def test_a_vector_that_is_none_names_shard_and_key(
    config: Config, corpus: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    original = ClipEncoder.prepared

    def broken(self: ClipEncoder, tensors: Sequence[Tensor]) -> Floats:
        rows = original(self, tensors)
        rows[3:4] = value  # the last batch of a shard may be shorter
        return rows

    monkeypatch.setattr(ClipEncoder, "prepared", broken)
    with pytest.raises(NumericsError, match=r"00000\.tar: the embedding of web/00000/0000003 has norm"):
        embed.run_images(config, corpus=corpus, clip=clip, block=0, out=tmp_path / "0.json")
    assert list(tmp_path.iterdir()) == []


def test_a_shard_that_changed_since_its_manifest_is_refused(config: Config, clip: Path, tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [("x", b"no image", "t")])
    entry = {"path": "a.tar", "samples": 2, "sha256": "s"}
    write_json(tmp_path / "manifest.json", {"corpus": "c", "shards": [entry]})
    with pytest.raises(DataError, match="c/a/x cannot be decoded"):
        embed.run_images(config, corpus=tmp_path / "manifest.json", clip=clip, block=0, out=tmp_path / "e/0.json")
    from cocu.corpus.build import encode_jpeg

    write_shard(tmp_path / "a.tar", [("x", encode_jpeg(np.zeros((32, 32, 3), np.uint8)), "t")])
    with pytest.raises(DataError, match=r"a\.tar holds 1 pairs, its manifest says 2"):
        embed.run_images(config, corpus=tmp_path / "manifest.json", clip=clip, block=0, out=tmp_path / "e/0.json")


def test_the_vocabulary_is_embedded_as_prompts(config: Config, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "vocabulary.txt").write_text("cat\nbrick wall\n")
    out = tmp_path / "embeddings/vocabulary.npy"
    embed.run_vocabulary(config, captions=tmp_path, clip=clip, out=out)
    rows = np.load(out)
    expected = load_encoder(config.clip, clip).texts(["a photo of a cat", "a photo of a brick wall"])
    assert rows.dtype == np.float32 and np.array_equal(rows, expected)
    assert read_json(out.with_suffix(".made"))["rows"] == 2
    (tmp_path / "vocabulary.txt").write_text("")
    with pytest.raises(DataError, match=r"vocabulary\.txt is empty"):
        embed.run_vocabulary(config, captions=tmp_path, clip=clip, out=out)
