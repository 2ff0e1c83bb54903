from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cocu.benchmarks.definitions import read_benchmark
from cocu.errors import ConfigError
from cocu.mini.world import NAMES, OBJECTS

FOLDER = Path(__file__).parents[3] / "config/benchmarks"


@pytest.mark.parametrize(
    ("name", "classes", "threshold", "renamed"),
    [
        ("voc", 21, 0.95, {"diningtable": "table", "pottedplant": "plant", "tvmonitor": "monitor"}),
        ("context", 60, 0.35, {"aeroplane": "airplane", "pottedplant": "plant", "tvmonitor": "monitor"}),
    ],
)
def test_the_published_protocol(name: str, classes: int, threshold: float, renamed: dict[str, str]) -> None:
    benchmark = read_benchmark(name, FOLDER)
    assert (benchmark.background_threshold, benchmark.scale) == (threshold, (2048, 448))
    assert (benchmark.window, benchmark.stride, benchmark.templates) == (448, 224, ("a photo of a {}.",))
    assert len(benchmark.classes) == classes and benchmark.prompts[0] is None
    pairs = zip(benchmark.classes[1:], benchmark.prompts[1:], strict=True)
    assert {c: p for c, p in pairs if c != p} == renamed


def test_the_mini_benchmarks_ask_for_the_mini_world() -> None:
    assert set(read_benchmark("mini_voc", FOLDER).words) == set(OBJECTS)
    assert set(read_benchmark("mini_context", FOLDER).words) == set(NAMES)


def test_the_hash_follows_the_protocol_and_not_the_name(tmp_path: Path) -> None:
    data = yaml.safe_load((FOLDER / "voc.yaml").read_text())
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(data))
    (tmp_path / "moved.yaml").write_text(yaml.safe_dump({**data, "stride": 112}))
    swapped = [data["classes"][0], data["classes"][2], data["classes"][1], *data["classes"][3:]]
    (tmp_path / "swapped.yaml").write_text(yaml.safe_dump({**data, "classes": swapped}))
    other, moved, order = (read_benchmark(n, tmp_path).protocol_hash() for n in ("other", "moved", "swapped"))
    assert read_benchmark("voc", FOLDER).protocol_hash() == other
    assert len({other, moved, order}) == 3


def test_a_missing_benchmark_is_suggested() -> None:
    with pytest.raises(ConfigError, match="did you mean 'mini_voc'"):
        read_benchmark("minivoc", FOLDER)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strid": 3}, "unknown key strid; did you mean 'stride'"),
        ({"prompts": ["bird"]}, "21 classes but 1 prompts"),
        ({"background": False}, r"prompt 0 \(background\) is None"),
        ({"stride": 449}, "stride 449 is larger than window 448"),
        ({"templates": ["a photo."]}, "needs exactly one"),
        ({"ignore_index": 20}, "is the id of the class tvmonitor"),
        ({"dataset": None}, "dataset: Input should be a valid string"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    data = yaml.safe_load((FOLDER / "voc.yaml").read_text())
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump({**data, **change}))
    with pytest.raises(ConfigError, match=message):
        read_benchmark("bad", tmp_path)
