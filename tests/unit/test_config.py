from __future__ import annotations

import contextlib
import copy
import functools
import operator
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from cocu import data_sections
from cocu.config import Config, DataConfig, EvaluationConfig, dump, json_schema, load, validate, validate_part
from cocu.errors import ConfigError
from cocu.fit import PUBLISHED
from cocu.yaml_file import merge, read_yaml

ROOT = Path(__file__).parents[2]
BASE = ROOT / "config/config.yaml"
OVERLAYS = sorted(path.stem for path in (ROOT / "config").glob("*.yaml") if path != BASE)


DATA = merge(read_yaml(BASE), {"run_arms": []})
SETS = [{"name": "own", "shards": "{0..1}.tar"}]
SCALES = {"cc3m": ["paper", "cc3m"], "full": ["paper", "full"], "paper": ["paper", "cc3m"], "smoke": ["smoke"]}


@pytest.fixture(scope="module")
def mini() -> Config:
    return validate(DATA)


def changed(**over: Any) -> Config:
    return validate(merge(DATA, over))


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
            {"references": {"clip": {"chekpoint": "x"}}},
            "Unknown key references.clip.chekpoint; did you mean 'checkpoint'? Correct or remove it.",
        ),
        ({"arms": {1: {}}, "run_arms": ["x"]}, "run_arms names 'x', which is not in arms."),
        (
            {"model": {"projector_layers": True}},
            "model.projector_layers: Input should be a valid integer (it is True).",
        ),
        (
            {"model": {"stages": [{"depht": 1, "depth": 0, "group_tokens": 8}]}},
            "Unknown key model.stages.0.depht; did you mean 'depth'? Correct or remove it.",
        ),
        (
            {"arms": {"cocu": {"train": {"prompts": {"sorce": "archive"}}}}},
            "Unknown key arms.cocu.train.prompts.sorce; did you mean 'source'? Correct or remove it.",
        ),
        (
            {"arms": {"cocu": {"corpus": {}}}},
            "arm 'cocu' overrides corpus; it may override clip, curate, model, train.",
        ),
        ({"train": {"lr": -1}}, "train.lr: Input should be greater than 0 (it is -1)."),
        ({"train": {"lr": float("nan")}}, "train.lr: Input should be a finite number (it is nan)."),
        ({"report": {"treatment": "coco"}}, "report.treatment is 'coco', which is not an arm that runs"),
        ({"run_arms": ["groupvit", "cocoo"]}, "run_arms names 'cocoo', which is not in arms; did you mean 'cocu'?"),
        ({"run_arms": ["groupvit"]}, "report.treatment is 'cocu', which is not an arm that runs: groupvit."),
        ({"arms": {"one_label": {}}}, "'one_label' is the name of another row of the tables"),
        ({"references": {"cocu": {"checkpoint": "a"}}}, "'cocu' is the name of another row of the tables"),
        ({"references": {"x": {}}}, "references.x: a reference needs one of checkpoint, hf and clip, and has none of"),
        (
            {"references": {"x": {"hf": "a/b", "checkpoint": "c"}}},
            "references.x: a reference needs one of checkpoint, ",
        ),
        ({"references": {"x": {"clip": "ViT-B-16"}}}, "references.x: a reference needs pretrained with an open_clip"),
        ({"references": {"x": {"hf": "a/b", "pretrained": "openai"}}}, "references.x: a reference needs pretrained "),
        (
            {"clip": {"model": "ViT-B-16", "pretrained": "openai"}},
            "references.clip is the stand-in CLIP, which is not trained here: name another.",
        ),
        ({"seeds": [1, 1]}, "seeds has 1 twice: remove one."),
        ({"run_arms": ["cocu", "groupvit", "cocu"]}, "run_arms has 'cocu' twice: remove one."),
        ({"corpus": {"kind": "shards"}}, "corpus.kind 'shards' needs corpus.sets, data sets such as"),
        ({"corpus": {"kind": "shards", "sets": SETS}}, "clip.model 'stand-in' learns from the mini corpus"),
        ({"model": {"width": 64}}, "the stem's strides multiply to 4 and it ends in 128 channels"),
        ({"arms": {"cocu": {"train": None}}}, "arms.cocu.train is None, and must be a mapping of keys to values."),
        ({"arms": {"cocu": {"train": {"lr": 0}}}}, "arms.cocu.train.lr: Input should be greater than 0 (it is 0)."),
    ],
)
def test_a_mistake_is_a_sentence_that_names_the_key(over: dict[str, Any], said: str) -> None:
    assert message(**over).startswith(said)


def test_a_sentence_ends_once() -> None:
    assert message(run_arms=["groupvit", "cocoo"]).endswith("not in arms; did you mean 'cocu'?")
    assert message(run_arms=["groupvit", "x"]).endswith("not in arms.")


SHARDS: dict[str, Any] = {  # laid over the mini experiment
    "corpus": {"kind": "shards", "sets": SETS},
    "clip": {"model": "ViT-B-16", "pretrained": "laion2b_s34b_b88k"},
    "references": {"clip": {"clip": "ViT-B-16", "pretrained": "laion2b_s34b_b88k"}},
    "run_arms": ["groupvit", "cocu"],
    "train": {"validate_every": 0},
    "evaluate": {"benchmarks": ["voc"], "backgrounds": []},
}
PATCH: dict[str, Any] = {"stem": "patch", "stem_channels": [], "stem_strides": []}
NARROW = {"stem_channels": [32, 64, 96, 64], "width": 64}
NO_NUMBER = "Input should be a finite number"


def at(path: str, value: Any) -> dict[str, Any]:
    """{"a": {"b": value}} for "a.b"."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return dict(value)


@pytest.mark.parametrize(
    ("key", "legal", "wrong", "said"),
    [
        ("model.heads", 8, 5, "model.width 128 is not a multiple of model.heads 5: change one of them."),
        ("model.text_heads", 2, 3, "model.text_width 64 is not a multiple of model.text_heads 3: change one of them."),
        (
            "model.image_size",
            52,
            50,
            "model.image_size 50 is not a multiple of model.patch_size 4: change one of them.",
        ),
        (
            "model.stages",
            [{"depth": 1, "group_tokens": 1}],
            [{"depth": 1, "group_tokens": 0}],
            "model.stages has no stage with group_tokens, and nothing is grouped: give one a number above 0.",
        ),
        (
            "model.stages",
            [{"depth": 0, "group_tokens": 8}],
            [],
            "model.stages has no stage with group_tokens, and nothing is grouped: give one a number above 0.",
        ),
        (
            "model.stages",
            [{"depth": 0, "group_tokens": 8}, {"depth": 1, "group_tokens": 0}],
            [{"depth": 0, "group_tokens": 8}, {"depth": 0, "group_tokens": 0}],
            "model.stages.1 has depth 0 and group_tokens 0, and does nothing: leave it out.",
        ),
        (
            "model.stem_strides",
            [1, 2, 2, 1],
            [2, -2, -1, 1],
            "model.stem_strides.1: Input should be greater than or equal to 1 (it is -2).\n"
            "model.stem_strides.2: Input should be greater than or equal to 1 (it is -1).",
        ),
        (
            "model.stem_channels",
            [1, 64, 96, 128],
            [0, 64, 96, 128],
            "model.stem_channels.0: Input should be greater than or equal to 1 (it is 0).",
        ),
        (
            "model.stem_channels",
            [1, 1, 1, 128],
            [128],
            "model.stem_channels [128] and model.stem_strides [2, 2, 1, 1] need one entry a convolution, and at least "
            "one: make them as long as each other.",
        ),
        (
            "model",
            PATCH,
            {**PATCH, "stem_strides": [2, 2]},
            "model.stem 'patch' is one convolution, without model.stem_channels [] and model.stem_strides [2, 2]: set "
            "both to [], or model.stem to 'convolutional'.",
        ),
        (
            "model",
            {"stages": [{"depth": 2, "group_tokens": 8}], "drop_path": 0.9},
            {"stages": [{"depth": 2, "group_tokens": 8}], "drop_path": 1.0},
            "model.drop_path: Input should be less than 1 (it is 1.0).",
        ),
        (
            "model",
            {"stages": [{"depth": 2, "group_tokens": 8}], "drop_path": 0.1},
            {"stages": [{"depth": 1, "group_tokens": 8}], "drop_path": 0.1},
            "model.drop_path is 0.1, and the depths of model.stages add up to 1, where no layer is ever dropped: set "
            "it to 0.",
        ),
        (
            "model.temperature",
            0.011,
            0.01,
            "model.temperature is 0.01: from 0.01 down the factor on similarities is cut off at 100, and does not "
            "learn; raise it.",
        ),
        ("train.betas", [0.0, 0.9999], [0.9, 1.0], "train.betas.1: Input should be less than 1 (it is 1.0)."),
        (
            "train.lr_min",
            1.0e-3,
            1.1e-3,
            "train.lr_min 0.0011 is above train.lr 0.001, where the warm-up ends and the cosine begins: lower it, or "
            "raise train.lr.",
        ),
        (
            "train.lr_warmup",
            1.0e-3,
            1.0,
            "train.lr_warmup 1 is above train.lr 0.001, where the warm-up ends and the cosine begins: lower it, or "
            "raise train.lr.",
        ),
        (
            "train.batch_size",
            12_000,
            12_001,
            "train.batch_size is 12001, more than the 12000 pairs of corpus.mini.train_pairs: lower the one or raise "
            "the other.",
        ),
        (
            "train.augment.crop_scale",
            [0.5, 0.5],
            [0.5, 0.25],
            "train.augment.crop_scale is [0.5, 0.25], the least above the most: write [0.25, 0.5].",
        ),
        (
            "train.augment.crop_scale",
            [0.01, 1],
            [0, 1],
            "train.augment.crop_scale.0: Input should be greater than 0 (it is 0).",
        ),
        (
            "corpus.mini.objects_per_scene",
            [3, 3],
            [3, 2],
            "corpus.mini.objects_per_scene is [3, 2], the least above the most: write [2, 3].",
        ),
        (
            "corpus.mini.objects_per_scene",
            [0, 12],
            [0, 13],
            "corpus.mini.objects_per_scene.1: Input should be less than or equal to 12 (it is 13).",
        ),
        (
            "corpus.mini.objects_per_scene",
            [0, 1],
            [0, 0],
            "corpus.mini.objects_per_scene.1: Input should be greater than or equal to 1 (it is 0).",
        ),
        (
            "corpus.mini.object_side",
            [0.5, 0.5],
            [0.75, 0.5],
            "corpus.mini.object_side is [0.75, 0.5], the least above the most: write [0.5, 0.75].",
        ),
        (
            "corpus.mini.object_side",
            [0.1, 0.5],
            [0.0, 0.5],
            "corpus.mini.object_side.0: Input should be greater than 0 (it is 0.0).",
        ),
        (
            "corpus.sets",
            [],
            SETS,
            "corpus.sets names 'own', and corpus.kind 'mini' composes its own: set corpus.kind to 'shards', or "
            "corpus.sets to [].",
        ),
        (
            "clip.stand_in.batch_size",
            16_000,
            16_001,
            "clip.stand_in.batch_size is 16001, more than the 16000 pairs of corpus.mini.web_pairs: lower the one or "
            "raise the other.",
        ),
        (
            "clip.pretrained",
            "",
            "openai",
            "clip.pretrained is 'openai', and clip.model 'stand-in' is trained here: name a model of open_clip, or set "
            "clip.pretrained to ''.",
        ),
        (
            "curate.search.neighbours",
            11_999,
            12_000,
            "curate.search.neighbours is 12000, and a pair has 11999 others by corpus.mini.train_pairs: lower the one "
            "or raise the other.",
        ),
        (
            "curate.vocabulary.min_count",
            12_000,
            12_001,
            "curate.vocabulary.min_count is 12001, more than the 12000 captions of corpus.mini.train_pairs: lower the "
            "one or raise the other.",
        ),
        (
            "evaluate.benchmarks",
            ["mini_voc", "my_own"],
            ["mini_voc", "ade20k"],
            "evaluate.benchmarks names 'ade20k', whose photographs corpus.kind 'mini' does not compose: write "
            "'mini_ade20k'.",
        ),
        (
            "evaluate.benchmarks",
            ["mini_voc", "mini_context"],
            ["mini_voc", "mini_voc"],
            "evaluate.benchmarks has 'mini_voc' twice: remove one.",
        ),
        ("evaluate.backgrounds", [0, 1], [0.5, 0.2, 0.5], "evaluate.backgrounds has 0.5 twice: remove one."),
        ("report.confidence", 0.01, 0, "report.confidence: Input should be greater than 0 (it is 0)."),
        ("report.confidence", 0.99, 1.0, "report.confidence: Input should be less than 1 (it is 1.0)."),
        (
            "report.treatment",
            "cocu_top3",
            "groupvit",
            "report.baseline and report.treatment are both 'groupvit': name two arms.",
        ),
        ("seeds", [2**32 - 1], [2**32], "seeds.0: Input should be less than 4294967296 (it is 4294967296)."),
        ("train.steps", 1, True, "train.steps: Input should be a valid integer (it is True)."),
        ("train.augment.flip", False, 0, "train.augment.flip: Input should be a valid boolean (it is 0)."),
        (
            "train.lr",
            1.0e-3,
            "1e-3",
            "train.lr: YAML reads 1e-3 as text. Write a number without quotes, and an exponent with a point before it "
            "and a sign in it (1.0e-3).",
        ),
    ],
)
def test_what_would_die_later_or_do_nothing_is_refused_and_its_neighbour_is_not(
    key: str, legal: Any, wrong: Any, said: str
) -> None:
    changed(**at(key, legal))
    assert message(**at(key, wrong)) == said


@pytest.mark.parametrize(
    ("key", "wrong", "said"),
    [
        (
            "train.validate_every",
            4,
            "train.validate_every is 4, and only corpus.kind 'mini' has val images for a curve: set it to 0.",
        ),
        (
            "evaluate.backgrounds",
            [0.5],
            "evaluate.backgrounds is [0.5], to be chosen from on val images, which only corpus.kind 'mini' has: set it "
            "to [], the published thresholds.",
        ),
        (
            "run_arms",
            ["groupvit", "cocu", "oracle"],
            "arm 'oracle': train.prompts.source is 'truth', which only corpus.kind 'mini' has: set it to 'archive' or "
            "'caption', or leave the arm out of run_arms.",
        ),
        (
            "clip.pretrained",
            "",
            "clip.model 'ViT-B-16' needs clip.pretrained, a tag of open_clip's weights such as openai, or a file with "
            "them.",
        ),
        (
            "corpus.sets",
            [{"name": "own", "shards": "a{0..1.tar"}],
            "corpus.sets.0: the shards of 'own' are no pattern (Unbalanced braces: 'a{0..1.tar'): write one such as "
            "data/cc3m/{00000..00331}.tar.",
        ),
        (
            "corpus.sets",
            [*SETS, {"name": "other", "shards": "b/{a,b}/0.tar"}],
            "corpus.sets.1: b/a/0.tar and b/b/0.tar, shards of 'other', have the same name, so that keys would clash: "
            "rename one of them, or make two sets of them.",
        ),
        (
            "corpus.sets",
            [{"name": "own", "shards": "https://somewhere/shard?id=3"}],
            "corpus.sets.0: the shard https://somewhere/shard?id=3 of 'own' names no .tar file, after which its pairs "
            "are called: correct the pattern.",
        ),
        ("corpus.sets", [*SETS, *SETS], "corpus.sets has 'own' twice: remove one."),
    ],
)
def test_what_only_the_mini_experiment_has_is_refused_elsewhere(key: str, wrong: Any, said: str) -> None:
    # none of these speaks of the mini corpus, which is not there
    changed(**merge(SHARDS, {"curate": {"search": {"neighbours": 10**6}}, "train": {"batch_size": 10**6}}))
    assert message(**merge(SHARDS, at(key, wrong))) == said


def numbers(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where the numbers of a nested mapping stand; of a list, the first alone."""
    if isinstance(data, dict):
        return [found for key, value in data.items() for found in numbers(value, (*path, key))]
    if isinstance(data, list):
        return numbers(data[0], (*path, 0)) if data else []
    return [path] if isinstance(data, float) else []


@pytest.mark.parametrize("text", [".nan", ".inf", "-.inf"])
def test_no_number_is_infinite_or_none(mini: Config, text: str) -> None:
    whole = yaml.safe_load(dump(mini))
    places = numbers(whole)
    assert len(places) >= 20 and ("train", "betas", 0) in places and ("evaluate", "backgrounds", 0) in places
    for *path, last in places:
        data = yaml.safe_load(dump(mini))
        here = data
        for key in path:
            here = here[key]
        here[last] = yaml.safe_load(text)
        with pytest.raises(ConfigError) as caught:
            validate(data)
        assert str(caught.value).startswith(f"{'.'.join(map(str, [*path, last]))}: {NO_NUMBER}")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            {"model": {"heads": 5}},
            "arm 'cocu': model.width 128 is not a multiple of model.heads 5: change one of them.",
        ),
        (
            {"model": {**NARROW, "heads": 3, "text_heads": 3}},
            "arm 'cocu': model.width 64 is not a multiple of model.heads 3: change one of them.\n"
            "arm 'cocu': model.text_width 64 is not a multiple of model.text_heads 3: change one of them.",
        ),
        (
            {"train": {"lr": 2.0e-5}},
            "arm 'cocu': train.lr_min 4e-05 is above train.lr 2e-05, where the warm-up ends and the cosine begins: "
            "lower it, or raise train.lr.",
        ),
        (
            {"train": {"augment": {"crop_scale": [1.0, 0.5]}}},
            "arm 'cocu': train.augment.crop_scale is [1.0, 0.5], the least above the most: write [0.5, 1.0].",
        ),
        (
            {"train": {"batch_size": 20_000}},
            "arm 'cocu': train.batch_size is 20000, more than the 12000 pairs of corpus.mini.train_pairs: lower the "
            "one or raise the other.",
        ),
        (
            {"train": {"augment": {"rand_augment": "randm9"}}},
            "arm 'cocu': train.augment.rand_augment 'randm9' does not begin with 'rand-' and a part: write it as "
            "rand-m9-mstd0.5-inc1.",
        ),
        ({"train": {"betas": [0.9, 1.0]}}, "arms.cocu.train.betas.1: Input should be less than 1 (it is 1.0)."),
    ],
)
def test_an_arm_s_mistake_has_its_name(override: dict[str, Any], said: str) -> None:
    assert message(arms={"cocu": override}) == said


def test_the_mistakes_of_all_arms_are_told_and_what_they_share_once_and_without_a_name() -> None:
    said = message(arms={"cocu": {"model": {"heads": 5}}, "oracle": {"train": {"lr": 1.0e-5}}}).splitlines()
    assert [line.split(":")[0] for line in said] == ["arm 'cocu'", "arm 'oracle'"]
    said = message(train={"batch_size": 12_001}, arms={"cocu": {"train": {"batch_size": 12_002}}}).splitlines()
    assert [line.split(",")[0] for line in said] == [
        "train.batch_size is 12001",
        "arm 'cocu': train.batch_size is 12002",
    ]


def test_what_every_arm_overrides_is_no_mistake() -> None:
    arms = {name: {"train": {"batch_size": 64}} for name in DATA["arms"]}
    assert changed(train={"batch_size": 12_001}, arms=arms).arm("cocu").train.batch_size == 64


@pytest.mark.parametrize("source", ["caption", "truth"])
@pytest.mark.parametrize(
    ("key", "value"),
    [("sampling", "cluster"), ("sampling", "top"), ("temperature", 0.5), ("temperature", 1.0), ("replacement", False)],
)
def test_an_arm_sets_nothing_that_its_source_does_not_use(source: str, key: str, value: object) -> None:
    prompts = {"source": source, key: value}
    assert message(arms={"new": {"train": {"prompts": prompts}}}) == (
        f"arm 'new': train.prompts.{key} is {value!r} and has no effect, since train.prompts.source is '{source}', "
        "whose concepts have no rank: remove the key, or set source to 'archive'."
    )
    changed(arms={"new": {"train": {"prompts": {**prompts, "source": "archive"}}}})
    # the section's own values are defaults for the arms that draw from an archive
    changed(train={"prompts": {key: value}}, arms={"new": {"train": {"prompts": {"source": source, "count": 2}}}})


def test_an_arm_may_say_uniform_of_what_has_no_rank_and_inherit_its_source() -> None:
    changed(arms={"new": {"train": {"prompts": {"source": "caption", "sampling": "uniform"}}}})
    new = {"new": {"train": {"prompts": {"temperature": 0.5}}}}
    assert changed(train={"prompts": {"source": "archive"}}, arms=new).arm("new").train.prompts.temperature == 0.5
    assert message(arms=new).startswith("arm 'new': train.prompts.temperature is 0.5 and has no effect, ")


def test_what_the_sections_know_of_other_parts_is_so() -> None:
    """They import none of them: what is configured would then decide which code a stage was made by."""
    from cocu.benchmarks.definitions import SHIPPED
    from cocu.mini.world import SPRITES

    assert len(SPRITES) == data_sections.SPRITES
    assert {path.stem for path in SHIPPED.iterdir()} == {*PUBLISHED, *(f"mini_{name}" for name in PUBLISHED)}


def test_every_mistake_is_told_at_once() -> None:
    assert len(message(train={"lrr": 1, "steps": -1}, clip={"zzz": 1}).splitlines()) == 3


def test_a_missing_key_is_named() -> None:
    data = read_yaml(BASE)
    del data["model"]["stages"]
    with pytest.raises(ConfigError, match=r"The key model\.stages is missing\. Add it"):
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
    with pytest.raises(ConfigError, match=r"Cannot read the configuration file .*no.yaml: No such file .* --config"):
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
        if not line.lstrip().startswith(("train: {prompts:", "curate: {"))  # what an arm overrides
    ]
    assert bare == []


@pytest.mark.parametrize("name", OVERLAYS)
def test_overlays_are_complete(name: str, mini: Config) -> None:
    config = load([BASE, *(ROOT / f"config/{part}.yaml" for part in SCALES[name])])
    assert config.experiment == SCALES[name][-1]
    if config.corpus.kind == "shards":
        # No value of the mini experiment shows through in what decides a paper-scale result.
        given = read_yaml(ROOT / "config/paper.yaml")
        assert set(given["model"]) == set(type(config.model).model_fields)
        assert set(given["train"]) == set(type(config.train).model_fields)
        assert set(given["evaluate"]) == set(type(config.evaluate).model_fields)
        assert "oracle" not in config.arms


def test_full_is_the_paper() -> None:
    config = load([BASE, ROOT / "config/paper.yaml", ROOT / "config/full.yaml"])
    assert [one.name for one in config.corpus.sets] == ["cc3m", "cc12m", "yfcc14m"]
    assert len(config.corpus.addresses()) == 332 + 1243 + 1452
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
    with pytest.raises(ConfigError, match=r"^No arm 'coco' in the configuration; did you mean 'cocu'\?$"):
        mini.arm("coco")


def test_arms_that_do_not_run_are_dropped_unchecked() -> None:
    config = changed(run_arms=["cocu", "groupvit"], arms={"broken": {"train": {"nonsense": 1}}})
    assert list(config.arms) == ["cocu", "groupvit"]


def test_dump_and_load_give_the_same_configuration(mini: Config, tmp_path: Path) -> None:
    file = tmp_path / "resolved.yaml"
    file.write_text(dump(mini))
    assert load([file]) == mini


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            {"curate": {"threads": 2}},
            "curate.threads decides how jobs run, not what they make, and is one for all arms",
        ),
        ({"clip": {"stand_in": {"steps": 1}}}, "clip.stand_in decides how jobs run"),
        (
            {"curate": {"search": {"neighbours": 4}}, "train": {"prompts": {"source": "caption"}}},
            "curate.search is given and has no effect, since train.prompts.source is 'caption', which no archive is",
        ),
        ({"curate": {"search": {"neighbours": 12_000}}}, "curate.search.neighbours is 12000, and a pair has 11999"),
        ({"curate": {"compat": "released"}}, "curate.compat 'released' lets an anchor find itself"),
    ],
)
def test_an_arm_that_curates_is_looked_over(override: dict[str, Any], said: str) -> None:
    arm = merge({"train": {"prompts": {"source": "archive", "sampling": "top"}}}, override)
    if "source" in override.get("train", {}).get("prompts", {}):
        arm["train"]["prompts"] = override["train"]["prompts"]
    assert f"arm 'own': {said}" in message(arms={"own": arm})


def test_an_arm_may_have_another_vocabulary_whatever_it_draws_from() -> None:
    config = changed(arms={"own": {"curate": {"vocabulary": {"min_count": 5}}}})
    assert config.arm("own").curate.vocabulary.min_count == 5
    assert config.curate.vocabulary.min_count == 20


def test_a_verb_reads_its_own_keys_of_an_experiment_s() -> None:
    part = validate_part(EvaluationConfig, {**DATA, "arms": {"broken": 1}, "seeds": "none"})
    assert part.evaluate.benchmarks[0] == "mini_voc"
    assert validate_part(DataConfig, {}).curate.search.neighbours == 8
    with pytest.raises(ConfigError, match=r"^Unknown key curat; did you mean 'curate'\?"):
        validate_part(DataConfig, {"curat": {}})


ODD = (None, True, -1, 1.5, 2**40, "", "1e-3", "mini", [], ["a"], [[1]], {}, {"a": 1}, {1: 2})


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield (*path, key)
        yield from places(value, (*path, key))


def test_what_is_valid_is_so_by_the_schema_too(mini: Config) -> None:
    """An editor that has the schema underlines nothing that runs; and no value ends in another error than ours."""
    schema, passed = Draft202012Validator(json_schema()), 0
    whole = mini.model_dump(mode="json")
    for *above, last in places(whole):
        for value in ODD:
            data = copy.deepcopy(whole)
            functools.reduce(operator.getitem, above, data)[last] = value
            with contextlib.suppress(ConfigError):
                validate(data)
                passed += 1
                assert not [e.message for e in schema.iter_errors(data)], (*above, last)
    assert passed > 100


def test_the_schema_refuses_unknown_keys_everywhere_but_in_an_arm() -> None:
    objects = [json_schema(), *json_schema()["$defs"].values()]
    assert all(value["additionalProperties"] is False for value in objects)
