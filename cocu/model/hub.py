"""Model folders: `model.safetensors` and `model.json`, written by training and read by everything that segments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from cocu.config import Model
from cocu.device import CPU
from cocu.errors import DataError
from cocu.model.groupvit import GroupViT
from cocu.pairs.images import IMAGENET, Normalisation
from cocu.weights import DESCRIPTION, WEIGHTS, read_description, read_weights, write_weights

FORMAT = 1


def save_model(folder: Path, model: GroupViT, card: dict[str, Any]) -> None:
    """The model's folder; `card` is added to the description."""
    write_weights(folder, model, {"format": FORMAT, "model": model.config.model_dump(mode="json"), **card})


def model_folder(checkpoint: Path) -> Path:
    """The folder of a model that is named by its folder, or by the weights in it."""
    return checkpoint.parent if checkpoint.suffix == ".safetensors" else checkpoint


def load_model(folder: Path, device: torch.device = CPU) -> tuple[GroupViT, Normalisation]:
    """The model of a folder, in evaluation mode. Raises `DataError` for a damaged or foreign checkpoint."""
    description = read_description(folder, FORMAT)
    try:
        config = Model.model_validate(description["model"])
        model = GroupViT(config)
    except (ValidationError, KeyError) as error:
        raise DataError(f"{folder / DESCRIPTION} does not describe a model: {error}") from error
    try:
        model.load_state_dict(read_weights(folder))
    except RuntimeError as error:
        raise DataError(f"{folder / WEIGHTS} does not fit the model that {DESCRIPTION} describes: {error}") from error
    return model.to(device).eval(), IMAGENET
