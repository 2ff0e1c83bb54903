"""The mini experiment's CLIP: a small one, trained on the "web" draw of the mini world.

Takes the web corpus, whose captions name everything visible; gives model.safetensors, model.json and manifest.json,
with the final loss and the zero-shot mAP on scenes of a draw of their own. It has seen complete captions of the same
world that it later judges: whatever is shown of the mini experiment says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy, embedding, normalize

from cocu.clip.encoder import FORMAT, PROMPT, build_stand_in, normalise, stand_in_tokenizer
from cocu.config import Config, MiniWorld, StandIn
from cocu.device import CPU, attention_backend
from cocu.errors import DataError, NumericsError
from cocu.io import file_sha256, write_json
from cocu.layout import MANIFEST
from cocu.log import RunCard, progress, say
from cocu.mini.world import NAMES, draw_scene, load_sprites, scene_generator
from cocu.pairs.images import decode_image
from cocu.pairs.reader import ShardReader
from cocu.pairs.shards import manifest_shards
from cocu.weights import WEIGHTS, write_weights

PROBES = 500
WARMUP = 0.05  # of the steps
MAX_LOGIT_SCALE = math.log(100.0)

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Pairs:
    """n decoded images uint8 (n, H, W, 3) and their captions."""

    images: Pixels
    captions: list[str]


def run(config: Config, *, corpus: Path, out: Path) -> None:
    """Train the stand-in on the corpus of the manifest `corpus` and write it to the folder `out`.

    Raises `DataError` for a corpus with too few pairs, `NumericsError` when the loss is not finite.
    """
    card = RunCard("stand-in")
    torch.set_num_threads(1)
    section, size = config.clip.stand_in, config.corpus.mini.image_size
    pairs = read_corpus(corpus, size)
    if len(pairs.captions) < section.batch_size:
        raise DataError(f"{corpus} has {len(pairs.captions)} pairs, fewer than a batch ({section.batch_size}).")
    description = describe(size)
    model, losses = train(pairs, description, section)
    score = zero_shot_map(model, description, *probe_scenes(config.corpus.mini))
    say(f"stand-in CLIP: loss {losses[-1]:.3f}, zero-shot mAP {score:.3f} on {PROBES} new scenes")
    write_weights(out, model, {"format": FORMAT, "open_clip": description})
    manifest = {
        "counts": {"pairs": len(pairs.captions), "probe_scenes": PROBES, "steps": section.steps},
        "loss": round(losses[-1], 4),
        "zero_shot_map": round(score, 4),
        "note": "trained on complete captions of the mini world",
        "settings": section.model_dump(mode="json"),
        "inputs": {"corpus": [shard.sha256 for shard in manifest_shards(corpus)]},
        "sha256": file_sha256(out / WEIGHTS),
        "card": card.card(),
    }
    write_json(out / MANIFEST, manifest)


def describe(image_size: int) -> dict[str, Any]:
    """open_clip's configuration of the stand-in: timm's smallest ResNet and a text transformer of two layers."""
    return {
        "embed_dim": 128,
        "vision_cfg": {
            "timm_model_name": "test_resnet",
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": "linear",
            "image_size": image_size,
        },
        "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 2},
    }


def read_corpus(manifest: Path, size: int) -> Pairs:
    """All pairs of a mini corpus, decoded. Raises `DataError` for an image of another size."""
    reader = ShardReader(manifest_shards(manifest))
    images = np.empty((len(reader), size, size, 3), np.uint8)
    for i in progress(range(len(reader)), total=len(reader), what="reading web pairs"):
        image = decode_image(reader.image(i), reader.key(i))
        if image.shape != images.shape[1:]:
            raise DataError(
                f"The image {reader.key(i)} is {image.shape[:2]}, not {size} x {size}. Build the corpus again."
            )
        images[i] = image
    return Pairs(images, [reader.caption(i) for i in range(len(reader))])


def train(pairs: Pairs, description: dict[str, Any], section: StandIn) -> tuple[Any, list[float]]:
    """(model in evaluation mode, loss of every step): image-caption InfoNCE both ways; one seed, one result."""
    with torch.random.fork_rng():
        torch.manual_seed(section.seed)
        model = build_stand_in(description)
    # The table has a row for each of 49,408 tokens and the corpus uses fifty: only those are trained, the rest stay as
    # they began. Numbering them anew keeps their order, so the end-of-text token stays the largest.
    used, tokens = torch.unique(
        stand_in_tokenizer(description)(pairs.captions), return_inverse=True
    )  # (u,), (n, context)
    table = torch.nn.Parameter(model.token_embedding.weight.detach()[used])  # (u, width)
    order = _orders(len(pairs.captions), section)
    mirrored = np.random.default_rng([section.seed, 1]).random(order.shape) < 0.5
    optimiser = torch.optim.AdamW(
        _groups(model, table, section.weight_decay), lr=section.lr, betas=(0.9, 0.98), fused=True
    )
    target, losses = torch.arange(section.batch_size), []
    model.train()
    for step in progress(range(section.steps), total=section.steps, what="training the stand-in CLIP, steps"):
        batch = order[step]
        with attention_backend(CPU):
            shown = np.where(mirrored[step][:, None, None, None], pairs.images[batch][:, :, ::-1], pairs.images[batch])
            images = normalize(model.encode_image(normalise(shown)), dim=-1)
            texts = normalize(encode_tokens(model, tokens[torch.from_numpy(batch)], table), dim=-1)
            logits = model.logit_scale.exp() * images @ texts.T
            loss = (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2
            if not torch.isfinite(loss):
                raise NumericsError(f"The stand-in's loss is {loss.item()} at step {step}. Lower clip.stand_in.lr.")
            optimiser.zero_grad()
            loss.backward()
        for group in optimiser.param_groups:
            group["lr"] = section.lr * _schedule(step, section.steps)
        optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, MAX_LOGIT_SCALE)
        losses.append(loss.item())
    with torch.no_grad():
        model.token_embedding.weight[used] = table
    return model.eval(), losses


def encode_tokens(model: Any, tokens: Tensor, table: Tensor) -> Tensor:
    """Text features (n, d) of tokens (n, context) into the rows of `table`, computed up to the batch's longest text.

    Attention is causal and the features are read at the end-of-text token, so what is behind it cannot matter:
    the same values as the model's own `encode_text`, in half the time.
    """
    ends = tokens.argmax(dim=-1)  # the end-of-text token has the largest id
    length = int(ends.max()) + 1
    x = embedding(tokens[:, :length], table) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    features: Tensor = x[torch.arange(len(x)), ends] @ model.text_projection
    return features


def probe_scenes(world: MiniWorld) -> tuple[Pixels, NDArray[np.bool_]]:
    """Images (n, H, W, 3) and what each shows (n, concepts), drawn for no other purpose."""
    rng, sprites = scene_generator(world, "probe", 0, 0), load_sprites()
    scenes = [draw_scene(world, rng, sprites) for _ in range(PROBES)]
    shown = np.array([[name in scene.names for name in NAMES] for scene in scenes])
    return np.stack([scene.image for scene in scenes]), shown


def zero_shot_map(model: Any, description: dict[str, Any], images: Pixels, shown: NDArray[np.bool_]) -> float:
    """The average precision of ranking images by <t_c, v_i>, mean over the world's concepts that are shown at all."""
    prompts = stand_in_tokenizer(description)([PROMPT.format(name) for name in NAMES])
    with torch.inference_mode(), attention_backend(CPU):
        chunks = [model.encode_image(normalise(c)) for c in np.array_split(images, -(-len(images) // 256))]
        texts = normalize(model.encode_text(prompts), dim=-1)
        scores = (normalize(torch.cat(chunks), dim=-1) @ texts.T).numpy()
    return float(
        np.mean([average_precision(scores[:, i], shown[:, i]) for i in range(len(NAMES)) if shown[:, i].any()])
    )


def average_precision(scores: Floats, relevant: NDArray[np.bool_]) -> float:
    """Mean, over the relevant items, of the precision at each one's rank by falling score; at least one is relevant."""
    hits = relevant[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean())


def _orders(count: int, section: StandIn) -> NDArray[np.int64]:
    """Pair numbers (steps, batch): every pair once before any comes again, up to what does not fill a batch."""
    rng = np.random.default_rng(section.seed)
    per_epoch = count // section.batch_size
    epochs = [rng.permutation(count)[: per_epoch * section.batch_size] for _ in range(-(-section.steps // per_epoch))]
    return np.concatenate(epochs).reshape(-1, section.batch_size)[: section.steps]


def _groups(model: torch.nn.Module, table: torch.nn.Parameter, weight_decay: float) -> list[dict[str, Any]]:
    """Weights decay; gains, biases and the temperature do not. `table` takes the token embedding's place."""
    trained = [table, *(p for name, p in model.named_parameters() if name != "token_embedding.weight")]
    decayed = {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay}
    return [decayed, {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0}]


def _schedule(step: int, steps: int) -> float:
    """The learning rate's factor: linear warm-up, then a cosine to zero."""
    warmup = max(1, round(WARMUP * steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
