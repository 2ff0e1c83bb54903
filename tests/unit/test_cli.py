from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from cocu import cli
from cocu.config import Config, load
from cocu.errors import ConfigError, DataError, EnvironmentFault, NumericsError

ROOT = Path(__file__).parents[2]
BASE = ["--config", str(ROOT / "config/config.yaml")]


def call(*arguments: object) -> int:
    """The exit code of `cocu ARGUMENTS`, run in this process."""
    with pytest.raises(SystemExit) as end:
        cli.app([str(a) for a in arguments])
    return int(end.value.code or 0)


def test_config_prints_the_resolved_configuration(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    overlay = tmp_path / "over.yaml"
    overlay.write_text("train: {lr: 0.5}")
    assert call("config", *BASE, "--config", overlay) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["train"]["lr"] == 0.5
    assert printed["train"]["batch_size"] == load([ROOT / "config/config.yaml"]).train.batch_size


def test_a_wrong_key_is_one_sentence_and_exit_code_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    overlay = tmp_path / "over.yaml"
    overlay.write_text("train: {lrr: 0.5}")
    assert call("config", *BASE, "--config", overlay) == 2
    captured = capsys.readouterr()
    assert captured.err == "cocu: Unknown key train.lrr; did you mean 'lr'? Correct or remove it.\n"
    assert captured.out == ""


@pytest.mark.parametrize(
    ("error", "code"), [(ConfigError, 2), (DataError, 3), (NumericsError, 4), (EnvironmentFault, 5)]
)
def test_exit_codes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: type[Exception], code: int
) -> None:
    from cocu.report import tables

    def fail(*_: object, **__: object) -> None:
        raise error("A sentence.\nAnother one.")

    monkeypatch.setattr(tables, "run", fail)
    assert call("stage", "tables", *BASE) == code
    assert capsys.readouterr().err == "cocu: A sentence.\ncocu: Another one.\n"


def test_an_error_that_no_user_can_act_on_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    from cocu.report import tables

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(tables, "run", fail)
    with pytest.raises(ZeroDivisionError):
        cli.app(["stage", "tables", *BASE])


def test_train_gets_the_arm_applied_and_paths_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from cocu.train import loop

    seen: dict[str, object] = {}

    def run(config: Config, **given: object) -> None:
        seen.update(given, config=config)

    monkeypatch.setattr(loop, "run", run)
    assert call("train", *BASE, "--arm", "cocu", "--seed", 3, "--curation", "mine", "--out", "o") == 0
    config = seen.pop("config")
    assert isinstance(config, Config)
    assert (config.train.prompts.source, config.arm("groupvit").train.prompts.source) == ("archive", "archive")
    assert seen == {
        "arm": "cocu", "seed": 3, "corpus": Path("mine/corpus/manifest.json"), "captions": Path("mine/captions"),
        "archive": Path("mine/archive"), "val": None, "out": Path("o"), "state": Path("o/state"),
    }  # fmt: skip
    assert call("train", *BASE, "--arm", "groupvit", "--curation", "mine", "--val", "v", "--out", "o") == 0
    assert (seen["archive"], seen["seed"], seen["val"]) == (None, 0, Path("v"))


@pytest.mark.parametrize(("verb", "word"), [("--help", "curate"), ("config --schema", "additionalProperties")])
def test_help_and_schema_load_no_heavy_package(verb: str, word: str) -> None:
    typed = f"try: cli.app({verb.split()})\nexcept SystemExit: pass\n"
    code = f"import sys; from cocu import cli\n{typed}print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    *printed, loaded = run.stdout.splitlines()
    assert any(word in line for line in printed)
    modules = set(loaded.split())
    assert "typer" in modules
    assert not modules & {"torch", "numpy", "mmseg", "open_clip", "faiss", "matplotlib", "numba", "pyarrow"}


def test_every_verb_has_a_help_text() -> None:
    verbs = typer.main.get_command(cli.app).commands
    inner = verbs["archive"].commands
    assert set(inner) == {"show", "stats", "export"}
    typed = {"curate", "archive", "vocabulary", "check", "convert", "train", "evaluate", "segment", "import", "export"}
    assert set(verbs) == typed | {"config", "stage"}
    assert all(verb.help for verb in [*verbs.values(), *inner.values()])


def test_config_refuses_an_arm_that_cannot_be_trained_and_a_clip_that_does_not_exist(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    overlay = tmp_path / "over.yaml"
    overlay.write_text("arms: {cocu: {train: {augment: {rand_augment: rand-n16-tweights}}}}")
    assert call("config", *BASE, "--config", overlay) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("cocu: arm 'cocu' cannot be trained with its train.augment (Cannot take a larger")
    assert captured.out == ""
    overlay.write_text("references: {other: {clip: ViT-B-61, pretrained: openai}}")
    assert call("config", *BASE, "--config", overlay) == 2
    assert capsys.readouterr().err.startswith("cocu: references.other: open_clip has no model 'ViT-B-61'")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("evaluate: {benchmarks: [mini_vok]}", "cocu: No benchmark 'mini_vok'; did you mean 'mini_voc'? "),
        (
            "curate: {vocabulary: {exclude_benchmarks: [vok]}}",
            "cocu: curate.vocabulary.exclude_benchmarks: No benchmark 'vok'; did you mean 'voc'? ",
        ),
    ],
)
def test_config_refuses_a_benchmark_that_is_not_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, said: str
) -> None:
    overlay = tmp_path / "over.yaml"
    overlay.write_text(text)
    assert call("config", *BASE, "--config", overlay) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(said) and captured.out == ""


def test_a_verb_for_ones_own_files_reads_the_configuration_that_is_there_and_needs_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from cocu.evaluate import stage

    limits: list[int] = []
    monkeypatch.setattr(stage, "run", lambda config, **_: limits.append(config.evaluate.limit))
    monkeypatch.chdir(tmp_path)
    command = ("evaluate", "--benchmark", "voc", "--test", "data", "--out", "voc.json", "--checkpoint", "m")
    assert call(*command) == 0
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.yaml").write_text("evaluate: {limit: 3}")
    (tmp_path / "other.yaml").write_text("evaluate: {limit: 4}")
    assert call(*command) == call(*command, "--config", "other.yaml") == 0
    assert limits == [0, 3, 4]


def test_without_a_configuration_an_experiment_says_where_to_get_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("config") == 2
    assert capsys.readouterr().err == (
        "cocu: Cannot read the configuration file config/config.yaml: No such file or directory. Run in the "
        "experiment's folder, or name its file with --config (the project's config/config.yaml is one to start from).\n"
    )
