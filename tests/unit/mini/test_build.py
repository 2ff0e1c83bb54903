"""The corpus: draws are reproducible and independent, names mean what they say, missing shards are explained."""

import re
from pathlib import Path

import numpy as np
import pytest

from cocu.config import Config
from cocu.errors import ConfigError
from cocu.io import file_sha256, read_json
from cocu.layout import Corpus, scenes
from cocu.mini import build
from cocu.mini.truth import read_truth
from cocu.mini.world import NAMES, load_sprites
from cocu.pairs.images import decode_image
from cocu.pairs.index import read_index, read_pairs
from cocu.pairs.reader import ShardReader
from cocu.pairs.shards import index_shard, manifest_shards


def compose(config: Config, corpus: str, folder: Path) -> Path:
    out = Corpus(folder / corpus)
    build.run(config, corpus=corpus, out=out, truth=folder / "truth" / corpus)
    return out.manifest


def test_manifest_truth_and_shards_agree(config: Config, tmp_path: Path) -> None:
    manifest = compose(config, "train3", tmp_path)
    files = manifest_shards(manifest)
    assert [f.samples for f in files] == [3, 3, 1] and read_json(manifest)["counts"] == {"pairs": 7}
    assert [f.shard for f in files] == ["train3/00000", "train3/00001", "train3/00002"]
    assert [(f.sha256, f.size) for f in files] == [(file_sha256(f.path), f.path.stat().st_size) for f in files]
    assert all(f.path == tmp_path / "train3/shards" / f"{f.shard}.tar" for f in files)
    assert all(np.array_equal(read_index(f).spans, index_shard(f.path).spans) for f in files)
    reader = ShardReader(files)
    truths = [read_truth(scenes(tmp_path / "truth/train3", f.shard)) for f in files]
    assert [reader.key(i) for i in range(7)] == [key for truth in truths for key in truth.keys]
    assert reader.key(4) == "train3/00001/0000004"
    for i, mask in enumerate(np.concatenate([truth.masks for truth in truths])):
        assert decode_image(reader.image(i), reader.key(i)).shape == (*mask.shape, 3)


def test_web_captions_name_all_that_is_visible_or_stop_early_and_train_captions_name_less(
    config: Config, tmp_path: Path
) -> None:
    named = {}
    for corpus in ("web", "train0"):
        compose(config, corpus, tmp_path)
        named[corpus] = []
        for shard in manifest_shards(tmp_path / corpus / "manifest.json"):
            truth = read_truth(scenes(tmp_path / "truth" / corpus, shard.shard))
            for pair, visible in zip(read_pairs(shard), truth.visible, strict=True):
                words = set(pair.caption.replace(",", "").split())
                named[corpus].append([name in words for name in np.array(NAMES)[visible]])
    complete = [all(row) for row in named["web"]]
    assert len(complete) / 2 < sum(complete) < len(complete)  # every other one may stop early, after one name at least
    assert all(any(row) for row in named["web"])
    assert sum(map(sum, named["train0"])) < sum(map(len, named["train0"]))


def test_shards_have_scenes_of_their_own_and_only_the_web_has_complete_captions(config: Config) -> None:
    world, sprites = config.corpus.mini, load_sprites()
    first, second = (build.draw_shard(world, sprites, "train", 0, number, 3) for number in (0, 1))
    assert len({scene.image.tobytes() for _, scene, _ in first + second}) == 6
    assert all(caption == scene.caption for _, scene, caption in first + second)
    complete = build.draw_shard(world, sprites, "web", 0, 0, 12)
    assert all(re.fullmatch(r"a photo of an? \w+(, an? \w+)*( and an? \w+)?", caption) for _, _, caption in complete)
    assert any(caption != scene.caption for _, scene, caption in complete)


def test_a_jpeg_keeps_colours_of_single_pixels() -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    image[:, ::2], image[:, 1::2] = (200, 40, 40), (40, 40, 200)
    decoded = decode_image(build.encode_jpeg(image), "k")
    assert np.abs(decoded.astype(int) - image).max() < 25  # with chroma at half the resolution, 80 and more


def test_draws_are_reproducible_and_differ_by_seed(config: Config, tmp_path: Path) -> None:
    def hashes(corpus: str, folder: str) -> list[str]:
        return [f.sha256 for f in manifest_shards(compose(config, corpus, tmp_path / folder))]

    first = hashes("train0", "a")
    assert hashes("train0", "b") == first
    assert set(hashes("train1", "a")).isdisjoint(first) and len(set(first)) == 3


def test_a_shorter_rerun_leaves_no_old_files(config: Config, tmp_path: Path) -> None:
    compose(config, "web", tmp_path)
    fewer = config.corpus.model_copy(update={"mini": config.corpus.mini.model_copy(update={"web_pairs": 3})})
    compose(config.model_copy(update={"corpus": fewer}), "web", tmp_path)
    files = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert files == {
        *("web/manifest.json", "web/shards/web/00000.tar", "web/index/web/00000.parquet"),
        "truth/web/web/00000.npz",
    }


def test_a_corpus_can_be_moved_and_needs_no_truth(config: Config, tmp_path: Path) -> None:
    build.run(config, corpus="web", out=Corpus(tmp_path / "here"), truth=None)
    (tmp_path / "here").rename(tmp_path / "there")
    assert len(ShardReader(manifest_shards(tmp_path / "there/manifest.json"))) == 5
    assert {p.name for p in (tmp_path / "there").iterdir()} == {"manifest.json", "shards", "index"}


def test_the_stamp_is_of_the_draw(config: Config, tmp_path: Path) -> None:
    def stamp(corpus: str, **changes: int) -> object:
        mini = config.corpus.mini.model_copy(update=changes)
        changed = config.model_copy(update={"corpus": config.corpus.model_copy(update={"mini": mini})})
        return read_json(compose(changed, corpus, tmp_path))["stamp"]

    web = stamp("web")
    assert web == stamp("web") == stamp("web", train_pairs=3)  # which is another draw's size
    assert web not in (stamp("train0"), stamp("web", web_pairs=3), stamp("web", seed=1))


@pytest.mark.parametrize("corpus", ["train", "webs", "xtrain1", "train-1"])
def test_other_names_are_refused(config: Config, tmp_path: Path, corpus: str) -> None:
    with pytest.raises(ConfigError, match=f"no corpus '{corpus}'"):
        compose(config, corpus, tmp_path)
