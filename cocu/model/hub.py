"""Model folders: `model.safetensors` and `model.json`, written by training and read by everything that segments."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from cocu.config import Model
from cocu.device import CPU
from cocu.errors import DataError
from cocu.io import atomic_path, read_json, write_json
from cocu.model.groupvit import GroupViT

FORMAT = 1
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of RGB in [0, 1], and the side that the model was trained at, in pixels."""

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    image_size: int = 224


def save_model(folder: Path, model: GroupViT, card: dict[str, Any]) -> None:
    """Weights first, then the description: a folder with `model.json` is whole."""
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    with atomic_path(folder / WEIGHTS) as temporary:
        save_file(state, temporary)
    description = {"format": FORMAT, "model": json.loads(model.config.model_dump_json()), **card}
    write_json(folder / "model.json", description)


def model_folder(checkpoint: Path) -> Path:
    """The folder of a model that is named by its folder, or by the weights in it."""
    return checkpoint.parent if checkpoint.suffix == ".safetensors" else checkpoint


def load_model(folder: Path, device: torch.device = CPU) -> tuple[GroupViT, Normalisation]:
    """The model of a folder, in evaluation mode. Raises `DataError` for a damaged or foreign checkpoint."""
    description = read_json(folder / "model.json")
    if description.get("format") != FORMAT:
        raise DataError(
            f"{folder / 'model.json'} has format {description.get('format')}, and this version reads {FORMAT}: "
            "update cocu, or train again."
        )
    weights = folder / WEIGHTS
    try:
        config = Model.model_validate(description["model"])
        model = GroupViT(config)
        model.load_state_dict(load_file(weights))
    except (ValidationError, KeyError) as error:
        raise DataError(f"{folder / 'model.json'} does not describe a model: {error}") from error
    except (OSError, SafetensorError) as error:
        raise DataError(f"{weights} is missing or damaged ({error}). Delete the folder and train again.") from error
    except RuntimeError as error:
        raise DataError(f"{weights} does not fit the model that model.json describes: {error}") from error
    return model.to(device).eval(), Normalisation(image_size=config.image_size)
