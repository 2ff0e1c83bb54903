"""Pre-training of one arm with one seed: pairs, captions and an archive in, a GroupViT checkpoint out.

Loss: InfoNCE of image and caption, plus the multi-label contrastive loss with concept prompts (GroupViT, equations 6
to 10). The state folder is keyed by all that decides the weights, so a rerun rightly goes on from it or starts anew.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cocu.config import Config, Train, digest
from cocu.device import attention_backend, pick_device
from cocu.errors import NumericsError
from cocu.io import code_fingerprint, file_sha256, read_json, write_text
from cocu.log import RunCard, progress, say
from cocu.model.groupvit import GroupViT
from cocu.model.hub import Normalisation, save_model
from cocu.model.loss import image_logits, info_nce, multi_label, segment_logits
from cocu.segment.benchmarks import showcase
from cocu.segment.score import validation_miou
from cocu.train.checkpoint import STATE, Progress, append_metrics, locked, restore, save
from cocu.train.data import Batch, Pairs, load_pairs, loader
from cocu.train.optim import adamw, learning_rate

VALIDATION_IMAGES = 200


def run(
    config: Config,
    *,
    seed: int,
    corpus: Path,
    captions: Path,
    archive: Path | None,
    val: Path | None,
    out: Path,
    state: Path,
) -> None:
    """Train and write `model.safetensors`, `model.json` and `curve.csv` into `out`; resume from `state` when it can.

    `config` has the arm applied. Raises `DataError` for side-cars that do not belong to the corpus, `NumericsError`
    when a loss or gradient is not finite (the state stays at the last good checkpoint), `EnvironmentFault` where the
    GPU that is asked for is missing.
    """
    card = RunCard("train", arm=out.parent.name, seed=seed, config=config.fingerprint("model", "train"))
    device = pick_device(config.device)
    torch.set_num_threads(config.train.threads)
    pairs = load_pairs(config, seed, corpus, captions, archive)
    steps = config.train.steps or config.train.epochs * (len(pairs) // config.train.batch_size)
    folder = state / digest([config.fingerprint("model", "train"), seed, _inputs(corpus, captions, archive)])
    with locked(folder), attention_backend(device):
        torch.manual_seed(seed)
        model = GroupViT(config.model, gumbel=config.train.gumbel).to(device)
        optimizer = adamw(model, config.train)
        at = restore(folder, model, optimizer, device)
        curve = _train(config, model, optimizer, pairs, at, steps, folder, val, device)
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / "curve.csv", "step,val_miou\n" + "".join(f"{s},{m:.4f}\n" for s, m in curve))
        save_model(out, model, {"card": card.card(), "steps": steps, "pairs": len(pairs)})
        (folder / STATE).unlink(missing_ok=True)  # heavy, and of no more use; the metrics stay


def _train(
    config: Config,
    model: GroupViT,
    optimizer: torch.optim.Optimizer,
    pairs: Pairs,
    at: Progress,
    steps: int,
    folder: Path,
    val: Path | None,
    device: torch.device,
) -> tuple[tuple[int, float], ...]:
    train, curve = config.train, at.curve
    batches = loader(pairs, config, at.step, steps)
    for step, batch in enumerate(progress(batches, total=len(batches), what="training"), start=at.step + 1):
        rate = learning_rate(step - 1, steps, train)
        for group in optimizer.param_groups:
            group["lr"] = rate
        model.train()
        loss, norm = update(model, optimizer, batch.to(device), train, pairs)
        if step % train.log_every == 0 or step == steps:
            append_metrics(
                folder, {"step": step, **loss, "gradient_norm": norm, "lr": rate, "scale": model.scale().item()}
            )
        if val and train.validate_every and (step % train.validate_every == 0 or step == steps):
            curve = (*curve, (step, _validate(config, model, val)))
        if step % train.checkpoint_every == 0 and step < steps:
            save(folder, model, optimizer, Progress(step, curve))
    return curve


def update(
    model: GroupViT, optimizer: torch.optim.Optimizer, batch: Batch, train: Train, pairs: Pairs
) -> tuple[dict[str, float], float]:
    """One optimiser step -> the losses and the norm of the gradient before it was clipped."""
    with autocast(train, batch.images.device):
        info, labels = losses(model, batch, train.multi_label_level)
    loss = info + labels
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), train.clip_grad)
    if not torch.isfinite(loss + norm):
        keys = ", ".join(pairs.reader.key(int(i)) for i in batch.rows[:4])
        raise NumericsError(
            f"The loss is {loss.item()} and its gradient's norm {norm.item()}, in a batch that begins with {keys}. "
            "The last checkpoint is whole: lower train.lr, or look at these samples, and run again."
        )
    optimizer.step()
    return {"info_nce": info.item(), "multi_label": labels.item()}, float(norm)


def losses(model: GroupViT, batch: Batch, level: str) -> tuple[Tensor, Tensor]:
    """InfoNCE and the multi-label loss of a batch; captions and prompts pass the text encoder together."""
    b, m, _ = batch.prompts.shape
    image = model.encode_image(batch.images)
    text = model.encode_text(torch.cat([batch.captions, batch.prompts.flatten(0, 1)]))
    prompts, scale = text[b:].unflatten(0, (b, m)), model.scale()
    if level == "segment":
        logits = segment_logits(image.segments.float(), prompts.float(), scale)
    else:
        logits = image_logits(image.embedding.float(), prompts.float(), scale)
    return info_nce(image.embedding.float(), text[:b].float(), scale), multi_label(logits)


def autocast(train: Train, device: torch.device) -> AbstractContextManager[Any]:
    """bfloat16 where the configuration asks for it."""
    if train.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def _validate(config: Config, model: GroupViT, val: Path) -> float:
    benchmark = showcase(config.evaluate.benchmarks)
    score = validation_miou(model, Normalisation(image_size=config.model.image_size), benchmark, val, VALIDATION_IMAGES)
    say(f"val mIoU {score:.1f} on {benchmark.name}")
    return score


def _inputs(corpus: Path, captions: Path, archive: Path | None) -> list[str]:
    """Hashes of what the weights come from: shards, side-cars and code."""
    tables = [p for folder in (captions, archive) if folder for p in sorted(folder.glob("*.parquet"))]
    shards = [s["sha256"] for s in read_json(corpus)["shards"]]
    return [*shards, *map(file_sha256, tables), file_sha256(captions / "vocabulary.txt"), code_fingerprint(__name__)]
