"""The package as a wheel has it: what people do without the repository works from an empty folder."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from cocu.benchmarks.definitions import read_benchmark
from cocu.model.transformers import export_checkpoint
from cocu.pairs.shards import write_shard
from tests.unit.benchmarks import real_formats
from tests.unit.model.test_transformers import SMALL, made

ROOT = Path(__file__).parents[2]
PARTS = ("pyproject.toml", "README.md", "LICENSE", "NOTICE", "cocu")
CLIP = {  # a model that open_clip is told of before the verb runs
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
RUN = "import cocu.cli; print(cocu.__file__); cocu.cli.app()"
KNOWN = "import open_clip; open_clip.add_model_config({path!r}); "
TEXTS = ("a cat and a dog", "a cat", "a photo", "a dog", "a dog and grass", "grass")

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Wheel:
    """An unpacked wheel, and an empty folder to work in."""

    package: Path
    work: Path

    def cocu(self, *arguments: object, code: int = 0, before: str = "") -> str:
        """What a verb says, after the Python in `before`; the wheel's code must run, and end with `code`."""
        environment = {**os.environ, "PYTHONPATH": str(self.package)}
        command = [sys.executable, "-P", "-c", before + RUN, *map(str, arguments)]
        run = subprocess.run(command, cwd=self.work, env=environment, capture_output=True, text=True)
        assert run.returncode == code, run.stdout + run.stderr
        where, _, printed = run.stdout.partition("\n")
        assert where == str(self.package / "cocu/__init__.py")
        return printed + run.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Wheel:
    root = tmp_path_factory.mktemp("wheel")
    source = root / "source"
    source.mkdir()
    for part in PARTS:  # a build writes into the folder that it builds from
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, source / part)
    pip = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "--no-index"]
    built = subprocess.run([*pip, "--wheel-dir", str(root)], cwd=source, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (file,) = root.glob("cocu-*.whl")
    with zipfile.ZipFile(file) as archive:
        archive.extractall(root / "package")
    (root / "work").mkdir()
    return Wheel(root / "package", root / "work")


@pytest.fixture(scope="module")
def checkpoint(wheel: Wheel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small GroupViT as `cocu import` made it of transformers' files."""
    root = tmp_path_factory.mktemp("models")
    made(root / "ours", SMALL)
    export_checkpoint(root / "ours", root / "theirs")
    wheel.cocu("import", "--hf", root / "theirs", "--out", root / "imported")
    return root / "imported"


def test_it_has_what_the_package_has_and_nothing_else(wheel: Wheel) -> None:
    def files(folder: Path) -> set[str]:
        found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return {str(path.relative_to(folder)) for path in found}

    assert files(wheel.package / "cocu") == files(ROOT / "cocu")
    assert {path.name.partition("-")[0] for path in wheel.package.iterdir()} == {"cocu"}


def test_curate(wheel: Wheel, tmp_path: Path) -> None:
    colours = ((200, 30, 40), (20, 60, 190), (30, 160, 60))
    samples = []
    for i in range(18):
        stream = io.BytesIO()
        real_formats.picture((64, 64)).point(lambda v, i=i: (v + colours[i % 3][0] + i) % 256).save(stream, "JPEG")
        samples.append((f"{i:05}", stream.getvalue(), TEXTS[i % 6]))
    write_shard(tmp_path / "00000.tar", samples)
    model = open_clip.factory.CLIP(CLIP["embed_dim"], CLIP["vision_cfg"], CLIP["text_cfg"])
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    (tmp_path / "tiny.json").write_text(json.dumps(CLIP))
    known = KNOWN.format(path=str(tmp_path / "tiny.json"))
    options = ["--clip", "tiny", "--pretrained", tmp_path / "weights.pt", "--min-count", 2, "--neighbours", 4]
    command = ["curate", "--shards", tmp_path / "00000.tar", *options, "--out", tmp_path / "out"]
    said = wheel.cocu(*command, before=known)
    assert "18 pairs have" in said
    assert (tmp_path / "out/captions/vocabulary.txt").read_text().split() == ["dog", "cat", "grass"]
    numbers = wheel.cocu("archive", "stats", "--curation", tmp_path / "out")
    assert ["voc", "20", "2", "2"] in [line.split() for line in numbers.splitlines()]


def test_segment(wheel: Wheel, checkpoint: Path, tmp_path: Path) -> None:
    real_formats.picture((24, 32)).save(tmp_path / "photo.png")
    wheel.cocu("segment", tmp_path / "photo.png", "--classes", "cat, dog", "--checkpoint", checkpoint)
    assert {path.name for path in (wheel.work / "segmented").iterdir()} == {
        "photo.overlay.png", "photo.labels.png", "photo.json"
    }  # fmt: skip


def test_a_benchmark_is_evaluated_as_it_is_shipped_until_ones_own_takes_its_place(
    wheel: Wheel, checkpoint: Path, tmp_path: Path
) -> None:
    real_formats.write("voc", tmp_path)
    given = ["--benchmark", "voc", "--test", tmp_path, "--out", tmp_path / "voc.json"]
    wheel.cocu("evaluate", "--checkpoint", checkpoint, *given)
    result = json.loads((tmp_path / "voc.json").read_text())
    assert result["protocol"] == read_benchmark("voc").protocol_hash()
    assert result["images"] == 2 and np.sum(result["confusion"]) > 500
    shipped = wheel.package / "cocu/benchmarks/shipped/voc.yaml"
    assert f"defined by    {shipped}\n" in wheel.cocu("check", "benchmark", "voc", "--data", tmp_path)
    own = wheel.work / "config/benchmarks/kitchen.yaml"
    own.parent.mkdir(parents=True)
    shutil.copy(shipped, own)
    said = wheel.cocu("check", "benchmark", "kitchn", code=2)
    assert "did you mean 'kitchen'? " in said and "Known from config/benchmarks: kitchen; from " in said
    own.rename(own.with_name("voc.yaml"))
    assert "defined by    config/benchmarks/voc.yaml\n" in wheel.cocu("check", "benchmark", "voc", code=3)


def test_what_needs_an_experiment_says_so(wheel: Wheel) -> None:
    said = wheel.cocu("config", code=2)
    assert "config/config.yaml: No such file or directory. Run in the experiment's folder" in said
    assert "cocu 0." in wheel.cocu("--version")
