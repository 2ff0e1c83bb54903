"""`cocu curate` on shards of real photographs: from end to end, killed at every rename, with another pool."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import matplotlib.cbook
import open_clip
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from cocu.benchmarks.definitions import SHIPPED
from cocu.clip import embed
from cocu.concepts import captions
from cocu.config import Config, DataConfig, validate_part
from cocu.curate import archive, pipeline
from cocu.errors import ConfigError, DataError
from cocu.io import read_json, write_json, write_text
from cocu.pairs import verify
from cocu.pairs.shards import write_shard
from cocu.pairs.tables import read_archive
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


def config_of(pattern: str, clip: dict[str, str], **curate: Any) -> Config:
    options = {
        "corpus": {"kind": "shards", "name": "photos", "shards": pattern},
        "clip": {**clip, "shards_per_job": 2},
        "curate": {"vocabulary": {"min_count": 2}, "search": {"neighbours": 4}} | curate,
    }
    return validate_part(DataConfig, options)


def archives(out: Path) -> dict[str, bytes]:
    files = [*(out / "archive").glob("*.parquet"), *(out / "embeddings").glob("*.npy"), out / "captions/vocabulary.txt"]
    return {str(file.relative_to(out)): file.read_bytes() for file in files}


def test_the_command_writes_an_archive_beside_each_shard(tmp_path: Path, tiny_clip: dict[str, str]) -> None:
    pattern, out = write_photographs(tmp_path / "shards"), tmp_path / "out"
    before = {file: file.read_bytes() for file in (tmp_path / "shards").iterdir()}
    command = ["curate", "--shards", pattern, "--clip", "tiny-clip", "--pretrained", tiny_clip["pretrained"]]
    assert call(*command, "--out", out, "--name", "photos", "--min-count", "2", "--neighbours", "4") == 0
    archive = read_archive(out / "archive", out / "captions")
    assert len(archive) == 45
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
    monkeypatch.setattr(embed, "run_vocabulary", counted("vocabulary", lambda *_, out, **__: write_text(out, "")))
    monkeypatch.setattr(embed, "run_images", lambda *_, **__: None)
    monkeypatch.setattr(archive, "run", lambda *_, out, **__: write_json(out / "manifest.json", counts))
    pattern = write_photographs(tmp_path / "shards", per_shard=9)
    assert made() == ["corpus", "captions", "vocabulary"]
    assert made() == []
    assert made(vocabulary={"min_count": 1, "exclude": ["temple"]}) == ["captions", "vocabulary"]
    words = tmp_path / "words.txt"
    words.write_text("temple\nflower\n")
    assert made(vocabulary={"file": str(words)}) == ["captions", "vocabulary"]
    words.write_text("flower\ntemple\n")
    assert made(vocabulary={"file": str(words)}) == ["captions", "vocabulary"]
    held = {"min_count": 2, "exclude_benchmarks": ["office"]}
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"exclude_benchmarks: No benchmark 'office'"):
        made(vocabulary=held)
    assert calls == []
    own = tmp_path / "config/benchmarks/office.yaml"
    own.parent.mkdir(parents=True)
    shipped = (SHIPPED / "mini_voc.yaml").read_text()
    own.write_text(shipped)
    assert made(vocabulary=held) == ["captions", "vocabulary"]
    own.write_text(shipped.replace("tv]", "temple]"))
    assert made(vocabulary=held) == ["captions", "vocabulary"]
    own.write_text(shipped.replace("tv]", "temple]") + "# with the same words\n")
    assert made(vocabulary=held) == []
    assert made(vocabulary={"file": str(words)}) == ["captions", "vocabulary"]
    shard = tmp_path / "shards/00001.tar"
    os.utime(shard, ns=(0, shard.stat().st_mtime_ns + 10**9))  # touched, and the same bytes: nothing follows
    assert made(vocabulary={"file": str(words)}) == ["corpus"]
    monkeypatch.setattr(pipeline, "code_fingerprint", lambda module: f"another {module}")
    assert made(vocabulary={"file": str(words)}) == ["corpus", "captions", "vocabulary"]


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


def _survives(config: Config, out: Path, renames: int, after: bool) -> bool:
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
    assert (own / "captions/vocabulary.txt").read_bytes() == (pool / "captions/vocabulary.txt").read_bytes()
    described = read_json(own / "archive/manifest.json")
    assert described["pool"] == {"corpus": "photos", "images": 45}
    assert described["counts"]["images"] == 4
    (tmp_path / "words.txt").write_text("temple\n")
    with pytest.raises(DataError, match="has another vocabulary"):
        pipeline.run(
            config_of(few, tiny_clip, pool=str(pool), vocabulary={"file": str(tmp_path / "words.txt")}), out=own
        )
    with pytest.raises(ConfigError, match="leave --pool out"):
        pipeline.run(config_of(few, tiny_clip, pool=str(pool)), out=pool)
