"""Pre-training of one arm with one seed: pairs, captions and an archive in, a GroupViT checkpoint out.

The state folder is keyed by all that decides the weights, so a rerun rightly goes on from it or starts anew.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from cocu.benchmarks.definitions import showcase
from cocu.config import Config
from cocu.device import attention_backend, pick_device
from cocu.evaluate.score import validation_miou
from cocu.io import file_sha256, write_text
from cocu.layout import CURVE, WORDS, side_car
from cocu.log import RunCard, progress, say
from cocu.model.groupvit import GroupViT
from cocu.model.hub import save_model
from cocu.pairs.images import IMAGENET
from cocu.pairs.shards import manifest_shards
from cocu.stamp import digest, stamp
from cocu.train.checkpoint import Progress, append_metrics, check_finite, locked, remove_states, restore, save
from cocu.train.data import Pairs, batches, load_pairs
from cocu.train.optim import adamw, learning_rate
from cocu.train.step import update

VALIDATION_IMAGES = 200
CHANCE = 0.98  # of ln(batch size): InfoNCE above it tells no image from another
CHANCE_AFTER = (50, 0.2, 5_000)  # it is looked at after this share of the steps: no fewer than 50, no more than 5,000


def run(
    config: Config,
    *,
    arm: str,
    seed: int,
    corpus: Path,
    captions: Path,
    archive: Path | None,
    val: Path | None,
    out: Path,
    state: Path,
) -> None:
    """Train and write `model.safetensors`, `model.json` and `curve.csv` into `out`; resume from `state` when it can.

    `config` has `arm` applied. Raises `DataError` for side-cars that do not
    belong to the corpus and for a picture that cannot be used, `NumericsError` when a loss, gradient or weight is not
    finite (the state stays at the last good checkpoint), `EnvironmentFault` where the GPU that is asked for is missing.
    """
    card = RunCard("train", arm=arm, seed=seed)
    device = pick_device(config.device)
    torch.set_num_threads(config.train.threads)
    pairs = load_pairs(config, seed, corpus, captions, archive)
    steps = config.train.steps or config.train.epochs * (len(pairs) // config.train.batch_size)
    made_from = stamp("train", config, {"seed": seed, **inputs(corpus, captions, archive)})
    folder = state / digest(made_from)
    with locked(folder), attention_backend(device):
        torch.manual_seed(seed)
        model = GroupViT(config.model, gumbel=config.train.gumbel).to(device)
        optimizer = adamw(model, config.train)
        at = restore(folder, model, optimizer, device)
        curve = _train(config, model, optimizer, pairs, at, steps, folder, val, device)
        check_finite(model, steps)
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / CURVE, "step,val_miou\n" + "".join(f"{s},{m:.4f}\n" for s, m in curve))
        facts = {"arm": arm, "seed": seed, "train": config.train.model_dump(mode="json"), "stamp": made_from}
        save_model(out, model, {**facts, "steps": steps, "pairs": len(pairs), "card": card.card()})
        remove_states(folder)


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
    ahead = progress(batches(pairs, config, at.step, steps), total=steps - at.step, what="training")
    watch = ChanceWatch(train.batch_size, steps)
    for step, batch in enumerate(ahead, start=at.step + 1):
        rate = learning_rate(step - 1, steps, train)
        for group in optimizer.param_groups:
            group["lr"] = rate
        model.train()
        loss, norm = update(model, optimizer, batch.to(device), train, pairs.reader.key)
        watch.see(step, loss["info_nce"])
        if step % train.log_every == 0 or step == steps:
            append_metrics(
                folder, {"step": step, **loss, "gradient_norm": norm, "lr": rate, "scale": model.scale().item()}
            )
        if val and train.validate_every and (step % train.validate_every == 0 or step == steps):
            curve = (*curve, (step, _validate(config, model, val)))
        if step % train.checkpoint_every == 0 and step < steps:
            save(folder, model, optimizer, Progress(step, curve))
    return curve


class ChanceWatch:
    """Says once when InfoNCE stays at chance, which is ln(batch size): a run of days would learn nothing."""

    def __init__(self, batch_size: int, steps: int) -> None:
        least, share, most = CHANCE_AFTER
        self.batch_size, self.after = batch_size, max(least, min(most, round(share * steps)))
        self.seen: list[float] = []

    def see(self, step: int, info_nce: float) -> None:
        """Take the loss of `step`, from 1; the mean over the second half of the time is what counts."""
        if self.after // 2 < step <= self.after:
            self.seen.append(info_nce)
        if step != self.after:
            return
        mean, chance = sum(self.seen) / len(self.seen), math.log(self.batch_size)
        if mean > CHANCE * chance:
            say(
                f"Warning: after {step} steps InfoNCE is {mean:.3f}, and chance is {chance:.3f} with {self.batch_size} "
                "pairs a step: the model tells no image from another. Lower train.lr, lengthen the warm-up, or look at "
                "the captions."
            )


def _validate(config: Config, model: GroupViT, val: Path) -> float:
    benchmark = showcase(config.evaluate.benchmarks)
    score = validation_miou(model, IMAGENET, benchmark, val, VALIDATION_IMAGES)
    say(f"val mIoU {score:.1f} on {benchmark.name}")
    return score


def inputs(corpus: Path, captions: Path, archive: Path | None) -> dict[str, Any]:
    """Hashes of what the weights come from: shards, side-cars and vocabulary; None where there is no archive."""
    shards = sorted(manifest_shards(corpus), key=lambda shard: shard.shard)
    return {
        "shards": digest([(shard.shard, shard.sha256, shard.samples) for shard in shards]),
        "captions": digest([file_sha256(side_car(captions, shard.shard)) for shard in shards]),
        "vocabulary": file_sha256(captions / WORDS),
        "archive": digest([file_sha256(side_car(archive, shard.shard)) for shard in shards]) if archive else None,
    }
