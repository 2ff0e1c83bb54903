"""Every arm is made once before the first job: on the meta device, with its name in what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cocu.config import Config, load, merge, validate
from cocu.errors import ConfigError
from cocu.model.groupvit import GroupViT
from cocu.train import check
from cocu.train.check import check_arms
from tests.unit.train.corpus import tiny_config

CONFIG = Path("config")


def changed(**over: Any) -> Config:
    return validate(merge(tiny_config().model_dump(), over))


def message(config: Config) -> str:
    with pytest.raises(ConfigError) as caught:
        check_arms(config)
    return str(caught.value)


@pytest.mark.parametrize("names", [[], ["smoke"], ["paper", "cc3m"], ["paper", "full"]], ids="-".join)
def test_what_is_shipped_can_be_trained(names: list[str]) -> None:
    check_arms(load([CONFIG / f"{name}.yaml" for name in ("config", *names)]))


def test_a_model_too_large_for_any_memory_is_made_in_no_time() -> None:
    patch = {"stem": "patch", "stem_channels": [], "stem_strides": [], "width": 10**7, "drop_path": 0.1}
    stages = [{"depth": 3, "group_tokens": 4}, {"depth": 1, "group_tokens": 2}]
    check_arms(changed(model={**patch, "stages": stages, "text_width": 10**6, "projector_layers": 2}))


def test_the_layers_and_their_shares_are_those_of_a_model_with_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[GroupViT] = []

    def keep(model: GroupViT, *_: object) -> None:
        made.append(model)

    monkeypatch.setattr(check, "adamw", keep)
    config = load([CONFIG / "config.yaml", CONFIG / "smoke.yaml"])
    stages = ({"depth": 3, "group_tokens": 4},)
    model = config.model.model_validate(config.model.model_dump() | {"stages": stages, "drop_path": 0.1})
    check_arms(config.model_copy(update={"model": model}))
    real = GroupViT(model)
    assert len(made) == 3 and {p.device.type for p in made[0].parameters()} == {"meta"}
    shapes, theirs = ({k: v.shape for k, v in m.state_dict().items()} for m in (made[0], real))
    assert shapes == theirs
    shares = [[layer.drop_path.share for layer in m.image.stages[0].layers] for m in (made[0], real)]
    assert shares[0] == shares[1] == pytest.approx([0, 0.05, 0.1])


def test_an_optimiser_that_cannot_be_made_is_told_with_the_arm_s_name(monkeypatch: pytest.MonkeyPatch) -> None:
    arms = {"cocu": {"train": {"weight_decay": 0.3}}}

    def adamw(model: torch.nn.Module, train: Any) -> None:
        if train.weight_decay == 0.3:
            raise ValueError("no such decay\nand more")

    monkeypatch.setattr(check, "adamw", adamw)
    assert message(changed(arms=arms)) == (
        "arm 'cocu' cannot be trained with its model (no such decay). Correct the section."
    )


def test_a_rate_that_trains_nothing_is_told_with_the_arm_s_name() -> None:
    stands = {"steps": 1, "warmup_fraction": 1.0, "lr_warmup": 0.0}
    assert message(changed(arms={"cocu": {"train": stands}})) == (
        "arm 'cocu' cannot be trained with its train (the learning rate of the first, middle and last of 1 steps is "
        "[0.0, 0.0, 0.0]). Correct the section."
    )
    check_arms(changed(arms={"cocu": {"train": {**stands, "steps": 2}}}))  # the second step has one


@pytest.mark.parametrize(
    ("rates", "right"),
    [
        ([1e-6, 1e-3, 1e-5], True),
        ([0.0, 1e-3, 1e-5], True),
        ([-1e-6, 1e-3, 1e-5], False),
        ([1e-6, float("inf"), 1e-5], False),
        ([1e-6, 1e-3, float("nan")], False),
    ],
)
def test_the_schedule_is_asked_at_its_first_middle_and_last_step(
    monkeypatch: pytest.MonkeyPatch, rates: list[float], right: bool
) -> None:
    at = dict(zip((0, 50, 99), rates, strict=True))
    monkeypatch.setattr(check, "learning_rate", lambda step, steps, train: at[step])
    config = changed(train={"steps": 100})
    if right:
        check_arms(config)
    else:
        assert "first, middle and last of 100 steps" in message(config)


def test_steps_are_counted_from_the_mini_corpus_s_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def rate(step: int, steps: int, train: object) -> float:
        asked.append((step, steps))
        return 1.0

    monkeypatch.setattr(check, "learning_rate", rate)
    check_arms(changed(train={"steps": 0, "epochs": 3, "batch_size": 8}, corpus={"mini": {"train_pairs": 39}}))
    assert set(asked) == {(0, 12), (6, 12), (11, 12)}


def test_an_augmentation_that_cannot_run_is_told_with_the_arm_s_name() -> None:
    def over(n: int) -> dict[str, Any]:
        augment = {"colour_jitter": 0.0, "rand_augment": f"rand-n{n}-tweights"}
        return {"arms": {"cocu": {"train": {"augment": augment}}}}

    check_arms(changed(**over(15)))  # as many operations as there are
    said = message(changed(**over(16)))
    assert said.startswith("arm 'cocu' cannot be trained with its train.augment (Cannot take a larger sample than")
    assert said.endswith("). Correct the section.")


def test_every_arm_that_cannot_be_trained_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(augment: object, side: int) -> Any:
        def apply(pixels: np.ndarray, seed: int) -> None:
            assert pixels.shape == (side, side, 3) == (32, 32, 3)
            raise RuntimeError

        return apply

    monkeypatch.setattr(check, "Augmentation", fail)
    assert [line.split(" with")[0] for line in message(changed()).splitlines()] == [
        "arm 'groupvit' cannot be trained",
        "arm 'cocu' cannot be trained",
    ]
    assert "(RuntimeError)" in message(changed())


def test_the_random_numbers_of_the_process_are_left_as_they_were() -> None:
    before = torch.get_rng_state()
    check_arms(changed())
    assert torch.equal(torch.get_rng_state(), before)
