from __future__ import annotations

from pathlib import Path

import pytest

from cocu import cli
from cocu.segment import photos


def call(*arguments: object) -> int:
    """The exit code of `cocu ARGUMENTS`, run in this process."""
    with pytest.raises(SystemExit) as end:
        cli.app([str(a) for a in arguments])
    return int(end.value.code or 0)


def test_segment_gets_what_is_given_and_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, object]] = []
    monkeypatch.setattr(photos, "run", lambda images, **given: seen.append({"images": images, **given}))
    assert call("segment", "a.jpg", "b", "--classes", "cat, dog", "--checkpoint", "m") == 0
    more = ["--background", 0.9, "--size", 96, "--processes", 3, "--device", "cpu", "--out", "o"]
    assert call("segment", "a.jpg", "--classes", "cat", "--checkpoint", "m", *more) == 0
    assert seen[0] == {
        "images": [Path("a.jpg"), Path("b")], "classes": "cat, dog", "checkpoint": Path("m"), "background": None,
        "size": None, "out": Path("segmented"), "processes": 1, "device": "auto",
    }  # fmt: skip
    assert {k: seen[1][k] for k in ("background", "size", "processes", "device", "out")} == {
        "background": 0.9, "size": 96, "processes": 3, "device": "cpu", "out": Path("o"),
    }  # fmt: skip


def test_errors_have_their_exit_codes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    given = ["segment", tmp_path / "a.jpg", "--checkpoint", tmp_path / "m", "--classes"]
    assert call(*given, "cat,") == 2
    assert call(*given, "cat") == 3
    assert (
        capsys.readouterr().err.splitlines()[-1]
        == f"cocu: {tmp_path}/a.jpg does not exist: give image files, or folders of them."
    )
