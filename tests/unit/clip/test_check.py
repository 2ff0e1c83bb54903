"""CLIPs that open_clip does not have are named before the first job, wherever they stand in the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cocu.clip.check import check_clips
from cocu.config import Clip, Config, Reference, load
from cocu.errors import ConfigError


def configured(clip: Clip, **references: Reference) -> Config:
    config = load([Path("config/config.yaml")])
    return config.model_copy(update={"clip": clip, "references": references})


def test_what_is_shipped_exists() -> None:
    for names in (["smoke"], ["paper", "cc3m"], ["paper", "full"]):
        check_clips(load([Path(f"config/{name}.yaml") for name in ("config", *names)]))


def test_every_clip_that_does_not_exist_is_told_with_where_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    clip = Clip(model="ViT-B-61", pretrained="openai")
    other, third = (Reference(clip="ViT-B-16", pretrained=p) for p in ("opnai", str(file)))
    checkpoint, stand_in = Reference(checkpoint="somewhere"), Reference(clip="stand-in")
    config = configured(clip, other=other, third=third, checkpoint=checkpoint, stand_in=stand_in)
    with pytest.raises(ConfigError) as caught:
        check_clips(config)
    first, second, last = str(caught.value).splitlines()
    assert first == "open_clip has no model 'ViT-B-61' (clip.model); did you mean 'ViT-B-16'?"
    assert second.startswith("references.other: clip.pretrained is 'opnai', which is neither a file that exists nor")
    assert last.startswith(f"references.third: clip.pretrained is '{file}', which is neither a file that exists nor")
    file.touch()
    check_clips(configured(Clip(), third=third))


def test_the_clip_of_an_arm_is_told_once_and_with_the_arm(tmp_path: Path) -> None:
    arm = {"clip": {"model": "ViT-B-16", "pretrained": "laion"}, "train": {"prompts": {"source": "archive"}}}
    given = {"arms": {"one": arm, "two": arm}, "run_arms": ["groupvit", "cocu", "one", "two"]}
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(yaml.safe_dump(given))
    with pytest.raises(ConfigError) as error:
        check_clips(load([Path("config/config.yaml"), overlay]))
    (line,) = str(error.value).splitlines()
    assert line.startswith("arms.one: ") and "laion" in line
