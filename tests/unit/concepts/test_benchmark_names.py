from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cocu.benchmarks.definitions import SHIPPED, read_benchmark
from cocu.concepts.benchmark_names import benchmark_names, held_out_names, readings
from cocu.errors import ConfigError

CLASSES = {
    "voc": 20, "context": 59, "coco_object": 80, "imagenet_s_50": 50,
    "imagenet_s_300": 300, "coco_stuff": 171, "cityscapes": 19, "ade20k": 150,
}  # fmt: skip


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of one's own definitions, with one of two classes and a background."""
    folder = tmp_path / "config/benchmarks"
    folder.mkdir(parents=True)
    voc = yaml.safe_load((SHIPPED / "voc.yaml").read_text())
    classes = {"classes": ["background", "person", "tvmonitor"], "prompts": [None, "person, people", "tv/monitor"]}
    (folder / "office.yaml").write_text(yaml.safe_dump({**voc, **classes}))
    monkeypatch.chdir(tmp_path)
    return folder


def test_all_eight_with_their_numbers_of_classes() -> None:
    assert {benchmark: len(classes) for benchmark, classes in benchmark_names().items()} == CLASSES


def test_names_are_the_words_that_classes_are_asked_for_with() -> None:
    names = benchmark_names()
    assert [name[0] for name in names["voc"]][10:12] == ["table", "dog"]  # not diningtable, and no background
    for benchmark, classes in names.items():
        assert [name[0] for name in classes] == read_benchmark(benchmark).words


def test_ones_own_definitions_are_read(own: Path) -> None:
    assert benchmark_names(["office"]) == {"office": [["person", "people"], ["tv", "monitor"]]}
    (own / "voc.yaml").write_bytes((own / "office.yaml").read_bytes())
    assert (len(benchmark_names()["voc"]), len(benchmark_names()["context"])) == (2, 59)


def test_a_wrong_name_is_named_with_its_key(own: Path) -> None:
    with pytest.raises(ConfigError) as error:
        held_out_names(["voc", "ofice"])
    said = str(error.value)
    assert said.startswith("curate.vocabulary.exclude_benchmarks: No benchmark 'ofice'; did you mean 'office'?")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("sky-other", ["sky-other", "sky"]),
        ("wall-brick", ["wall-brick", "brick wall"]),
        ("three-toed sloth", ["three-toed sloth"]),
        ("sofa, couch/settee", ["sofa", "couch", "settee"]),
    ],
)
def test_readings(name: str, found: list[str]) -> None:
    assert readings(name) == found
