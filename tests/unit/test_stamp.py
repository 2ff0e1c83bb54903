"""What a stage's recipe and stamp change with, and what they do not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from cocu import stamp
from cocu.config import Config, validate
from cocu.io import write_json, write_text
from cocu.stamp import RECIPES, code_fingerprint, file_facts, recipe, still_holds
from cocu.yaml_file import merge, read_yaml

BASE = read_yaml(Path(__file__).parents[2] / "config/config.yaml")


def changed(**over: Any) -> Config:
    return validate(merge(BASE, over))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `cocu` with stage -> helper -> deep, stage -> sub.leaf, and a bystander."""
    sources = {
        "stamp.py": "",
        "log.py": "x = 1",
        "stage.py": "from cocu.helper import f\nfrom cocu import log\nfrom cocu.sub import leaf",
        "helper.py": "def f():\n    import cocu.deep",
        "deep.py": "x = 1",
        "bystander.py": "x = 1",
        "sub/__init__.py": "",
        "sub/leaf.py": "import cocu.helper",
    }
    for name, text in sources.items():
        write_text(tmp_path / "cocu" / name, text)
    monkeypatch.setattr(stamp, "__file__", str(tmp_path / "cocu/stamp.py"))
    return tmp_path / "cocu"


@pytest.mark.parametrize("name", ["stage.py", "helper.py", "deep.py", "sub/leaf.py", "sub/__init__.py"])
def test_a_stage_s_fingerprint_follows_its_imports(package: Path, name: str) -> None:
    before = code_fingerprint("cocu.stage")
    (package / name).write_text((package / name).read_text() + "\ny = 2")
    assert code_fingerprint("cocu.stage") != before


@pytest.mark.parametrize("name", ["bystander.py", "log.py"])
def test_a_stage_s_fingerprint_ignores_what_it_does_not_run(package: Path, name: str) -> None:
    before = code_fingerprint("cocu.stage")
    (package / name).write_text("y = 2")
    assert code_fingerprint("cocu.stage") == before


def test_comments_docstrings_and_layout_are_no_code(package: Path) -> None:
    def of(text: str) -> str:
        write_text(package / "deep.py", text)
        return code_fingerprint("cocu.stage")

    plain = of("class A:\n    def f(self, x):\n        return x + 1\n")
    for same in (
        '"""What."""\nclass A:\n    """Said."""\n\n    def f(self, x):\n        """Done."""\n        return x + 1\n',
        "# why\nclass A:\n    def f(self, x):\n        return (\n            x + 1  # one\n        )\n",
    ):
        assert of(same) == plain
    for other in (
        "class A:\n    def f(self, x):\n        return x + 2\n",
        "class A:\n    def f(self, x):\n        x + 1\n",
    ):
        assert of(other) != plain
    assert of('def f():\n    """Said."""\n') == of("def f():\n    pass\n")
    assert of('x = "a"\n') != of('x = "b"\n')


def test_every_recipe_is_of_a_module_and_keys_that_are_there() -> None:
    config = changed()
    for stage, (module, _) in RECIPES.items():
        assert recipe(stage, config)["code"] == code_fingerprint(module) != code_fingerprint("cocu.nothing")


@pytest.mark.parametrize(
    ("over", "stages"),
    [
        ({"corpus": {"lenient": True}}, {"corpus"}),
        ({"corpus": {"max_bad": 0.5}}, {"corpus"}),
        ({"corpus": {"mini": {"vague_captions": 0.1}}}, {"mini", "benchmarks"}),
        ({"clip": {"stand_in": {"steps": 3}}}, {"clip"}),
        ({"clip": {"batch_size": 8}}, {"embed"}),
        ({"curate": {"vocabulary": {"min_count": 3}}}, {"captions"}),
        ({"curate": {"search": {"neighbours": 3}}}, {"archive"}),
        ({"train": {"lr": 0.5}}, {"train"}),
        ({"train": {"validate_every": 1}}, {"train"}),  # the curve is a result
        ({"train": {"prompts": {"count": 2}}}, {"train", "quality"}),
        ({"model": {"heads": 2}}, {"train"}),
        ({"evaluate": {"limit": 3}}, {"evaluate"}),
        ({"evaluate": {"backgrounds": [0.5]}}, {"evaluate"}),
        ({"report": {"confidence": 0.5}}, {"tables", "figures"}),
        ({"report": {"panel_images": 2}}, {"panel"}),
        *(
            (over, set())
            for over in (
                {"train": {"threads": 2, "workers": 3, "log_every": 7, "checkpoint_every": 9}},
                {"clip": {"threads": 2, "shards_per_job": 5}},
                {"curate": {"threads": 2, "shards_per_job": 5}},
                {"evaluate": {"threads": 2, "processes": 2}},
                {"device": "cpu"},
                {"seeds": [5]},
            )
        ),
    ],
)
def test_what_decides_a_result_is_in_its_recipe_and_nothing_else_is(over: dict[str, Any], stages: set[str]) -> None:
    before, after = changed(), changed(**over)
    assert {stage for stage in RECIPES if recipe(stage, before) != recipe(stage, after)} == stages


def test_a_key_more_may_decide() -> None:
    one, other = changed(), changed(corpus={"mini": {"web_pairs": 999}})
    assert recipe("mini", one) == recipe("mini", other)
    assert recipe("mini", one, "corpus.mini.web_pairs") != recipe("mini", other, "corpus.mini.web_pairs")


def test_a_stamp_holds_for_the_same_inputs_recipe_and_no_others(tmp_path: Path) -> None:
    made = stamp.stamp("archive", changed(), {"shard": "abc"})
    write_json(tmp_path / "manifest.json", {"stamp": made})
    assert still_holds(tmp_path / "manifest.json", stamp.stamp("archive", changed(), {"shard": "abc"}))
    for other in (
        stamp.stamp("archive", changed(), {"shard": "abd"}),
        stamp.stamp("archive", changed(curate={"search": {"nprobe": 3}}), {"shard": "abc"}),
        stamp.stamp("quality", changed(), {"shard": "abc"}),
    ):
        assert not still_holds(tmp_path / "manifest.json", other)
    assert not still_holds(tmp_path / "none.json", made)


def test_files_are_the_same_by_name_size_and_time(tmp_path: Path) -> None:
    one, gone = tmp_path / "a.tar", tmp_path / "b.tar"
    one.write_bytes(b"1234")
    os.utime(one, ns=(0, 10**9))
    before = file_facts([one, gone])
    assert before == file_facts([str(one), str(gone)])
    os.utime(one, ns=(0, 2 * 10**9))
    touched = file_facts([one, gone])
    one.write_bytes(b"12345")
    os.utime(one, ns=(0, 10**9))
    assert len({before, touched, file_facts([one, gone]), file_facts([])}) == 4
