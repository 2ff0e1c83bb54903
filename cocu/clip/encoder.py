"""CLIP as two functions: images -> unit vectors v_i, texts -> unit vectors t_c.

Takes an open_clip model with published weights (a tag, or a local file), or the folder of the stand-in that the mini
experiment trains; gives a `ClipEncoder`. Images go through the model's own preprocessing.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from cocu.config import Clip, suggest
from cocu.device import CPU, attention_backend
from cocu.errors import ConfigError, DataError, EnvironmentFault
from cocu.pairs.images import OPENAI
from cocu.weights import DESCRIPTION, WEIGHTS, read_description, read_weights

STAND_IN = "stand-in"
FORMAT = 1
PROMPT = "a photo of a {}"  # t_c is the embedding of this with c in it

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


class ClipEncoder:
    """A CLIP model in evaluation mode, and what turns images and texts into its input.

    prepare: one uint8 (H, W, 3) RGB image -> float32 (3, h, w); it may be called from several threads.
    facts: model, pretrained and the SHA-256 of the weights, for manifests.
    """

    def __init__(
        self,
        model: Any,
        prepare: Callable[[Pixels], Tensor],
        tokenize: Callable[[list[str]], Tensor],
        facts: dict[str, str],
        *,
        batch_size: int,
        device: torch.device,
    ) -> None:
        self.prepare, self.facts, self.batch_size = prepare, facts, batch_size
        self._model, self._tokenize, self._device = model.to(device).eval(), tokenize, device

    def images(self, images: Sequence[Pixels | Image.Image]) -> Floats:
        """Unit rows (n, d) of RGB images: uint8 (H, W, 3) arrays, or Pillow's."""
        arrays = [np.array(i.convert("RGB")) if isinstance(i, Image.Image) else i for i in images]
        rows = [self.prepared([self.prepare(a) for a in batch]) for batch in _batches(arrays, self.batch_size)]
        return _stack(rows)

    def prepared(self, tensors: Sequence[Tensor]) -> Floats:
        """Unit rows (n, d) of one batch of images that `prepare` has been applied to."""
        return self._unit(self._model.encode_image, torch.stack(list(tensors)))

    def texts(self, texts: Sequence[str]) -> Floats:
        """Unit rows (n, d) of texts."""
        rows = [self._unit(self._model.encode_text, self._tokenize(b)) for b in _batches(list(texts), self.batch_size)]
        return _stack(rows)

    def _unit(self, encode: Callable[[Tensor], Tensor], batch: Tensor) -> Floats:
        with torch.inference_mode(), attention_backend(self._device):
            features = encode(batch.to(self._device)).float()
            unit: Floats = torch.nn.functional.normalize(features, dim=-1).cpu().numpy()
        return unit


def load_encoder(section: Clip, stand_in: Path | None, device: torch.device = CPU) -> ClipEncoder:
    """The encoder that the configuration names; `stand_in` is the stand-in's folder, needed for that one only.

    Raises `ConfigError` for a model or tag that does not exist, `EnvironmentFault` when published weights are neither
    here nor to be had, and `DataError` for weights that are damaged or of another model.
    """
    if section.model == STAND_IN:
        if stand_in is None:
            raise ConfigError("clip.model is 'stand-in' and no folder of a trained stand-in is given.")
        model, tokenize, size = load_stand_in(stand_in)
        prepare: Callable[[Pixels], Tensor] = _StandInTransform(size)
    else:
        model, prepare, tokenize = load_published(section.model, section.pretrained)
    pretrained = Path(section.pretrained).name  # a file's folder differs between machines; its weights do not
    facts = {"model": section.model, "pretrained": pretrained, "sha256": weights_sha256(model)}
    return ClipEncoder(model, prepare, tokenize, facts, batch_size=section.batch_size, device=device)


def weights_sha256(model: torch.nn.Module) -> str:
    """The SHA-256 of a model's parameters and buffers, the same from whichever file they were read."""
    joined = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        array = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        joined.update(f"{name} {tuple(value.shape)} {value.dtype}\0".encode())
        joined.update(memoryview(array))
    return joined.hexdigest()


def build_stand_in(description: dict[str, Any]) -> Any:
    """open_clip's own CLIP of a custom configuration, with fresh weights."""
    from open_clip import CLIP

    return CLIP(**description)


def stand_in_tokenizer(description: dict[str, Any]) -> Callable[[list[str]], Tensor]:
    """open_clip's byte-pair tokenizer: texts -> int64 (n, context)."""
    from open_clip import SimpleTokenizer

    tokenize: Callable[[list[str]], Tensor] = SimpleTokenizer(context_length=description["text_cfg"]["context_length"])
    return tokenize


def load_stand_in(folder: Path) -> tuple[Any, Callable[[list[str]], Tensor], int]:
    """(model, tokenizer, image side in pixels) of a folder with model.safetensors and model.json."""
    description = read_description(folder, FORMAT)
    try:
        model, tokenize = build_stand_in(description["open_clip"]), stand_in_tokenizer(description["open_clip"])
        size = int(description["open_clip"]["vision_cfg"]["image_size"])
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{folder / DESCRIPTION} does not describe a stand-in CLIP ({error!r}). Train it again."
        ) from error
    try:
        model.load_state_dict(read_weights(folder))
    except RuntimeError as error:
        raise DataError(f"{folder / WEIGHTS} is of another model ({error}). Train it again.") from error
    return model, tokenize, size


def normalise(images: Pixels) -> Tensor:
    """uint8 (..., H, W, 3) -> float32 (..., 3, H, W), with CLIP's mean and standard deviation."""
    mean, std = (torch.tensor(v) * 255 for v in (OPENAI.mean, OPENAI.std))
    return torch.movedim((torch.from_numpy(images).float() - mean) / std, -1, -3)


class _StandInTransform:
    """Resize to the model's square where an image has another size, then normalise."""

    def __init__(self, size: int) -> None:
        self._size = (size, size)

    def __call__(self, image: Pixels) -> Tensor:
        if image.shape[:2] != self._size:
            image = np.array(Image.fromarray(image).resize(self._size, Image.Resampling.BICUBIC))
        return normalise(np.ascontiguousarray(image))


def check_published(name: str, pretrained: str) -> None:
    """Raise `ConfigError` for a model that open_clip does not have, and for what is neither a file nor a tag of it."""
    import open_clip

    known, tags = open_clip.list_models(), open_clip.list_pretrained_tags_by_model(name)
    if name not in known:
        raise ConfigError(f"open_clip has no model '{name}' (clip.model){suggest(name, known)}")
    if not Path(pretrained).is_file() and pretrained not in tags:
        raise ConfigError(
            f"clip.pretrained is '{pretrained}', which is neither a file that exists nor a tag of {name}"
            f"{suggest(pretrained, tags)} Its tags: {', '.join(tags)}."
        )


def load_published(name: str, pretrained: str) -> tuple[Any, Callable[[Pixels], Tensor], Callable[[list[str]], Tensor]]:
    import open_clip

    check_published(name, pretrained)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="QuickGELU mismatch")  # the vectors would be silently wrong
            model, _, transform = open_clip.create_model_and_transforms(name, pretrained=pretrained)
            tokenize = open_clip.get_tokenizer(name)
    except UserWarning as error:
        raise ConfigError(
            f"{error}: set clip.model to '{name}-quickgelu', which these weights were trained as."
        ) from error
    except Exception as error:  # open_clip and the libraries below it raise whatever they meet
        if Path(pretrained).is_file():
            raise DataError(
                f"{pretrained} does not hold weights of {name} ({_first_line(error)}). Download it again, or correct "
                "clip.model (OpenAI's weights need the name that ends in -quickgelu)."
            ) from error
        raise EnvironmentFault(
            f"The weights '{pretrained}' of {name} are not on this machine and could not be downloaded "
            f"({_first_line(error)}). On a machine without a network, copy the file there and set clip.pretrained "
            "to its path."
        ) from error
    return model, lambda image: transform(Image.fromarray(image)), tokenize


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _stack(rows: list[Floats]) -> Floats:
    return np.concatenate(rows) if rows else np.zeros((0, 0), np.float32)
