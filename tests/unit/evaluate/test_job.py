"""A job takes a model's benchmarks together: loaded once, each kept when it is done, none lost with another."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cocu.benchmarks.definitions import Benchmark, read_benchmark
from cocu.config import Config, Corpus, Evaluate, Reference
from cocu.errors import DataError
from cocu.evaluate import job, stage
from cocu.model import hub

Make, Write = Callable[..., Benchmark], Callable[..., Path]
Scenes = tuple[list[Any], list[Any]]


@pytest.fixture
def config(checkpoint: Path, model: Any, write_voc: Write, scenes: Scenes, tmp_path: Path) -> Config:
    """Two benchmarks of the same images, below results/tiny and config/benchmarks of the working folder."""
    os.makedirs("results/tiny/checkpoints/cocu")
    checkpoint.rename("results/tiny/checkpoints/cocu/3")
    root = write_voc(*scenes)
    for split in ("val", "test"):
        Path(f"results/tiny/benchmarks/{split}").parent.mkdir(exist_ok=True)
        Path(f"results/tiny/benchmarks/{split}").symlink_to(root)
    definition = Path("config/benchmarks/tiny.yaml").read_text()
    Path("config/benchmarks/twin.yaml").write_text(definition)
    return Config(
        experiment="tiny",
        seeds=(3,),
        arms={"groupvit": {}, "cocu": {}},
        corpus=Corpus(kind="mini"),
        model=model.config,
        evaluate=Evaluate(benchmarks=("tiny", "twin"), backgrounds=(0.1, 1.0)),
    )


def run(config: Config, *arms: str) -> None:
    job.run(config, arms=arms or ("cocu",), seed=3, benchmarks=config.evaluate.benchmarks)


def result(benchmark: str, arm: str = "cocu") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(f"results/tiny/metrics/{arm}/3/{benchmark}.json").read_text())
    return found


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The benchmarks that were scored."""
    names: list[str] = []

    def counted(config: Config, source: stage.Source, definition: Benchmark, *rest: Any, **how: Any) -> Any:
        names.append(definition.name)
        return stage.scored(config, source, definition, *rest, **how)

    monkeypatch.setattr(job, "scored", counted)
    return names


def test_rows_and_benchmarks_of_one_model_are_those_of_jobs_of_their_own(
    config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loaded: list[Path] = []
    load = hub.load_model
    monkeypatch.setattr(hub, "load_model", lambda folder, device: loaded.append(folder) or load(folder, device))
    run(config, "cocu", "one_label")
    assert loaded == [Path("results/tiny/checkpoints/cocu/3")]
    data = Path("results/tiny/benchmarks/test")
    alone = {"checkpoint": loaded[0], "reference": None, "clip": None, "val": data, "test": data}
    for benchmark in ("tiny", "twin"):
        for arm in ("cocu", "one_label"):
            out = tmp_path / "alone.json"
            stage.run(config, arm=arm, seed=3, **alone, benchmark=benchmark, one_label=arm == "one_label", out=out)
            expected, found = json.loads(out.read_text()), result(benchmark, arm)
            assert {**expected, "card": None} == {**found, "card": None}
    assert result("tiny")["confusion"] != result("tiny", "one_label")["confusion"]


def test_what_is_done_is_kept_though_its_output_is_deleted(config: Config, scored: list[str]) -> None:
    run(config)
    before = result("twin")
    for name in ("tiny", "twin"):
        Path(f"results/tiny/metrics/cocu/3/{name}.json").unlink()  # as Snakemake does before it repeats a job
    run(config)
    assert scored == ["tiny", "twin"] and result("twin") == before
    file = Path("config/benchmarks/tiny.yaml")
    protocol = read_benchmark("tiny").protocol_hash()
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "stride": 4}))
    assert read_benchmark("tiny").protocol_hash() != protocol
    run(config)
    assert scored == ["tiny", "twin", "tiny"]


@pytest.mark.parametrize("what", ["weights", "settings", "code", "file", "manifest"])
def test_a_result_is_kept_no_longer_than_what_decides_it(
    config: Config, scored: list[str], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Path("results/tiny/benchmarks/test")
    if what == "manifest":
        (data / "manifest.json").write_text("{}")
    run(config)
    if what == "weights":
        monkeypatch.setattr(stage.Source, "weights_sha256", lambda self: "others")
    elif what == "settings":
        limited = config.evaluate.model_copy(update={"limit": 1})
        config = config.model_copy(update={"evaluate": limited})
    elif what == "code":
        monkeypatch.setattr("cocu.stamp.code_fingerprint", lambda module: "other")
    elif what == "manifest":
        (data / "manifest.json").write_text("{ }")
    else:
        mask = next(p for p in data.rglob("*.png"))
        os.utime(mask, ns=(1, 1))
    run(config)
    assert scored == ["tiny", "twin"] * 2


def test_a_benchmark_that_fails_loses_no_other(
    config: Config, scored: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Path("config/benchmarks/tiny.yaml").read_text()
    Path("config/benchmarks/tiny.yaml").write_text(yaml.safe_dump({**yaml.safe_load(whole), "images": "elsewhere"}))
    with pytest.raises(DataError, match="The images of the benchmark tiny are missing"):
        run(config)
    assert "tiny failed (cocu, seed 3)" in capsys.readouterr().err
    assert result("twin")["images"] == 4 and scored == ["tiny", "twin"]
    Path("config/benchmarks/tiny.yaml").write_text(whole)
    run(config)
    assert scored == ["tiny", "twin", "tiny"] and result("tiny")["images"] == 4


@pytest.mark.parametrize(
    ("arm", "behind"),
    [
        ("cocu", (Path("results/tiny/checkpoints/cocu/3"), None, None)),
        ("one_label", (Path("results/tiny/checkpoints/cocu/3"), None, None)),
        ("clip", (None, "clip", Path("results/tiny/clip"))),
    ],
)
def test_a_row_is_evaluated_from_what_is_behind_it(
    config: Config, arm: str, behind: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []

    def pick(config: Config, *given: Any) -> stage.Source:
        asked.append(given)
        return stage.Source(checkpoint=Path("results/tiny/checkpoints/cocu/3"))

    monkeypatch.setattr(job, "pick_source", pick)
    config = config.model_copy(update={"references": {"clip": Reference(clip="stand-in")}})
    run(config, arm)
    assert asked == [behind]
