from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cocu.config import Config, dump, json_schema, load, merge, read_yaml, validate
from cocu.errors import ConfigError

ROOT = Path(__file__).parents[2]
BASE = ROOT / "config/config.yaml"
OVERLAYS = sorted(path.stem for path in (ROOT / "config").glob("*.yaml") if path != BASE)


@pytest.fixture(scope="module")
def mini() -> Config:
    return validate(merge(read_yaml(BASE), {"run_arms": []}))


def changed(**over: Any) -> Config:
    return validate(merge(merge(read_yaml(BASE), {"run_arms": []}), over))


def message(**over: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        changed(**over)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"train": {"lrr": 1}}, "Unknown key train.lrr; did you mean 'lr'? Correct or remove it."),
        ({"trian": {}}, "Unknown key trian; did you mean 'train'? Correct or remove it."),
        ({"clip": {"zzz": 1}}, "Unknown key clip.zzz. Correct or remove it."),
        (
            {"model": {"stages": [{"depht": 1, "depth": 0, "group_tokens": 8}]}},
            "Unknown key model.stages.0.depht; did you mean 'depth'? Correct or remove it.",
        ),
        (
            {"arms": {"cocu": {"train": {"prompts": {"sorce": "archive"}}}}},
            "Unknown key arms.cocu.train.prompts.sorce; did you mean 'source'? Correct or remove it.",
        ),
        ({"arms": {"cocu": {"corpus": {}}}}, "arm 'cocu' overrides corpus; it may override model and train."),
        ({"train": {"lr": -1}}, "train.lr: Input should be greater than 0 (it is -1)."),
        ({"train": {"lr": float("nan")}}, "train.lr: Input should be a finite number (it is nan)."),
        ({"report": {"treatment": "coco"}}, "report.treatment is 'coco', which is not an arm that runs"),
        ({"run_arms": ["groupvit", "cocoo"]}, "run_arms names 'cocoo', which is not in arms; did you mean 'cocu'?"),
        ({"run_arms": ["groupvit"]}, "report.treatment is 'cocu', which is not an arm that runs: groupvit."),
        ({"arms": {"one_label": {}}}, "'one_label' is the name of another row of the tables"),
        ({"references": {"cocu": {"checkpoint": "a"}}}, "'cocu' is the name of another row of the tables"),
        ({"references": {"x": {}}}, "a reference needs one of checkpoint, hf and clip, and has none of them"),
        ({"references": {"x": {"hf": "a/b", "checkpoint": "c"}}}, "a reference needs one of checkpoint, hf and clip, "),
        ({"references": {"x": {"clip": "ViT-B-16"}}}, "a reference needs pretrained with an open_clip model"),
        ({"references": {"x": {"hf": "a/b", "pretrained": "openai"}}}, "a reference needs pretrained with"),
        (
            {"clip": {"model": "ViT-B-16", "pretrained": "openai"}},
            "references.clip is the stand-in CLIP, which is not trained here: name another.",
        ),
        ({"seeds": [1, 1]}, "seeds must differ from each other."),
        ({"corpus": {"kind": "shards"}}, "corpus.kind 'shards' needs corpus.shards, a path such as"),
        ({"corpus": {"kind": "shards", "shards": "a.tar"}}, "clip.model 'stand-in' learns from the mini corpus"),
        (
            {"corpus": {"kind": "shards", "shards": "a.tar"}, "clip": {"model": "ViT-B-16"}},
            "arm 'oracle' reads the truth, which only the mini corpus has: leave it out of run_arms.",
        ),
        ({"model": {"width": 64}}, "the stem's strides multiply to 4 and it ends in 128 channels"),
    ],
)
def test_a_mistake_is_a_sentence_that_names_the_key(over: dict[str, Any], said: str) -> None:
    assert message(**over).startswith(said)


def test_every_mistake_is_told_at_once() -> None:
    assert len(message(train={"lrr": 1, "steps": -1}, clip={"zzz": 1}).splitlines()) == 3


def test_a_missing_key_is_named() -> None:
    data = read_yaml(BASE)
    del data["evaluate"]["benchmarks"]
    with pytest.raises(ConfigError, match=r"The key evaluate\.benchmarks is missing\. Add it"):
        validate(data)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seeds: [1]\nseeds: [2]\n", "key 'seeds' is given twice"),
        ("seeds: !!python/object/apply:os.getcwd []\n", "could not determine a constructor"),
        ("- 1\n", "must hold a mapping of keys to values, not list"),
        ("seeds: [1\n", "is not valid YAML"),
    ],
)
def test_yaml_is_read_strictly(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_yaml(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Cannot read the configuration file .*no.yaml: No such file"):
        load([tmp_path / "no.yaml"])


def test_config_yaml_has_every_key(mini: Config) -> None:
    def paths(data: Any, at: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
        if not isinstance(data, dict) or at in (("arms",), ("references",)):
            return {at}
        return {at}.union(*(paths(value, (*at, key)) for key, value in data.items()))

    assert paths(read_yaml(BASE)) == paths(yaml.safe_load(dump(mini)))


def test_config_yaml_has_a_comment_on_every_key() -> None:
    lines = BASE.read_text().splitlines()
    bare = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if re.match(r" *\w+:", line) and "#" not in line and not before.lstrip().startswith("#")
        if not line.lstrip().startswith("train: {prompts:")  # what an arm overrides
    ]
    assert bare == []


@pytest.mark.parametrize("name", OVERLAYS)
def test_overlays_are_complete(name: str, mini: Config) -> None:
    config = load([BASE, ROOT / f"config/{name}.yaml"])
    assert config.experiment == name
    if config.corpus.kind == "shards":
        # No value of the mini experiment shows through in what decides a paper-scale result.
        given = read_yaml(ROOT / f"config/{name}.yaml")
        assert set(given["model"]) == set(type(config.model).model_fields)
        assert set(given["train"]) == set(type(config.train).model_fields)
        assert set(given["evaluate"]) == set(type(config.evaluate).model_fields)
        assert "oracle" not in config.arms


def test_full_is_the_paper() -> None:
    config = load([BASE, ROOT / "config/full.yaml"])
    assert [(s.depth, s.group_tokens) for s in config.model.stages] == [(6, 64), (3, 8), (3, 0)]
    assert (config.train.lr, config.train.batch_size, config.train.epochs) == (1.6e-3, 1024, 30)
    assert config.train.warmup_fraction == pytest.approx(2 / 30)
    assert config.train.multi_label_level == "image"
    assert config.arm("cocu").train.prompts.temperature == 1.0


def test_an_arm_overrides_what_it_names_and_nothing_else(mini: Config) -> None:
    arm = mini.arm("cocu_top3")
    assert (arm.train.prompts.source, arm.train.prompts.sampling) == ("archive", "top")
    assert arm.train.prompts.count == mini.train.prompts.count
    assert arm.model == mini.model
    with pytest.raises(ConfigError, match="No arm 'coco' in the configuration; did you mean 'cocu'"):
        mini.arm("coco")


def test_arms_that_do_not_run_are_dropped_unchecked() -> None:
    config = changed(run_arms=["cocu", "groupvit"], arms={"broken": {"train": {"nonsense": 1}}})
    assert list(config.arms) == ["cocu", "groupvit"]


def test_dump_and_load_give_the_same_configuration(mini: Config, tmp_path: Path) -> None:
    file = tmp_path / "resolved.yaml"
    file.write_text(dump(mini))
    assert load([file]) == mini


def test_fingerprint_changes_with_its_sections_alone(mini: Config) -> None:
    more_seeds = changed(seeds=[*mini.seeds, 99])
    slower = changed(train={"lr": 1e-5})
    other_arm = changed(arms={"cocu": {"train": {"prompts": {"count": 2}}}})
    search = "curate.search"
    for other in (more_seeds, slower, other_arm):
        assert other.fingerprint(search, "corpus.mini", "clip") == mini.fingerprint(search, "corpus.mini", "clip")
    assert changed(curate={"search": {"neighbours": 9}}).fingerprint(search) != mini.fingerprint(search)
    for arm in mini.arms:
        assert slower.arm(arm).fingerprint("model", "train") != mini.arm(arm).fingerprint("model", "train")
        same = other_arm.arm(arm).fingerprint("model", "train") == mini.arm(arm).fingerprint("model", "train")
        assert same == (arm != "cocu")


def test_the_schema_file_is_the_configuration_s_own() -> None:
    file = ROOT / "workflow/schemas/config.schema.json"
    assert json.loads(file.read_text()) == json_schema(), f"run: cocu schema > {file.relative_to(ROOT)}"


def test_the_schema_refuses_unknown_keys_everywhere_but_in_an_arm() -> None:
    objects = [json_schema(), *json_schema()["$defs"].values()]
    assert all(value["additionalProperties"] is False for value in objects)
