from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cocu.benchmarks.definitions import SHIPPED, definition_file, read_benchmark, showcase
from cocu.errors import ConfigError
from cocu.mini.world import NAMES, OBJECTS

HASHES = {  # of the results that exist: another one would part them from those to come
    "voc": "c5c499b14e85", "context": "7f755b0864a4", "coco_object": "dd78e5f61302", "imagenet_s_50": "d1df1aafde5e",
    "imagenet_s_300": "79b76593123d", "coco_stuff": "0db0762b14d1", "cityscapes": "6ff9b6f38d82",
    "ade20k": "2805524db90b", "mini_voc": "b86cc354515b", "mini_context": "6c6c17c56c1e",
    "mini_coco_object": "adcb341e4fac", "mini_imagenet_s_50": "f023eeb636a6", "mini_imagenet_s_300": "e486f387a9f3",
    "mini_coco_stuff": "541c4ba38cbb", "mini_cityscapes": "0e20fbe3cbc5", "mini_ade20k": "78151e1ee2cb",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "classes", "threshold", "renamed"),
    [
        ("voc", 21, 0.95, {"diningtable": "table", "pottedplant": "plant", "tvmonitor": "monitor"}),
        ("context", 60, 0.35, {"aeroplane": "airplane", "pottedplant": "plant", "tvmonitor": "monitor"}),
    ],
)
def test_the_published_protocol(name: str, classes: int, threshold: float, renamed: dict[str, str]) -> None:
    benchmark = read_benchmark(name)
    assert (benchmark.background_threshold, benchmark.scale) == (threshold, (2048, 448))
    assert (benchmark.window, benchmark.stride, benchmark.templates) == (448, 224, ("a photo of a {}.",))
    assert len(benchmark.classes) == classes and benchmark.prompts[0] is None
    pairs = zip(benchmark.classes[1:], benchmark.prompts[1:], strict=True)
    assert {c: p for c, p in pairs if c != p} == renamed


def test_the_mini_benchmarks_ask_for_the_mini_world() -> None:
    assert set(read_benchmark("mini_voc").words) == set(OBJECTS)
    assert set(read_benchmark("mini_context").words) == set(NAMES)


def test_the_hash_follows_the_protocol_and_not_the_name(tmp_path: Path) -> None:
    data = yaml.safe_load((SHIPPED / "voc.yaml").read_text())
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(data))
    (tmp_path / "moved.yaml").write_text(yaml.safe_dump({**data, "stride": 112}))
    swapped = [data["classes"][0], data["classes"][2], data["classes"][1], *data["classes"][3:]]
    (tmp_path / "swapped.yaml").write_text(yaml.safe_dump({**data, "classes": swapped}))
    other, moved, order = (read_benchmark(n, tmp_path).protocol_hash() for n in ("other", "moved", "swapped"))
    assert read_benchmark("voc").protocol_hash() == other
    assert len({other, moved, order}) == 3


def test_the_shipped_protocols_have_the_hashes_of_the_results() -> None:
    assert {path.stem: read_benchmark(path.stem).protocol_hash() for path in SHIPPED.iterdir()} == HASHES


def test_a_file_of_the_working_folder_comes_before_a_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = yaml.safe_load((SHIPPED / "voc.yaml").read_text())
    own = tmp_path / "config/benchmarks"
    own.mkdir(parents=True)
    (own / "voc.yaml").write_text(yaml.safe_dump({**shipped, "stride": 112}))
    (own / "kitchen.yaml").write_text(yaml.safe_dump({**shipped, "stride": 100, "dataset": "PascalContextDataset"}))
    monkeypatch.chdir(tmp_path)
    assert (read_benchmark("voc").stride, read_benchmark("context").stride) == (112, 224)
    assert (read_benchmark("kitchen").name, read_benchmark("kitchen").stride) == ("kitchen", 100)
    assert read_benchmark("voc", SHIPPED).stride == 224
    assert definition_file("voc") == Path("config/benchmarks/voc.yaml")
    assert definition_file("context") == SHIPPED / "context.yaml"
    assert showcase(["voc", "kitchen"]).stride == 100


@pytest.mark.parametrize(("name", "near"), [("minivoc", "mini_voc"), ("kitchn", "kitchen")])
def test_a_missing_benchmark_is_suggested_from_both_places(tmp_path: Path, name: str, near: str) -> None:
    (tmp_path / "kitchen.yaml").touch()
    with pytest.raises(ConfigError) as error:
        read_benchmark(name, tmp_path)
    assert str(error.value).startswith(
        f"No benchmark '{name}'; did you mean '{near}'? Define it in {tmp_path}/{name}.yaml, or correct the name. "
        f"Known from {tmp_path}: kitchen; from {SHIPPED}: ade20k, cityscapes, "
    )
    with pytest.raises(ConfigError, match=r"Known from config/benchmarks: none; from "):
        read_benchmark(name)


def test_a_missing_key_names_files_that_have_it(tmp_path: Path) -> None:
    data = yaml.safe_load((SHIPPED / "voc.yaml").read_text())
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump({k: v for k, v in data.items() if k != "window"}))
    with pytest.raises(ConfigError) as error:
        read_benchmark("bad", tmp_path)
    assert str(error.value).endswith(f"bad.yaml: the key window is missing. Add it (the files in {SHIPPED} have it).")


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
    data = yaml.safe_load((SHIPPED / "voc.yaml").read_text())
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump({**data, **change}))
    with pytest.raises(ConfigError, match=message):
        read_benchmark("bad", tmp_path)
