from __future__ import annotations

import json
from pathlib import Path

import pytest

from cocu import cli
from cocu.benchmarks.definitions import SHIPPED
from tests.unit.benchmarks import real_formats
from tests.unit.benchmarks.real_formats import NAMES


def call(*arguments: object) -> int:
    """The exit code of `cocu ARGUMENTS`, run in this process."""
    with pytest.raises(SystemExit) as end:
        cli.app([str(a) for a in arguments])
    return int(end.value.code or 0)


@pytest.mark.parametrize("name", NAMES)
def test_a_sound_folder_ends_with_0_and_the_verdict(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = real_formats.write(name, tmp_path)
    assert call("check", "benchmark", name, "--data", tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{name} in {tmp_path}"
    assert lines[1] == f"images        2 listed, {folder.benchmark.image_count:,} published, 2 looked at"
    assert lines[2] == f"defined by    {SHIPPED / name}.yaml"
    assert lines[-1].startswith(f"{name} can be evaluated: 2 images")


def test_the_report_names_ones_own_definition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config/benchmarks").mkdir(parents=True)
    (tmp_path / "config/benchmarks/voc.yaml").write_bytes((SHIPPED / "voc.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    assert call("check", "benchmark", "voc") == 3  # without the data
    assert capsys.readouterr().out.splitlines()[1] == "defined by    config/benchmarks/voc.yaml"


def test_a_damaged_folder_ends_with_3_and_the_same_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = real_formats.write("voc", tmp_path)
    folder.masks[1].unlink()
    report = tmp_path / "reports/voc.json"
    assert call("check", "benchmark", "voc", "--data", tmp_path, "--json", report) == 3
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == "voc cannot be evaluated: 1 of 2 images has a fault."
    assert captured.err.startswith("checking voc: 2 in ")
    found = json.loads(report.read_text())
    assert found["faults"] == {"missing mask": [str(folder.masks[1])]}
    assert found["sound"] is False and found["verdict"] == captured.out.splitlines()[-1]
    assert found["sizes"] == [[32, 24]] * 3
    assert [name for name, _, images in found["classes"] if images] == ["background", "aeroplane", "tvmonitor"]
    assert call("check", "benchmark", "voc", "--data", tmp_path, "--limit", 1) == 0  # the first image is sound
    assert capsys.readouterr().out.splitlines()[-1] == "The first 1 of 2 images of voc can be evaluated."


def test_nothing_there_and_a_wrong_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("check", "benchmark", "ade20k", "--data", tmp_path) == 3
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1].endswith("Get them (ADEChallengeData2016 from the MIT scene parsing site).")
    assert captured.err == ""
    assert call("check", "benchmark", "ade", "--data", tmp_path) == 2
    assert "did you mean 'ade20k'" in capsys.readouterr().err


def test_convert_coco_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = real_formats.write("coco_object", tmp_path)
    before = [mask.read_bytes() for mask in folder.masks]
    for mask in folder.masks:
        mask.unlink()
    maps, out = tmp_path / "stuffthingmaps_trainval2017/val2017", folder.masks[0].parent
    assert call("convert", "coco-object", "--maps", maps, "--out", out) == 0
    assert [mask.read_bytes() for mask in folder.masks] == before
    assert call("convert", "coco-object", "--maps", tmp_path, "--out", out) == 3
    assert "No raw pixel map" in capsys.readouterr().err


def test_every_verb_has_a_help_text() -> None:
    import typer

    verbs = typer.main.get_command(cli.app).commands
    assert set(verbs["check"].commands) == {"benchmark"} and set(verbs["convert"].commands) == {"coco-object"}
    assert all(verb.help for name in ("check", "convert") for verb in verbs[name].commands.values())
