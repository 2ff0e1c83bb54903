"""What arms that curate in another way share, and what their curations are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cocu.config import Config, validate
from cocu.errors import ConfigError
from cocu.layout import Experiment
from cocu.variants import ARCHIVE, CAPTIONS, EMBEDDINGS, VOCABULARY, split, suffix, variants
from cocu.yaml_file import merge, read_yaml

BASE = merge(read_yaml(Path(__file__).parents[2] / "config/config.yaml"), {"run_arms": ["groupvit", "cocu", "own"]})
ARCHIVED = {"train": {"prompts": {"source": "archive", "sampling": "top"}}}


def with_arm(**override: Any) -> Config:
    return validate(merge(BASE, {"arms": {"own": merge(ARCHIVED, override)}}))


def names(config: Config) -> list[str]:
    """Of the own arm's captions, embeddings, vocabulary and archive."""
    return [suffix(config, config.arm("own"), part) for part in (CAPTIONS, EMBEDDINGS, VOCABULARY, ARCHIVE)]


def test_an_arm_that_only_trains_in_another_way_shares_everything() -> None:
    config = with_arm(train={"lr": 0.5})
    assert names(config) == ["", "", "", ""]
    assert set(variants(config)) == {""}


def test_a_part_is_called_after_what_decides_it_alone() -> None:
    four = "+neighbours-4"
    assert names(with_arm(curate={"search": {"neighbours": 4}})) == ["", "", "", four]
    rare = "+min_count-5"
    assert names(with_arm(curate={"vocabulary": {"min_count": 5}})) == [rare, "", rare, rare]
    both = with_arm(curate={"search": {"neighbours": 4}, "vocabulary": {"min_count": 5}}, clip={"batch_size": 8})
    small = "+batch_size-8"
    assert names(both) == [rare, small, rare + small, rare + small + four]
    assert set(variants(both)) == {"", *names(both)}


@pytest.mark.parametrize(
    ("search", "said"),
    [({"exclude_self": False}, "+exclude_self-false"), ({"index": "lists"}, "+index-lists")],
)
def test_a_name_says_the_value(search: dict[str, Any], said: str) -> None:
    assert names(with_arm(curate={"search": search}))[-1] == said


def test_what_makes_no_file_name_gives_a_hash() -> None:
    words = [with_arm(curate={"vocabulary": {"exclude": [word]}}) for word in ("a b", "a c")]
    first, second = (names(config)[0] for config in words)
    assert first != second and first.startswith("+exclude-") and len(first) == len("+exclude-") + 12


def test_arms_that_ask_for_the_same_have_one_between_them_whatever_their_order() -> None:
    four = merge(ARCHIVED, {"curate": {"search": {"neighbours": 4}}})
    config = validate(merge(BASE, {"run_arms": [], "arms": {"own": four, "other": four}}))
    assert suffix(config, config.arm("own"), ARCHIVE) == suffix(config, config.arm("other"), ARCHIVE)
    assert list(variants(config)).count("+neighbours-4") == 1


def test_a_value_that_is_the_configuration_s_own_is_no_difference() -> None:
    assert names(with_arm(curate={"search": {"neighbours": 8}})) == ["", "", "", ""]


def test_the_configuration_of_a_curation_has_its_values_and_no_others() -> None:
    config = with_arm(curate={"search": {"neighbours": 4}, "vocabulary": {"min_count": 5}}, train={"lr": 0.5})
    corpus, rare = split(config, "train0+min_count-5")
    assert (corpus, rare.curate.vocabulary.min_count, rare.curate.search.neighbours) == ("train0", 5, 8)
    _, whole = split(config, "train0+min_count-5+neighbours-4")
    assert (whole.curate.vocabulary.min_count, whole.curate.search.neighbours) == (5, 4)
    assert whole.train == config.train
    assert split(config, "train1") == ("train1", config)
    with pytest.raises(ConfigError, match=r"^No arm asks for the curation 'train0\+neighbours-3'; there are train0, "):
        split(config, "train0+neighbours-3")


def test_paths_of_a_curation_lie_where_its_parts_are_shared() -> None:
    config = with_arm(curate={"search": {"neighbours": 4}})
    plain, own = Experiment(config).curation("train0"), Experiment(config).curation("train0", config.arm("own"))
    assert own.captions == plain.captions == Path("results/mini/curation/train0/captions")
    assert (own.embeddings, own.vectors) == (plain.embeddings, plain.vectors)
    assert own.archive == Path("results/mini/curation/train0+neighbours-4/archive")
    assert own.quality == Path("results/mini/curation/train0+neighbours-4/quality.json")
    assert Experiment(config).prompts("own", 0) == own.archive
    assert Experiment(config).prompts("cocu", 0) == plain.archive


def test_the_shipped_ablations_share_all_that_they_can() -> None:
    config = validate(merge(BASE, {"run_arms": []}))
    own = {
        arm: [suffix(config, config.arm(arm), part) for part in (CAPTIONS, EMBEDDINGS, VOCABULARY, ARCHIVE)]
        for arm in config.arms
    }
    assert {arm for arm, names in own.items() if names[1]} == set()  # nothing is embedded anew
    assert {arm for arm, names in own.items() if names[0]} == {"cocu_held_out"}
    archives = {arm: names[3] for arm, names in own.items() if names[3]}
    assert archives.keys() == {"cocu_released", "cocu_self", "cocu_2", "cocu_4", "cocu_16", "cocu_held_out"}
    assert archives["cocu_released"] == "+exclude_self-false+compat-released"
