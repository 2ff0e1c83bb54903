"""A model's folder: `model.safetensors` and `model.json`, which says what the weights are of.

The weights are written first, so that a folder with a description is whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cocu.errors import DataError
from cocu.io import atomic_path, read_json, write_json

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"


def write_weights(folder: Path, model: nn.Module, description: dict[str, Any]) -> None:
    """Write the model's state, on the CPU, and the description, which says its `format`."""
    from safetensors.torch import save_file

    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with atomic_path(folder / WEIGHTS) as temporary:
        save_file(state, temporary)
    write_json(folder / DESCRIPTION, description)


def read_description(folder: Path, form: int) -> dict[str, Any]:
    """What a folder's weights are of. Raises `DataError` for a format that this version does not read."""
    path = folder / DESCRIPTION
    description: dict[str, Any] = read_json(path)
    if description.get("format") != form:
        raise DataError(
            f"{path} has format {description.get('format')}, and this version reads {form}: update cocu, or train "
            "again."
        )
    return description


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors by name, on the CPU. Raises `DataError` for a file that is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / WEIGHTS
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path} is missing or damaged ({error}). Delete the folder and train again.") from error
    return tensors
