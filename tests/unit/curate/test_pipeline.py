"""`cocu curate` on shards of real photographs: from end to end, killed at every rename, with another pool."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path
from typing import Any

import matplotlib.cbook
import open_clip
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from cocu import stamp
from cocu.benchmarks.definitions import SHIPPED
from cocu.clip import embed
from cocu.clip.encoder import ClipEncoder
from cocu.concepts import captions
from cocu.config import DataConfig, validate_part
from cocu.curate import archive, pipeline
from cocu.errors import ConfigError, DataError
from cocu.io import read_json, write_json
from cocu.layout import MANIFEST, Curation
from cocu.pairs import verify
from cocu.pairs.shards import write_shard
from cocu.pairs.tables import read_archive
from cocu.search import engine
from tests.unit.test_cli import call

CAPTIONS = {  # of photographs that scikit-learn and matplotlib ship; their crops get these in turn
    "china": ["a temple under a cloudy sky", "the roof of a temple", "a photo", "trees before a temple", "cloudy sky"],
    "flower": ["a flower", "a flower and a leaf", "petals of a flower in a garden", "garden", "my holiday"],
    "person": ["a woman in a uniform", "a portrait", "a woman and a flag", "flag", "a uniform"],
}


def photographs() -> dict[str, Image.Image]:
    china, flower = (Image.fromarray(image) for image in load_sample_images().images)
    person = Image.open(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).convert("RGB")
    return {"china": china, "flower": flower, "person": person}


def write_photographs(folder: Path, per_shard: int = 15, shards: int = 3) -> str:
    """Crops of the photographs as JPEGs of 64 pixels, with captions, in shards; gives their pattern."""
    pictures, number = photographs(), 0
    for shard in range(shards):
        samples = []
        for _ in range(per_shard):
            name = list(pictures)[number % 3]
            width, height = pictures[name].size
            left, top = 7 * number % (width - 200), 11 * number % (height - 200)
            stream = io.BytesIO()
            pictures[name].crop((left, top, left + 200, top + 200)).resize((64, 64)).save(stream, "JPEG")
            samples.append((f"{number:05}", stream.getvalue(), CAPTIONS[name][number // 3 % 5]))
            number += 1
        write_shard(folder / f"{shard:05}.tar", samples)
    return str(folder / f"{{00000..{shards - 1:05}}}.tar")


@pytest.fixture
def tiny_clip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """A small model that open_clip knows, and a file of its weights."""
    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
    text = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    config = {"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-clip", config)
    torch.manual_seed(0)
    torch.save(open_clip.create_model("tiny-clip").state_dict(), tmp_path / "weights.pt")
    return {"model": "tiny-clip", "pretrained": str(tmp_path / "weights.pt")}


def config_of(pattern: str, clip: dict[str, str], **curate: Any) -> DataConfig:
    """`pattern` is the shards' of one set, or of several, parted by blanks: `photos`, `photos1` and on."""
    sets = [{"name": f"photos{i or ''}", "shards": one} for i, one in enumerate(pattern.split())]
    options = {
        "corpus": {"kind": "shards", "name": "photos", "sets": sets},
        "clip": {**clip, "shards_per_job": 2},
        "curate": {"vocabulary": {"min_count": 2}, "search": {"neighbours": 4}} | curate,
    }
    return validate_part(DataConfig, options)


def archives(out: Path) -> dict[str, bytes]:
    here = Curation(out)
    files = [*here.archive.rglob("*.parquet"), *here.embeddings.rglob("*.npy"), here.vectors, here.words]
    return {str(file.relative_to(out)): file.read_bytes() for file in files}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """How many images and texts the encoder was given, call by call."""
    found: dict[str, list[int]] = {"prepared": [], "texts": []}
    for name, sizes in found.items():
        asked = getattr(ClipEncoder, name)
        monkeypatch.setattr(ClipEncoder, name, lambda self, x, a=asked, s=sizes: s.append(len(x)) or a(self, x))
    return found


def test_the_command_writes_an_archive_beside_each_shard(tmp_path: Path, tiny_clip: dict[str, str]) -> None:
    pattern, out = write_photographs(tmp_path / "shards"), tmp_path / "out"
    before = {file: file.read_bytes() for file in (tmp_path / "shards").iterdir()}
    command = ["curate", "--shards", pattern, "--clip", "tiny-clip", "--pretrained", tiny_clip["pretrained"]]
    assert call(*command, "--out", out, "--name", "photos", "--min-count", "2", "--neighbours", "4") == 0
    archive = read_archive(out / "archive", out / "captions")
    assert len(archive) == 45
    assert sorted(p.name for p in (out / "archive/photos").iterdir()) == [f"0000{i}.parquet" for i in range(3)]
    assert len(archive.concepts) > 45
    assert {"temple", "flower"} <= set((out / "captions/vocabulary.txt").read_text().split())
    assert {file: file.read_bytes() for file in (tmp_path / "shards").iterdir()} == before
    assert call("archive", "stats", "--curation", out) == 0
    assert call("archive", "show", "photos/00001/00020", "--curation", out) == 0


def test_it_equals_itself_with_shards_in_another_order_and_more_threads(
    tmp_path: Path, tiny_clip: dict[str, str]
) -> None:
    pattern = write_photographs(tmp_path / "shards")
    pipeline.run(config_of(pattern, tiny_clip), out=tmp_path / "one")
    reverse = pattern.replace("{00000..00002}", "{00002,00000,00001}")
    pipeline.run(config_of(reverse, tiny_clip, threads=2), out=tmp_path / "other")
    assert archives(tmp_path / "one") == archives(tmp_path / "other")


def test_a_stage_is_made_again_when_what_it_is_made_of_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the stages that look at pictures only the names are kept here: they take seconds."""
    calls: list[str] = []

    def counted(stage: str, work: Any) -> Any:
        return lambda *args, **kwargs: (calls.append(stage), work(*args, **kwargs))

    def made(**curate: Any) -> list[str]:
        calls.clear()
        clip = {"model": "ViT-B-16", "pretrained": "openai"}
        pipeline.run(config_of(pattern, clip, search={"neighbours": 4}, **curate), out=tmp_path / "out")
        return [*calls]

    counts = {"counts": {"images": 27, "concepts": 27}}
    monkeypatch.setattr(verify, "run", counted("corpus", verify.run))
    monkeypatch.setattr(captions, "run", counted("captions", captions.run))
    monkeypatch.setattr(embed, "run_vocabulary", lambda *_, **__: None)
    monkeypatch.setattr(embed, "run_images", lambda *_, **__: None)
    monkeypatch.setattr(archive, "run", lambda *_, curation, **__: write_json(curation.archive / MANIFEST, counts))
    pattern = write_photographs(tmp_path / "shards", per_shard=9)
    assert made() == ["corpus", "captions"]
    assert made() == []
    assert made(vocabulary={"min_count": 1, "exclude": ["temple"]}) == ["captions"]
    words = tmp_path / "words.txt"
    words.write_text("temple\nflower\n")
    assert made(vocabulary={"file": str(words)}) == ["captions"]
    words.write_text("flower\ntemple\n")
    assert made(vocabulary={"file": str(words)}) == ["captions"]
    held = {"min_count": 2, "exclude_benchmarks": ["office"]}
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"exclude_benchmarks: No benchmark 'office'"):
        made(vocabulary=held)
    assert calls == []
    own = tmp_path / "config/benchmarks/office.yaml"
    own.parent.mkdir(parents=True)
    shipped = (SHIPPED / "mini_voc.yaml").read_text()
    own.write_text(shipped)
    assert made(vocabulary=held) == ["captions"]
    own.write_text(shipped.replace("tv]", "temple]"))
    assert made(vocabulary=held) == ["captions"]
    own.write_text(shipped.replace("tv]", "temple]") + "# with the same words\n")
    assert made(vocabulary=held) == []
    assert made(vocabulary={"file": str(words)}) == ["captions"]
    shard = tmp_path / "shards/00001.tar"
    os.utime(shard, ns=(0, shard.stat().st_mtime_ns + 10**9))  # touched, and the same bytes: nothing follows
    assert made(vocabulary={"file": str(words)}) == ["corpus"]
    monkeypatch.setattr(stamp, "code_fingerprint", lambda module: f"another {module}")
    assert made(vocabulary={"file": str(words)}) == ["corpus", "captions"]


def test_what_still_holds_is_not_made_again_and_comes_back_when_it_is_deleted(
    tmp_path: Path, tiny_clip: dict[str, str], seen: dict[str, list[int]]
) -> None:
    config, out = config_of(write_photographs(tmp_path / "shards"), tiny_clip), tmp_path / "out"
    pipeline.run(config, out=out)
    expected = archives(out)
    assert sum(seen["prepared"]) == 45 and len(seen["texts"]) == 1
    shutil.rmtree(out / "embeddings")
    shutil.rmtree(out / "archive")
    pipeline.run(config, out=out)
    assert sum(seen["prepared"]) == 45 and len(seen["texts"]) == 1
    assert archives(out) == expected
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]


@pytest.mark.parametrize("lost", ["corpus/index", "captions/vocabulary.txt", "captions", "corpus/manifest.json"])
def test_what_is_deleted_of_any_stage_comes_back(tmp_path: Path, tiny_clip: dict[str, str], lost: str) -> None:
    config, out = config_of(write_photographs(tmp_path / "shards"), tiny_clip), tmp_path / "out"
    pipeline.run(config, out=out)
    expected = archives(out)
    path = out / lost
    path = path if path.is_file() else next(path.rglob("*.parquet"))
    path.unlink()
    pipeline.run(config, out=out)
    assert path.is_file() and archives(out) == expected


def test_other_weights_behind_the_same_path_embed_images_and_vocabulary_anew(
    tmp_path: Path, tiny_clip: dict[str, str], seen: dict[str, list[int]]
) -> None:
    config, out = config_of(write_photographs(tmp_path / "shards"), tiny_clip), tmp_path / "out"
    pipeline.run(config, out=out)
    before = archives(out)
    torch.manual_seed(1)
    torch.save(open_clip.create_model("tiny-clip").state_dict(), tiny_clip["pretrained"])
    pipeline.run(config, out=out)
    assert sum(seen["prepared"]) == 90 and len(seen["texts"]) == 2
    after = archives(out)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] == before[name]} == {"captions/vocabulary.txt"}
    pipeline.run(config, out=tmp_path / "anew")
    assert archives(tmp_path / "anew") == after


def test_a_changed_shard_leaves_the_others_embeddings(
    tmp_path: Path, tiny_clip: dict[str, str], seen: dict[str, list[int]]
) -> None:
    pattern, out = write_photographs(tmp_path / "shards"), tmp_path / "out"
    pipeline.run(config_of(pattern, tiny_clip), out=out)
    write_photographs(tmp_path / "few", per_shard=4, shards=1)
    shutil.copyfile(tmp_path / "few/00000.tar", tmp_path / "shards/00001.tar")
    pipeline.run(config_of(pattern, tiny_clip), out=out)
    assert sum(seen["prepared"]) == 45 + 4
    pipeline.run(config_of(pattern, tiny_clip), out=tmp_path / "anew")
    assert archives(out) == archives(tmp_path / "anew")


def test_a_shard_more_is_embedded_and_searched_alone(
    tmp_path: Path, tiny_clip: dict[str, str], seen: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archives of the others are drawn anew, for its images are among their neighbours."""
    pattern = write_photographs(tmp_path / "shards")
    searched: list[tuple[int, int]] = []
    whole = engine.search

    def counted(queries: Any, parts: Any, k: int, exclude: Any) -> Any:
        searched.append((len(queries), sum(map(len, parts))))
        return whole(queries, parts, k, exclude)

    monkeypatch.setattr(engine, "search", counted)
    pipeline.run(config_of(pattern, tiny_clip), out=tmp_path / "anew")
    assert searched == [(15, 45)] * 3
    out = tmp_path / "out"
    pipeline.run(config_of(pattern.replace("00002", "00001"), tiny_clip), out=out)
    before = archives(out)
    searched.clear(), seen["prepared"].clear()
    pipeline.run(config_of(pattern, tiny_clip), out=out)
    assert sum(seen["prepared"]) == 15
    assert searched == [(15, 15), (15, 15), (15, 45)]
    assert archives(out) == archives(tmp_path / "anew")
    assert all(archives(out)[name] != before[name] for name in before if name.startswith("archive/"))


def test_nothing_is_left_of_a_shard_that_is_gone(tmp_path: Path, tiny_clip: dict[str, str]) -> None:
    pattern, out = write_photographs(tmp_path / "shards"), tmp_path / "out"
    pipeline.run(config_of(pattern, tiny_clip), out=out)
    fewer = pattern.replace("00002", "00001")
    pipeline.run(config_of(fewer, tiny_clip), out=out)
    pipeline.run(config_of(fewer, tiny_clip), out=tmp_path / "anew")
    left, anew = ({p.relative_to(at) for p in at.rglob("*") if p.is_file()} for at in (out, tmp_path / "anew"))
    assert left == anew and archives(out) == archives(tmp_path / "anew")


def test_sets_whose_shards_have_the_same_names_are_kept_apart(tmp_path: Path, tiny_clip: dict[str, str]) -> None:
    one, two = write_photographs(tmp_path / "one"), write_photographs(tmp_path / "two", per_shard=6, shards=2)
    pipeline.run(config_of(f"{one} {two}", tiny_clip), out=tmp_path / "out")
    described = read_json(tmp_path / "out/archive/manifest.json")
    shards = [f"photos/{i:05}" for i in range(3)] + [f"photos1/{i:05}" for i in range(2)]
    assert [(s["shard"], s["rows"]) for s in described["shards"]] == list(zip(shards, [15] * 3 + [6] * 2, strict=True))
    assert call("archive", "show", "photos1/00001/00007", "--curation", tmp_path / "out") == 0
    assert call("archive", "show", "photos1/00002/00007", "--curation", tmp_path / "out") != 0


def test_a_shard_that_is_set_aside_is_curated_without_it(tmp_path: Path, tiny_clip: dict[str, str]) -> None:
    pattern, out = write_photographs(tmp_path / "shards"), tmp_path / "out"
    damaged = tmp_path / "shards/00001.tar"
    damaged.write_bytes(damaged.read_bytes()[:20_000])
    strict = config_of(pattern, tiny_clip)
    with pytest.raises(DataError, match=r"00001\.tar is not a whole tar file"):
        pipeline.run(strict, out=out)
    lenient = strict.model_copy(update={"corpus": strict.corpus.model_copy(update={"lenient": True, "max_bad": 0.5})})
    pipeline.run(lenient, out=out)
    described = read_json(out / "archive/manifest.json")
    assert [s["rows"] for s in described["shards"]] == [15, 0, 15] and described["counts"]["images"] == 30
    assert call("archive", "stats", "--curation", out) == 0
    first = archives(out)
    pipeline.run(lenient, out=out)
    assert archives(out) == first


@pytest.mark.slow
def test_killed_before_or_after_any_rename_it_ends_with_the_same_bytes(
    tmp_path: Path, tiny_clip: dict[str, str]
) -> None:
    config = config_of(write_photographs(tmp_path / "shards"), tiny_clip)
    pipeline.run(config, out=tmp_path / "whole")
    expected, torch_threads = archives(tmp_path / "whole"), torch.get_num_threads()
    torch.set_num_threads(1)
    for after in (False, True):
        out, renames = tmp_path / f"killed-{after}", 0
        while not _survives(config, out, renames, after):
            renames += 1
        assert archives(out) == expected
        assert renames > 8
    torch.set_num_threads(torch_threads)


def _survives(config: DataConfig, out: Path, renames: int, after: bool) -> bool:
    """Run in a process that dies at its rename number `renames`, or just after it; False when it died."""
    child = os.fork()
    if child == 0:
        replace, done = os.replace, 0

        def deadly(source: Any, target: Any) -> None:
            nonlocal done
            if done == renames:
                if after:
                    replace(source, target)
                os._exit(9)
            done += 1
            replace(source, target)

        os.replace = deadly
        try:
            pipeline.run(config, out=out)
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_concepts_come_from_the_pool(tmp_path: Path, tiny_clip: dict[str, str]) -> None:
    pool, own = tmp_path / "pool", tmp_path / "own"
    pipeline.run(config_of(write_photographs(tmp_path / "shards"), tiny_clip), out=pool)
    write_photographs(tmp_path / "few", per_shard=4, shards=1)
    few = str(tmp_path / "few" / "00000.tar")
    pipeline.run(config_of(few, tiny_clip, pool=str(pool)), out=own)
    assert Curation(own).words.read_bytes() == Curation(pool).words.read_bytes()
    described = read_json(Curation(own).archive / MANIFEST)
    assert described["pool"] == {"corpus": "photos", "images": 45}
    assert described["counts"]["images"] == 4
    (tmp_path / "words.txt").write_text("temple\n")
    with pytest.raises(DataError, match="has another vocabulary"):
        pipeline.run(
            config_of(few, tiny_clip, pool=str(pool), vocabulary={"file": str(tmp_path / "words.txt")}), out=own
        )
    with pytest.raises(ConfigError, match="leave --pool out"):
        pipeline.run(config_of(few, tiny_clip, pool=str(pool)), out=pool)
