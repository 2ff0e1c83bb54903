"""Published GroupViT checkpoints in and out, in the format of the `transformers` library.

Takes a name of the Hugging Face hub or a local folder and writes a model folder of this project; and back. One table
pairs the names of the parameters, and both directions follow from it. Source: `transformers.GroupViTModel`, which holds
the weights of Xu et al. 2022 (arXiv 2202.11094) as `nvidia/groupvit-gcc-yfcc`.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from cocu.config import Model
from cocu.errors import CocuError, ConfigError, DataError, EnvironmentFault, missing
from cocu.io import atomic_path
from cocu.log import say
from cocu.model.grouping import ASSIGN_EPS
from cocu.model.groupvit import END_OF_TEXT, VOCABULARY, GroupViT
from cocu.model.hub import load_model, model_folder, save_model
from cocu.sections import Stage

# Theirs, ours; * is a number. Replaced in this order, so that the longer of two names that overlap comes first.
NAMES = (
    ("vision_model.embeddings.patch_embeddings.projection.", "image.stem."),
    ("vision_model.embeddings.layernorm.", "image.norm_patches."),
    ("vision_model.embeddings.position_embeddings", "image.positions"),
    ("vision_model.encoder.stages.", "image.stages."),
    ("vision_model.layernorm.", "image.norm."),
    ("text_model.embeddings.token_embedding.", "text.tokens."),
    ("text_model.embeddings.position_embedding.weight", "text.positions"),
    ("text_model.encoder.layers.", "text.layers."),
    ("text_model.final_layer_norm.", "text.norm."),
    ("visual_projection.", "image_head."),
    ("text_projection.", "text_head."),
    (".group_token", ".group_tokens"),
    (".group_projector.", ".carry."),
    (".downsample.", ".grouping."),
    (".pre_assign_attn.attn.", ".pre_assign.attention."),
    (".pre_assign_attn.", ".pre_assign."),
    (".self_attn.", ".attention."),
    ("*.layer_norm1.", "*.norm1."),
    ("*.layer_norm2.", "*.norm2."),
    (".q_proj.", ".q."),
    (".k_proj.", ".k."),
    (".v_proj.", ".v."),
    (".assign.proj.", ".assign.out."),
    (".out_proj.", ".out."),
)
HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")
NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")
EXPORTED = frozenset({"config.json", "model.safetensors", "preprocessor_config.json"})


def import_checkpoint(source: str, out: Path) -> None:
    """Write the `GroupViTModel` of `source`, a hub name or a local folder, as the model folder `out`.

    Its preprocessor is not taken over: the published ones name CLIP's normalisation, where the training had ImageNet's.
    Raises `DataError` for another architecture, missing or damaged weights, and `EnvironmentFault` for a hub name that
    cannot be fetched or a `transformers` that is not installed.
    """
    if (out / "config.json").exists():
        raise DataError(f"{out} holds a checkpoint of transformers, whose weights would be lost: give another --out.")
    library = _library(source)
    # Without this, `transformers` asks a public service to convert a hub's .bin file to safetensors.
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    if not Path(source).is_dir():
        if not HUB_NAME.fullmatch(source):
            raise DataError(f"There is no folder {source}. Give one, or a hub name such as nvidia/groupvit-gcc-yfcc.")
        say(f"{source} is fetched from the Hugging Face hub, unless its files are in the cache.")
    with _quiet(library), _reading(source):
        described, _ = library.GroupViTConfig.get_config_dict(source)
        if (kind := described.get("model_type")) != "groupvit":
            raise DataError(
                f"{source} is no GroupViT: the model_type in its config.json is {kind or 'missing'}, not groupvit. "
                "Give a checkpoint such as nvidia/groupvit-gcc-yfcc."
            )
        config = library.GroupViTConfig.from_dict(described)
        ours = GroupViT(model_section(config, source))
        theirs, found = library.GroupViTModel.from_pretrained(source, config=config, output_loading_info=True)
    _check_weights(source, found)
    ours.load_state_dict(from_transformers(theirs.state_dict()))
    weights = save({name: value.contiguous() for name, value in ours.state_dict().items()})
    digest, revision = hashlib.sha256(weights).hexdigest(), described.get("_commit_hash")
    save_model(out, ours, {"imported": {"source": source, "revision": revision, "weights_sha256": digest}})


def export_checkpoint(checkpoint: Path, out: Path) -> None:
    """Write a model folder, or the one that the file `checkpoint` lies in, for `GroupViTModel.from_pretrained(out)`.

    Raises `ConfigError` for a model that `transformers` cannot express, and `DataError` for a damaged checkpoint or an
    `out` that holds anything but an earlier export.
    """
    if out.is_file() or (out.is_dir() and {file.name for file in out.iterdir()} - EXPORTED):
        raise DataError(f"{out} would be replaced, and holds more than an earlier export: give a new folder.")
    library = _library(out)
    folder = model_folder(checkpoint)
    ours, normalisation = load_model(folder)
    _check_expressible(folder, ours.config)
    state = to_transformers(ours.state_dict())
    # Their forward pass has no upper bound on the temperature's factor; GroupViT.scale has.
    state["logit_scale"] = state["logit_scale"].clamp(max=math.log(100.0))
    side = ours.config.image_size
    processor = library.CLIPImageProcessor(
        size={"shortest_edge": side},
        crop_size={"height": side, "width": side},
        image_mean=list(normalisation.mean),
        image_std=list(normalisation.std),
    )
    theirs = library.GroupViTModel(library.GroupViTConfig(**groupvit_config(ours.config)))
    theirs.load_state_dict(state)
    with _quiet(library), atomic_path(out) as temporary:
        theirs.save_pretrained(temporary)
        processor.save_pretrained(temporary)


def from_transformers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of a `GroupViTModel` under our names; positions (1, h * w, d) become a square map (1, d, h, w)."""
    out = {_renamed(name, NAMES): value for name, value in state.items()}
    positions = out["image.positions"].transpose(1, 2)
    side = math.isqrt(positions.shape[2])
    return {**out, "image.positions": positions.unflatten(2, (side, side))}


def to_transformers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of our `GroupViT` under the names of `GroupViTModel`; the inverse of `from_transformers`."""
    state = {**state, "image.positions": state["image.positions"].flatten(2).transpose(1, 2)}
    pairs = tuple((ours, theirs) for theirs, ours in NAMES)
    return {_renamed(name, pairs): value for name, value in state.items()}


def _renamed(name: str, pairs: tuple[tuple[str, str], ...]) -> str:
    numbers = iter(NUMBER.findall(name))
    name = NUMBER.sub("*", name)
    for old, new in pairs:
        name = name.replace(old, new)
    return re.sub(r"\*", lambda _: next(numbers), name)


def model_section(config: Any, source: str) -> Model:
    """The section `model` of a `GroupViTConfig`; a `DataError` where it differs from what our layers fix."""
    text, vision = config.text_config, config.vision_config
    tokens = list(vision.num_group_tokens)
    # After a stage that does not group, our next one has no group tokens to start from.
    groups = [
        n or (0 if any(tokens[stage:]) else out)
        for stage, (n, out) in enumerate(zip(tokens, vision.num_output_groups, strict=False))
    ]
    # In files from before July 2023 the end of text is 2, and transformers then takes the highest id, which it is.
    end = text.eos_token_id if text.eos_token_id == 2 else END_OF_TEXT
    fixed = (
        ("vision_config.num_channels", vision.num_channels, 3),
        ("vision_config.hidden_act", vision.hidden_act, "gelu"),
        ("vision_config.layer_norm_eps", vision.layer_norm_eps, 1e-5),
        ("vision_config.intermediate_size", vision.intermediate_size, 4 * vision.hidden_size),
        ("vision_config.assign_eps", vision.assign_eps, ASSIGN_EPS),
        ("vision_config.assign_mlp_ratio", list(vision.assign_mlp_ratio), [0.5, 4]),
        ("vision_config.num_output_groups", list(vision.num_output_groups), groups),
        ("text_config.hidden_act", text.hidden_act, "quick_gelu"),
        ("text_config.layer_norm_eps", text.layer_norm_eps, 1e-5),
        ("text_config.intermediate_size", text.intermediate_size, 4 * text.hidden_size),
        ("text_config.vocab_size", text.vocab_size, VOCABULARY),
        ("text_config.eos_token_id", text.eos_token_id, end),
    )
    if wrong := [f"{key} is {value!r}, not {needed!r}" for key, value, needed in fixed if value != needed]:
        raise DataError(
            f"{source} differs from the published GroupViT in more than its sizes, and cannot be imported: "
            f"in its config.json {'; '.join(wrong)}."
        )
    try:
        stages = zip(vision.depths, tokens, strict=True)
        return Model(
            image_size=vision.image_size,
            stem="patch",
            patch_size=vision.patch_size,
            width=vision.hidden_size,
            heads=vision.num_attention_heads,
            stages=tuple(Stage(depth=depth, group_tokens=tokens) for depth, tokens in stages),
            text_width=text.hidden_size,
            text_heads=text.num_attention_heads,
            text_layers=text.num_hidden_layers,
            context_length=text.max_position_embeddings,
            embed_dim=config.projection_dim,
            projector_layers=2,
            projector_width=config.projection_intermediate_dim,
            temperature=math.exp(-config.logit_scale_init_value),
        )
    except ValueError as error:
        raise DataError(f"The config.json of {source} describes no model that can be imported: {error}") from error


def groupvit_config(model: Model) -> dict[str, Any]:
    """The arguments of `GroupViTConfig` for our section `model`; those left out have the published values."""
    groups = [stage.group_tokens for stage in model.stages]
    return {
        "projection_dim": model.embed_dim,
        "projection_intermediate_dim": model.projector_width,
        "logit_scale_init_value": math.log(1 / model.temperature),
        "text_config": {
            "hidden_size": model.text_width,
            "intermediate_size": 4 * model.text_width,
            "num_hidden_layers": model.text_layers,
            "num_attention_heads": model.text_heads,
            "max_position_embeddings": model.context_length,
        },
        "vision_config": {
            "image_size": model.image_size,
            "patch_size": model.patch_size,
            "hidden_size": model.width,
            "intermediate_size": 4 * model.width,
            "num_attention_heads": model.heads,
            "num_hidden_layers": sum(stage.depth for stage in model.stages),
            "depths": [stage.depth for stage in model.stages],
            "num_group_tokens": groups,
            "num_output_groups": groups,
        },
    }


def _check_expressible(folder: Path, model: Model) -> None:
    published = {"stem": "patch", "assign_scale": 0.0, "segment_residual": "attended", "projector_layers": 2}
    found = {key: getattr(model, key) for key in published}
    wrong = [f"model.{k} is {v!r}, not {published[k]!r}" for k, v in found.items() if v != published[k]]
    if not any(stage.depth for stage in model.stages):
        wrong.append("model.stages has depth 0 alone, and needs an attention layer")
    if wrong:
        raise ConfigError(
            f"{folder} cannot be exported, since the GroupViT of transformers has the published form alone: "
            f"{'; '.join(wrong)}. Train with the model of config/full.yaml; its sizes are free."
        )


def _check_weights(source: str, found: dict[str, Any]) -> None:
    """`transformers` warns where weights are missing, and goes on with random ones."""
    missing = sorted(found["missing_keys"])
    # A constant that files of older versions hold.
    surplus = sorted(name for name in found["unexpected_keys"] if not name.endswith("position_ids"))
    for names, what in ((missing, "lack"), (surplus, "have, beyond the model's,")):
        if names:
            more = f" and {len(names) - 1} more" if names[1:] else ""
            raise DataError(
                f"The weights of {source} {what} {names[0]}{more}: the file is not whole, or of another model. "
                "Download it again."
            )


def _library(checkpoint: str | Path) -> Any:
    try:
        import transformers
    except ImportError as error:
        raise missing(f"The checkpoint {checkpoint} in the format of transformers", "'cocu[hf]'", error) from error
    return transformers


@contextmanager
def _quiet(library: Any) -> Iterator[None]:
    """Without the warnings and bars of `transformers`: what matters in them is checked and said here."""
    logging = library.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def _reading(source: str) -> Iterator[None]:
    """Every error of `transformers` as a sentence about `source`: it passes on those of many libraries as they are."""
    try:
        yield
    except CocuError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        if Path(source).is_dir():
            raise DataError(
                f"{source} holds no GroupViT that can be read ({reason}). It needs config.json, and model.safetensors "
                "or pytorch_model.bin: download it again."
            ) from error
        raise EnvironmentFault(
            f"{source} is no folder here, and could not be fetched from the hub ({reason}). Check the name and the "
            f"connection, or download it on another machine with `hf download {source} --local-dir DIR` and give "
            "that folder."
        ) from error
