"""Embeddings: tar order, blocks, resumption shard by shard, and vectors that are no vectors."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from torch import Tensor

from cocu.clip import embed
from cocu.clip.encoder import ClipEncoder, Floats, load_encoder
from cocu.config import Config
from cocu.errors import ConfigError, DataError, NumericsError
from cocu.io import file_sha256, read_json, write_json
from cocu.pairs.images import decode_image
from cocu.pairs.shards import manifest_shards, read_pairs, write_shard


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


@pytest.mark.parametrize("change", ["shard", "corpus", "clip", "code"])
def test_other_inputs_are_embedded_again(
    config: Config, corpus: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    def times() -> list[int]:
        embed.run_images(config, corpus=manifest, clip=folder, block=1, out=tmp_path / "out/1.json")
        return [(tmp_path / f"out/00002.{suffix}").stat().st_mtime_ns for suffix in ("npy", "made")]

    value, manifest, folder = read_json(corpus), tmp_path / "manifest.json", clip
    for shard in value["shards"]:
        shard["path"] = str(corpus.parent / shard["path"])
    write_json(manifest, value)
    first = times()
    assert times() == first
    if change == "shard":
        value["shards"][2]["sha256"] = "of other pictures"
    elif change == "corpus":
        value["corpus"] = "another"
    elif change == "clip":
        folder = tmp_path / "clip"
        weights = load_file(clip / "model.safetensors")
        save_file(weights | {"logit_scale": weights["logit_scale"] + 1}, make(folder) / "model.safetensors")
        write_json(folder / "model.json", read_json(clip / "model.json"))
    else:
        monkeypatch.setattr(embed, "code_fingerprint", lambda module: f"another {module}")
    write_json(manifest, value)
    assert not set(times()) & set(first)


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_samples_that_are_set_aside_are_not_embedded(config: Config, corpus: Path, clip: Path, tmp_path: Path) -> None:
    (whole,) = (file for file in manifest_shards(corpus) if file.stem == "00002")
    skipped = [pair.key.split("/")[2] for pair in read_pairs(whole.path, "web")][2:4]
    entry = {"path": str(whole.path), "samples": 6, "sha256": "s", "skipped": skipped}
    write_json(tmp_path / "manifest.json", {"corpus": "web", "shards": [entry]})
    for folder, manifest, block in ((tmp_path / "some", tmp_path / "manifest.json", 0), (tmp_path / "all", corpus, 1)):
        embed.run_images(config, corpus=manifest, clip=clip, block=block, out=folder / "b.json")
    some, every = (np.load(tmp_path / name / "00002.npy") for name in ("some", "all"))
    np.testing.assert_allclose(some, every[[0, 1, 4, 5, 6, 7]], atol=2e-3)


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
    with pytest.raises(NumericsError, match=r"00000\.tar: the embedding of 'web/00000/0000003' has the length"):
        embed.run_images(config, corpus=corpus, clip=clip, block=0, out=tmp_path / "0.json")
    assert list(tmp_path.iterdir()) == []


def test_a_shard_that_changed_since_its_manifest_is_refused(config: Config, clip: Path, tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [("x", b"no image", "t")])
    entry = {"path": "a.tar", "samples": 2, "sha256": "s"}
    write_json(tmp_path / "manifest.json", {"corpus": "c", "shards": [entry]})
    with pytest.raises(DataError, match="c/a/x cannot be decoded"):
        embed.run_images(config, corpus=tmp_path / "manifest.json", clip=clip, block=0, out=tmp_path / "e/0.json")
    from cocu.mini.build import encode_jpeg

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
