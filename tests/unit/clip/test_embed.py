"""Embeddings: tar order, blocks, what a store gives back, and vectors that are no vectors."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from torch import Tensor

from cocu import stamp
from cocu.clip import embed
from cocu.clip.encoder import ClipEncoder, Floats, load_encoder
from cocu.config import Config, DataConfig
from cocu.errors import ConfigError, DataError, NumericsError
from cocu.io import file_sha256, read_json, write_json
from cocu.layout import MANIFEST, Corpus, block, rows, vectors_manifest
from cocu.mini.build import encode_jpeg
from cocu.pairs.images import decode_image
from cocu.pairs.index import read_pairs, write_index
from cocu.pairs.shards import index_shard, manifest_shards
from cocu.pairs.tables import keys_sha256
from cocu.stamp import Store
from tests.unit.corpora import Samples, write_corpus

SHARDS = {"web/00000": 16, "web/00001": 16, "web/00002": 8}


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the shards that the encoder has seen."""
    sizes: list[int] = []
    original = embed.embed_images

    def counting(*args: Any) -> tuple[list[str], Floats]:
        keys, vectors = original(*args)
        sizes.append(len(keys))
        return keys, vectors

    monkeypatch.setattr(embed, "embed_images", counting)
    return sizes


def run(config: DataConfig, corpus: Path, clip: Path, root: Path, number: int | None = None) -> Path:
    """Embed into root/out with the store root/state; gives root/out."""
    store, out = Store(root / "state"), root / "out"
    embed.run_images(config, corpus=corpus, clip=clip, out=out, store=store, number=number)
    return out


def pictures(count: int, seed: int = 0) -> Samples:
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, 256, (count, 32, 32, 3), np.uint8)
    return [(f"{i:05}", encode_jpeg(image), "a caption") for i, image in enumerate(drawn)]


def other_weights(clip: Path, folder: Path) -> Path:
    """The stand-in with another temperature: the same vectors, and other facts."""
    weights = load_file(clip / "model.safetensors")
    folder.mkdir(exist_ok=True)
    save_file(weights | {"logit_scale": weights["logit_scale"] + 1}, folder / "model.safetensors")
    write_json(folder / "model.json", read_json(clip / "model.json"))
    return folder


def files(folder: Path) -> dict[str, bytes]:
    """All files of a folder but the blocks' manifests, and its manifest without the card."""
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    described = {key: value for key, value in read_json(folder / MANIFEST).items() if key != "card"}
    others = {name: content for name, content in found.items() if not name.startswith("blocks/")}
    return others | {MANIFEST: json.dumps(described).encode()}


def test_rows_are_in_tar_order(config: Config, corpus: Path, clip: Path, tmp_path: Path) -> None:
    out = run(config, corpus, clip, tmp_path)
    encoder, manifest = load_encoder(config.clip, clip), read_json(out / MANIFEST)
    assert manifest["clip"] == encoder.facts
    assert [(e["shard"], e["rows"]) for e in manifest["shards"]] == list(SHARDS.items())
    for entry, file in zip(manifest["shards"], manifest_shards(corpus), strict=True):
        pairs, path = list(read_pairs(file)), rows(out, file.shard)
        vectors = np.load(path)
        assert vectors.dtype == np.float16
        assert np.allclose(vectors, encoder.images([decode_image(p.image, p.key) for p in pairs]), atol=2e-3)
        assert entry["keys_sha256"] == keys_sha256(p.key for p in pairs)
        assert entry["sha256"] == file_sha256(path)


def test_blocks_joined_are_the_whole(
    config: Config, corpus: Path, clip: Path, tmp_path: Path, embedded: list[int]
) -> None:
    whole = run(config, corpus, clip, tmp_path / "whole")
    embedded.clear()
    for number, sizes in ((1, [8]), (0, [16, 16])):
        parts = run(config, corpus, clip, tmp_path / "parts", number)
        assert embedded == sizes
        embedded.clear()
        assert not (parts / MANIFEST).exists()
        if number:
            with pytest.raises(DataError, match=r"Cannot read .*blocks/0\.json"):
                embed.join_blocks(config, corpus=corpus, out=parts)
    embed.join_blocks(config, corpus=corpus, out=parts)
    assert sorted(files(parts)) == [MANIFEST, *(f"{shard}.npy" for shard in SHARDS)]
    assert files(parts) == files(whole)
    for number in (2, -1):
        with pytest.raises(ConfigError, match=f"no block {number} of 2 shards"):
            run(config, corpus, clip, tmp_path / "parts", number)


def test_blocks_that_do_not_belong_together_are_refused(
    config: Config, corpus: Path, clip: Path, tmp_path: Path
) -> None:
    run(config, corpus, clip, tmp_path, 1)
    out = run(config, corpus, other_weights(clip, tmp_path / "clip"), tmp_path, 0)
    with pytest.raises(DataError, match=r"blocks/1\.json was made with .*blocks/0\.json with"):
        embed.join_blocks(config, corpus=corpus, out=out)
    run(config, corpus, clip, tmp_path, 0)
    first = read_json(block(out, 0))
    for shards in (first["shards"][:1], first["shards"][::-1]):
        write_json(block(out, 0), first | {"shards": shards})
        with pytest.raises(DataError, match="are not of the shards of"):
            embed.join_blocks(config, corpus=corpus, out=out)
    assert not (out / MANIFEST).exists()


def test_only_what_is_not_kept_is_embedded(
    config: Config, corpus: Path, clip: Path, tmp_path: Path, embedded: list[int]
) -> None:
    out = run(config, corpus, clip, tmp_path)
    assert embedded == [16, 16, 8]
    first = files(out)
    run(config, corpus, clip, tmp_path)
    assert embedded == [16, 16, 8] and files(out) == first
    shutil.rmtree(out)  # as Snakemake does before a job
    run(config, corpus, clip, tmp_path)
    assert embedded == [16, 16, 8] and files(out) == first
    rows(out, "web/00000").write_bytes(b"cut")  # which is what is kept, by another name
    rows(tmp_path / "state", "web/00002").unlink()
    rows(tmp_path / "state", "web/00003").write_bytes(b"of an earlier corpus")
    run(config, corpus, clip, tmp_path)
    assert embedded[3:] == [16, 8] and files(out) == first
    assert not rows(tmp_path / "state", "web/00003").exists()


@pytest.mark.parametrize("change", ["clip", "batch size", "code"])
def test_other_inputs_embed_every_shard_again(
    config: Config,
    corpus: Path,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    embedded: list[int],
    change: str,
) -> None:
    run(config, corpus, clip, tmp_path)
    embedded.clear()
    if change == "clip":
        clip = other_weights(clip, tmp_path / "clip")
    elif change == "batch size":
        config = config.model_copy(update={"clip": config.clip.model_copy(update={"batch_size": 6})})
    else:
        monkeypatch.setattr(stamp, "code_fingerprint", lambda module: f"another {module}")
    run(config, corpus, clip, tmp_path)
    assert embedded == [16, 16, 8]


def test_a_changed_shard_leaves_the_others(config: Config, clip: Path, tmp_path: Path, embedded: list[int]) -> None:
    corpus = Corpus(tmp_path / "corpus")
    shards = {"one/a": pictures(3, 1), "one/b": pictures(4, 2), "two/a": pictures(5, 3)}
    write_corpus(corpus, "both", shards)
    out = run(config, corpus.manifest, clip, tmp_path)
    assert embedded == [3, 4, 5]
    first = files(out)
    write_corpus(corpus, "both", {**shards, "one/b": pictures(4, 4)})
    run(config, corpus.manifest, clip, tmp_path)
    assert embedded[3:] == [4]
    assert {name for name, content in files(out).items() if content != first[name]} == {MANIFEST, "one/b.npy"}
    write_corpus(corpus, "another", {"two/b": shards["one/a"], **shards})  # the same bytes under another name
    run(config, corpus.manifest, clip, tmp_path)
    assert embedded[4:] == [4, 3]
    kept = read_json(out / MANIFEST)["shards"]
    assert [(e["shard"], e["rows"]) for e in kept] == [("one/a", 3), ("one/b", 4), ("two/a", 5), ("two/b", 3)]
    assert kept[0]["keys_sha256"] != kept[3]["keys_sha256"] and kept[0]["sha256"] == kept[3]["sha256"]


def test_samples_that_are_set_aside_are_not_embedded(config: Config, clip: Path, tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "corpus")
    write_corpus(corpus, "c", {"c/a": pictures(8)})
    every = np.load(rows(run(config, corpus.manifest, clip, tmp_path), "c/a"))
    (file,) = manifest_shards(corpus.manifest)
    write_index(file.index, index_shard(file.path, {"00002", "00003"}))
    described = read_json(corpus.manifest)
    described["shards"][0]["samples"] = 6
    write_json(corpus.manifest, described)
    some = np.load(rows(run(config, corpus.manifest, clip, tmp_path), "c/a"))
    np.testing.assert_allclose(some, every[[0, 1, 4, 5, 6, 7]], atol=2e-3)


@pytest.mark.parametrize("aside", ["c/a", "c/b", "d/a"])
def test_a_shard_that_is_set_aside_has_no_rows(config: Config, clip: Path, tmp_path: Path, aside: str) -> None:
    corpus = Corpus(tmp_path / "corpus")
    shards = {"c/a": pictures(3, 1), "c/b": pictures(4, 2), "d/a": pictures(5, 3)}
    write_corpus(corpus, "c", {**shards, aside: None})
    out = run(config, corpus.manifest, clip, tmp_path)
    none = np.load(rows(out, aside))
    assert (none.shape, none.dtype) == ((0, 0), np.float16)
    entries = {entry["shard"]: entry for entry in read_json(out / MANIFEST)["shards"]}
    assert {name: entry["rows"] for name, entry in entries.items()} == {"c/a": 3, "c/b": 4, "d/a": 5, aside: 0}
    assert entries[aside]["keys_sha256"] == keys_sha256([])
    first = files(out)
    assert files(run(config, corpus.manifest, clip, tmp_path)) == first
    for number in (0, 1):
        run(config, corpus.manifest, clip, tmp_path, number)
    embed.join_blocks(config, corpus=corpus.manifest, out=out)
    assert files(out) == first


@pytest.mark.parametrize("value", [np.nan, 0.0, np.inf])
def test_a_vector_that_is_none_names_shard_and_key(
    config: Config, corpus: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    original = ClipEncoder.prepared

    def broken(self: ClipEncoder, tensors: Sequence[Tensor]) -> Floats:
        vectors = original(self, tensors)
        vectors[3:4] = value  # the last batch of a shard may be shorter
        return vectors

    monkeypatch.setattr(ClipEncoder, "prepared", broken)
    with pytest.raises(NumericsError, match=r"00000\.tar: the embedding of 'web/00000/0000003' has the length"):
        run(config, corpus, clip, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_shard_that_changed_since_its_manifest_is_refused(config: Config, clip: Path, tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "corpus")
    write_corpus(corpus, "c", {"c/a": [("x", b"no image", "t")]})
    with pytest.raises(DataError, match="c/a/x cannot be decoded"):
        run(config, corpus.manifest, clip, tmp_path)
    write_corpus(corpus, "c", {"c/a": pictures(1)})
    (file,) = manifest_shards(corpus.manifest)
    file.path.write_bytes(file.path.read_bytes() + bytes(512))
    with pytest.raises(DataError, match=r"a\.tar has .* bytes, and had .* when it was looked over"):
        run(config, corpus.manifest, clip, tmp_path)
    described = read_json(corpus.manifest)
    described["shards"][0] |= {"samples": 2, "bytes": file.path.stat().st_size}
    write_json(corpus.manifest, described)
    with pytest.raises(DataError, match=r"a\.parquet lists 1 pairs, and the manifest counts 2"):
        run(config, corpus.manifest, clip, tmp_path)


@pytest.fixture
def captions(tmp_path: Path) -> Path:
    (tmp_path / "captions").mkdir()
    (tmp_path / "captions/vocabulary.txt").write_text("cat\nbrick wall\n")
    return tmp_path / "captions"


def test_the_vocabulary_is_embedded_as_prompts(config: Config, clip: Path, captions: Path, tmp_path: Path) -> None:
    out = tmp_path / "curation/vocabulary.npy"
    embed.run_vocabulary(config, captions=captions, clip=clip, out=out)
    vectors, encoder = np.load(out), load_encoder(config.clip, clip)
    expected = encoder.texts(["a photo of a cat", "a photo of a brick wall"])
    assert vectors.dtype == np.float32 and np.array_equal(vectors, expected)
    described = read_json(vectors_manifest(out))
    assert (described["rows"], described["clip"], described["sha256"]) == (2, encoder.facts, file_sha256(out))
    assert described["vocabulary_sha256"] == file_sha256(captions / "vocabulary.txt")
    (captions / "vocabulary.txt").write_text("")
    with pytest.raises(DataError, match=r"vocabulary\.txt is empty"):
        embed.run_vocabulary(config, captions=captions, clip=clip, out=out)
    (captions / "vocabulary.txt").unlink()
    with pytest.raises(DataError, match=r"Cannot read .*vocabulary\.txt"):
        embed.run_vocabulary(config, captions=captions, clip=clip, out=out)


@pytest.mark.parametrize("change", ["words", "clip", "code", "a cut file", "no file", "no manifest"])
def test_a_vocabulary_that_still_holds_is_not_embedded_again(
    config: Config, clip: Path, captions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    out, asked = tmp_path / "vocabulary.npy", []
    texts = ClipEncoder.texts
    monkeypatch.setattr(ClipEncoder, "texts", lambda self, said: asked.append(said) or texts(self, said))
    for _ in range(2):
        embed.run_vocabulary(config, captions=captions, clip=clip, out=out)
    assert len(asked) == 1
    if change == "words":
        (captions / "vocabulary.txt").write_text("brick wall\ncat\n")
    elif change == "clip":
        clip = other_weights(clip, tmp_path / "clip")
    elif change == "code":
        monkeypatch.setattr(stamp, "code_fingerprint", lambda module: f"another {module}")
    elif change == "a cut file":
        out.write_bytes(out.read_bytes()[:-1])
    else:
        (out if change == "no file" else vectors_manifest(out)).unlink()
    for _ in range(2):
        embed.run_vocabulary(config, captions=captions, clip=clip, out=out)
    assert len(asked) == 2
    assert read_json(vectors_manifest(out))["sha256"] == file_sha256(out)
