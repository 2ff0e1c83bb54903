"""Whether every arm's model, optimiser, schedule and augmentation can be made, asked before the first job runs.

Takes the configuration; gives nothing, or one line for each arm that cannot train. Models are built on torch's meta
device, where tensors have shapes and no memory, so that the published one takes no longer than the mini one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from cocu.config import Augment, Config, Corpus, Train
from cocu.errors import ConfigError
from cocu.model.groupvit import GroupViT
from cocu.train.augment import Augmentation
from cocu.train.optim import adamw, learning_rate

GREY = 128


def check_arms(config: Config) -> None:
    """Make once what each arm trains with. Raises `ConfigError`, a line an arm, with the section and the reason."""
    mistakes = [mistake for name in config.arms if (mistake := _mistake(name, config.arm(name)))]
    if mistakes:
        raise ConfigError("\n".join(mistakes))


def _mistake(name: str, config: Config) -> str:
    parts: dict[str, Callable[[], object]] = {
        "model": lambda: _build(config),
        "train": lambda: _check_rates(config.train, config.corpus),
        "train.augment": lambda: _augment(config.train.augment, config.model.image_size),
    }
    for section, make in parts.items():
        try:
            make()
        except Exception as error:  # whatever a library has against a value
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            return f"arm '{name}' cannot be trained with its {section} ({reason.rstrip('.')}). Correct the section."
    return ""


def _build(config: Config) -> None:
    with torch.device("meta"):
        model = GroupViT(config.model, gumbel=config.train.gumbel)
    adamw(model, config.train)


def _check_rates(train: Train, corpus: Corpus) -> None:
    """The first rate may be 0, as where a warm-up begins; those of the middle and the end may not."""
    # How many pairs shards hold is not known yet: a step an epoch is the shortest that they can give.
    a_epoch = corpus.mini.train_pairs // train.batch_size if corpus.kind == "mini" else 1
    steps = train.steps or train.epochs * a_epoch
    rates = [learning_rate(step, steps, train) for step in (0, steps // 2, steps - 1)]
    if not all(map(math.isfinite, rates)) or min(rates) < 0 or max(rates[1:]) <= 0:
        raise ValueError(f"the learning rate of the first, middle and last of {steps} steps is {rates}")


def _augment(augment: Augment, side: int) -> None:
    Augmentation(augment, side)(np.full((side, side, 3), GREY, np.uint8), seed=0)
