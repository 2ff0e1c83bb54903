from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cocu.benchmarks.definitions import showcase
from cocu.benchmarks.mmseg import Example
from cocu.config import Config
from cocu.errors import DataError
from cocu.report import panel
from cocu.report.panel import Strip, class_names, draw_panel
from cocu.segment.overlay import class_colours, overlay
from tests.unit.report.conftest import write_result

NAMES = ["background", "cat", "dog", "sky"]


def _image(side: int, value: int = 100) -> Any:
    return np.full((side, side, 3), value, np.uint8)


def test_panel_shows_rows_and_the_classes_that_occur(config: Config) -> None:
    truth, other = np.full((8, 8), 1), np.full((8, 8), 3)
    truth[:4] = 255
    strip = Strip(_image(8), truth, {"groupvit": other, "cocu": truth})
    figure = draw_panel(config, [strip, strip, strip], NAMES, 255)
    assert len(figure.axes) == 4 * 3
    assert [a.get_ylabel() for a in figure.axes[::3]] == ["image", "truth", "groupvit", "cocu"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["cat", "sky"]
    shown = figure.axes[6].images[0].get_array()
    assert shown is not None
    assert (shown == overlay(_image(8), other, class_colours(NAMES), 255)).all()


def test_context_format_is_shown() -> None:
    assert showcase(["mini_voc", "mini_context"]).name == "mini_context"
    assert showcase(["mini_voc"]).name == "mini_voc"
    assert class_names(showcase(["mini_context"]))[:2] == ["background", "airplane"]  # the prompt


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Metrics with thresholds; the benchmark's files and the models' predictions are stood in for."""
    for arm, background in (("groupvit", 0.25), ("cocu", 0.5)):
        write_result(tmp_path / "metrics", arm, 1, "mini_context", 30.0, {"background": background})
        write_result(tmp_path / "metrics", arm, 1, "mini_voc", 30.0, {"background": 0.9})
    examples = [Example(_image(8, i), np.full((8, 8), 1), str(i)) for i in range(9)]
    monkeypatch.setattr(panel, "Examples", lambda benchmark, test, limit: examples[:limit])
    return {"checkpoints": tmp_path / "checkpoints", "metrics": tmp_path / "metrics", "test": tmp_path / "test"}


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What the panel asks to be predicted: checkpoint, benchmark, number of images and threshold; the truth is it."""
    calls: list[tuple[object, ...]] = []

    def predict(checkpoint: Path, benchmark: Any, examples: list[Example], threshold: float) -> list[Any]:
        calls.append((checkpoint.relative_to(tmp_path).as_posix(), benchmark.name, len(examples), threshold))
        return [e.truth for e in examples]

    monkeypatch.setattr(panel, "predict", predict)
    return calls


def test_run_predicts_with_the_first_seed_and_its_thresholds(
    two_benchmarks: Config, experiment: dict[str, Path], asked: list[tuple[object, ...]], tmp_path: Path
) -> None:
    panel.run(two_benchmarks, **experiment, out=tmp_path / "figures")
    expected = [("checkpoints/groupvit/1", "mini_context", 6, 0.25), ("checkpoints/cocu/1", "mini_context", 6, 0.5)]
    assert asked == expected
    assert sorted(p.name for p in (tmp_path / "figures").iterdir()) == ["panel.png", "panel.svg"]


def test_without_a_background_the_threshold_is_0(
    config: Config, experiment: dict[str, Path], asked: list[tuple[object, ...]], tmp_path: Path
) -> None:
    for arm in ("groupvit", "cocu"):
        write_result(experiment["metrics"], arm, 1, "mini_context", 30.0, {"background": None, "val_miou": None})
    panel.run(config, **experiment, out=tmp_path / "figures")
    assert [call[-1] for call in asked] == [0.0, 0.0]


def test_metrics_without_a_threshold_are_refused(config: Config, experiment: dict[str, Path], tmp_path: Path) -> None:
    (experiment["metrics"] / "groupvit" / "1" / "mini_context.json").write_text("{}")
    with pytest.raises(DataError, match=r"groupvit/1/mini_context\.json is not a result of the evaluation"):
        panel.run(config, **experiment, out=tmp_path / "figures")
