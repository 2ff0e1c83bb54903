"""`cocu stage`: the stage's function gets the experiment's paths, and what is not said is asked for."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from cocu.config import Config
from cocu.layout import Corpus
from tests.unit.test_cli import BASE, ROOT, call

CC3M = [*BASE, "--config", str(ROOT / "config/paper.yaml"), "--config", str(ROOT / "config/cc3m.yaml")]
MINI = Path("results/mini")


def seen(monkeypatch: pytest.MonkeyPatch, module: str, *arguments: object, function: str = "run") -> dict[str, Any]:
    """What the stage's function is given, and the configuration as `config`."""
    found: dict[str, Any] = {}

    def run(config: Config, **given: object) -> None:
        found.update(given, config=config)

    monkeypatch.setattr(importlib.import_module(module), function, run)
    assert call("stage", *arguments) == 0
    return found


def test_an_arm_trains_on_its_seeds_corpus_with_its_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    found = seen(monkeypatch, "cocu.train.loop", "train", *BASE, "--arm", "cocu", "--seed", 3)
    assert found.pop("config").train.prompts.source == "archive"
    assert found == {
        "arm": "cocu",
        "seed": 3,
        "corpus": MINI / "corpus/train3/manifest.json",
        "captions": MINI / "curation/train3/captions",
        "archive": MINI / "curation/train3/archive",
        "val": MINI / "benchmarks/val",
        "out": MINI / "checkpoints/cocu/3",
        "state": MINI / "state/train/cocu/3",
    }
    found = seen(monkeypatch, "cocu.train.loop", "train", *CC3M, "--arm", "groupvit", "--seed", 1)
    assert (found["archive"], found["val"]) == (None, None)
    assert found["captions"] == Path("results/cc3m/curation/cc3m/captions")


def test_a_model_is_evaluated_on_all_benchmarks_or_one(monkeypatch: pytest.MonkeyPatch) -> None:
    found = seen(monkeypatch, "cocu.evaluate.job", "evaluate", *BASE, "--arm", "cocu", "--seed", 2)
    config = found.pop("config")
    assert found == {"arms": ["cocu", "one_label"], "seed": 2, "benchmarks": config.evaluate.benchmarks}
    found = seen(
        monkeypatch, "cocu.evaluate.job", "evaluate", *BASE, "--arm", "clip", "--seed", 0, "--benchmark", "mini_voc"
    )
    assert (found["arms"], found["benchmarks"]) == (["clip"], ["mini_voc"])


def test_shards_are_verified_and_a_mini_corpus_is_composed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = seen(monkeypatch, "cocu.mini.build", "corpus", *BASE, "--corpus", "web")
    del found["config"]
    assert found == {"corpus": "web", "out": Corpus(MINI / "corpus/web"), "truth": None}
    found = seen(monkeypatch, "cocu.mini.build", "corpus", *BASE, "--corpus", "train1")
    assert (found["out"], found["truth"]) == (Corpus(MINI / "corpus/train1"), MINI / "truth/train1")
    found = seen(monkeypatch, "cocu.pairs.verify", "corpus", *CC3M, "--corpus", "cc3m")
    del found["config"]
    assert found == {
        "corpus": "cc3m",
        "out": Corpus(Path("results/cc3m/corpus/cc3m")),
        "copies": Path("results/cc3m/state/corpus/cc3m"),
    }


def test_an_archive_is_made_whole_or_by_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = seen(monkeypatch, "cocu.curate.archive", "archive", *BASE, "--corpus", "train0")
    assert (whole["number"], whole["curation"].archive) == (None, MINI / "curation/train0/archive")
    block = seen(monkeypatch, "cocu.curate.archive", "archive", *CC3M, "--corpus", "cc3m", "--block", 0)
    assert (block["number"], block["corpus"]) == (0, Path("results/cc3m/corpus/cc3m/manifest.json"))


@pytest.mark.parametrize(
    ("stage", "module", "folder"), [("archive", "cocu.curate.archive", "archive"), ("embed", "cocu.clip.embed", "")]
)
def test_what_is_no_block_joins_them(monkeypatch: pytest.MonkeyPatch, stage: str, module: str, folder: str) -> None:
    joined = seen(monkeypatch, module, stage, *CC3M, "--corpus", "cc3m", function="join_blocks")
    assert joined["corpus"] == Path("results/cc3m/corpus/cc3m/manifest.json")
    function = "run" if folder else "run_images"
    block = seen(monkeypatch, module, stage, *CC3M, "--corpus", "cc3m", "--block", 2, function=function)
    assert block["number"] == 2


def test_an_arms_own_curation_has_its_places_and_its_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "four.yaml").write_text("run_arms: [groupvit, cocu, cocu_4]\n")
    named = ("--config", str(tmp_path / "four.yaml"), "--corpus", "train0+neighbours-4")
    found = seen(monkeypatch, "cocu.curate.archive", "archive", *BASE, *named)
    assert found["config"].curate.search.neighbours == 4
    here = found["curation"]
    assert here.archive == MINI / "curation/train0+neighbours-4/archive"
    assert here.embeddings == MINI / "curation/train0/embeddings"


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        (("train", "--seed", 1), "train needs --arm"),
        (("embed",), "embed needs --corpus"),
        (("evaluate", "--arm", "cocu"), "evaluate needs --seed"),
        (("benchmarks",), "benchmarks needs --split"),
    ],
)
def test_what_a_stage_needs_is_asked_for(
    capsys: pytest.CaptureFixture[str], arguments: tuple[object, ...], missing: str
) -> None:
    assert call("stage", *arguments, *BASE) == 2
    assert capsys.readouterr().err == f"cocu: The stage {missing}.\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("evaluate", "--arm", "coco", "--seed", 1, "--benchmark", "mini_voc"),
            "No arm or reference 'coco' in the configuration; did you mean 'cocu'?",
        ),
        (("train", "--arm", "x", "--seed", 1), "No arm 'x' in the configuration."),
        (("import", "--arm", "clip"), "No reference 'clip' with a name of transformers (hf) in the configuration."),
    ],
)
def test_a_name_that_is_not_there_is_a_sentence(
    capsys: pytest.CaptureFixture[str], arguments: tuple[object, ...], said: str
) -> None:
    assert call("stage", *arguments, *BASE) == 2
    assert capsys.readouterr().err == f"cocu: {said}\n"


def test_a_stage_that_is_not_there_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("stage", "evalute", *BASE) == 2
    assert capsys.readouterr().err == "cocu: No stage 'evalute'; did you mean 'evaluate'?\n"


def test_a_published_clip_is_not_trained(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("stage", "clip", *CC3M) == 2
    assert capsys.readouterr().err.startswith("cocu: No CLIP is trained here: clip.model is 'ViT-B-16")


def test_a_checkpoint_that_is_not_there_is_a_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    given = ("--benchmark", "mini_voc", "--test", tmp_path, "--out", tmp_path / "voc.json")
    assert call("evaluate", *BASE, "--checkpoint", tmp_path / "none", *given) == 3
    assert "none/model.safetensors: No such file or directory" in capsys.readouterr().err
