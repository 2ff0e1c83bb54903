"""Training steps against the same written out plainly: losses, gradients, rates and new weights."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cocu.config import Config, load, merge, validate
from cocu.errors import NumericsError
from cocu.model.groupvit import GroupViT
from cocu.model.hub import load_model
from cocu.model.loss import image_logits, info_nce, multi_label, segment_logits
from cocu.train import loop, step
from cocu.train.checkpoint import METRICS
from cocu.train.data import Batch, batches, load_pairs
from cocu.train.optim import adamw
from tests.unit.train import plain
from tests.unit.train.corpus import Files, make_files, tiny_config

SEED, STEPS = 3, 3
PATCH = {  # the published form: drop-path, two groupings with a carry, a stage after them, projectors with BatchNorm
    "stem": "patch",
    "patch_size": 8,
    "stem_channels": [],
    "stem_strides": [],
    "stages": [{"depth": 2, "group_tokens": 5}, {"depth": 1, "group_tokens": 3}, {"depth": 1, "group_tokens": 0}],
    "drop_path": 0.3,
    "projector_layers": 2,
    "projector_width": 24,
    "text_layers": 2,
    "initialisation": "xavier",  # at this width 0.02 drowns in rounding
    "temperature": 0.11,
}
MINI = {  # the mini experiment's form
    "initialisation": "xavier",
    "assign_scale": 2.0,
    "segment_residual": "token",
    "temperature": 0.11,
}
TRAIN = {  # asymmetrical, and each of them active
    "steps": STEPS,
    "batch_size": 5,
    "lr": 0.002,
    "lr_warmup": 0.0007,
    "lr_min": 0.0004,
    "warmup_fraction": 0.34,
    "betas": [0.7, 0.93],
    "weight_decay": 0.4,
    "clip_grad": 0.6,
    "log_every": 1,
    "prompts": {"source": "archive", "sampling": "softmax", "count": 2, "templates": "imagenet"},
}


def configured(model: dict[str, object], **train: object) -> Config:
    data = tiny_config(**{**TRAIN, **train}).model_dump(mode="json")
    return validate({**data, "model": merge(data["model"], model)})


def trained(config: Config, files: Files, root: Path) -> tuple[dict[str, Tensor], list[dict[str, float]]]:
    """The trainer's weights and buffers after the last step, and its lines of metrics."""
    where = {"corpus": files.corpus, "captions": files.captions, "archive": files.archive, "val": None}
    loop.run(config, arm="cocu", seed=SEED, **where, out=root / "arm" / str(SEED), state=root / "state")
    (path,) = (root / "state").glob(f"*/{METRICS}")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return load_model(root / "arm" / str(SEED))[0].state_dict(), lines


def written_out(config: Config, files: Files) -> tuple[dict[str, Tensor], list[dict[str, float]], dict[str, Tensor]]:
    """The same by the plain functions, and how well each weight's gradient stands out of its rounding."""
    pairs = load_pairs(config, SEED, files.corpus, files.captions, files.archive)
    torch.manual_seed(SEED)
    model = GroupViT(config.model)
    names = [name for name, _ in model.named_parameters()]
    w = {name: value.clone().detach() for name, value in model.state_dict().items()}
    optimizer, lines = plain.AdamW(config.train), []
    for t, batch in enumerate(batches(pairs, config, 0, STEPS), start=1):
        for name in names:
            w[name].requires_grad_(True)
        info, label = plain.losses(w, config.model, config.train, batch)
        found = torch.autograd.grad(info + label, [w[name] for name in names])
        gradients, norm = plain.clipped(dict(zip(names, found, strict=True)), config.train.clip_grad)
        lr = plain.rate(t - 1, STEPS, config.train)
        for name in names:
            w[name].requires_grad_(False)
        optimizer.step(w, gradients, t, lr)
        losses = {"info_nce": info.item(), "multi_label": label.item()}
        scale = float(min(w["logit_scale"].exp(), torch.tensor(100.0)))
        lines.append({"step": t, **losses, "gradient_norm": norm, "lr": lr, "scale": scale})
    return w, lines, {name: v.sqrt() for name, v in optimizer.second.items()}


@pytest.mark.parametrize("level", ["image", "segment"])
@pytest.mark.parametrize("form", [PATCH, MINI], ids=["published form", "mini form"])
def test_three_steps_are_those_written_out(tmp_path: Path, form: dict[str, object], level: str) -> None:
    files, config = make_files(tmp_path), configured(form, multi_label_level=level)
    weights, lines = trained(config, files, tmp_path)
    expected, expected_lines, size = written_out(config, files)
    assert [line.keys() for line in lines] == [line.keys() for line in expected_lines]
    for line, wanted in zip(lines, expected_lines, strict=True):
        assert line == pytest.approx(wanted, rel=1e-5, abs=1e-5)
        assert line["gradient_norm"] > config.train.clip_grad  # it was clipped
    assert weights.keys() == expected.keys()
    compared = 0
    for name, value in expected.items():
        if name not in size:
            torch.testing.assert_close(weights[name], value, atol=5e-4, rtol=1e-3)  # the bias before it has no gradient
            continue
        # Adam makes full steps of gradients that are rounding alone (a key's bias has no other).
        sure = size[name] > max(1e-6, 0.03 * float(size[name].max()))
        off = (weights[name] - value).abs()
        assert (off[sure] >= 1e-5).sum() <= 0.002 * sure.sum(), name  # a ReLU's edge may move a weight by more
        assert (off[sure] < 1e-4).all() and (off < 2 * STEPS * config.train.lr).all(), name
        compared += int(sure.sum()) if name != "text.tokens.weight" else 0  # of which few are used
    assert compared > 0.7 * sum(v.numel() for name, v in size.items() if name != "text.tokens.weight")


def one_batch(config: Config, files: Files) -> tuple[GroupViT, Batch]:
    pairs = load_pairs(config, SEED, files.corpus, files.captions, files.archive)
    torch.manual_seed(SEED)
    return GroupViT(config.model).train(), next(batches(pairs, config, 0, 1))


@pytest.mark.parametrize("level", ["image", "segment"])
def test_gradients_are_those_written_out(tmp_path: Path, level: str) -> None:
    config = configured(PATCH, multi_label_level=level)
    model, batch = one_batch(config, make_files(tmp_path))
    w = {name: value.clone().detach() for name, value in model.state_dict().items()}
    torch.manual_seed(8)
    info, label = step.losses(model, batch, config.train)
    (info + label).backward()
    names = [name for name, _ in model.named_parameters()]
    for name in names:
        w[name].requires_grad_(True)
    torch.manual_seed(8)
    info, label = plain.losses(w, config.model, config.train, batch)
    gradients = torch.autograd.grad(info + label, [w[name] for name in names])
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert parameter.grad is not None
        largest = max(1.0, float(gradient.abs().max()))
        torch.testing.assert_close(parameter.grad / largest, gradient / largest, atol=1e-5, rtol=0)


@pytest.mark.parametrize("level", ["image", "segment"])
def test_in_bfloat16_the_encoders_are_and_the_losses_are_not(tmp_path: Path, level: str) -> None:
    files = make_files(tmp_path)
    configs = {p: configured(PATCH, precision=p, multi_label_level=level) for p in ("float32", "bfloat16")}
    totals = {}
    for precision, config in configs.items():
        model, batch = one_batch(config, files)
        with torch.no_grad():
            model.logit_scale.fill_(5.0)  # the bound, 100, at which a similarity in bfloat16 is off by 0.3
        seen: dict[str, Any] = {}
        for name in ("embed_image", "encode_image", "encode_text"):
            spy(model, name, seen)
        torch.manual_seed(8)
        info, label = step.losses(model, batch, config.train)
        assert info.dtype == label.dtype == torch.float32
        totals[precision] = (info + label).item()

        text, (b, m, _) = seen["encode_text"].double(), batch.prompts.shape
        prompts, scale = text[b:].unflatten(0, (b, m)), torch.tensor(100.0)
        if level == "image":
            image = seen["embed_image"].double()
            logits = image_logits(image, prompts, scale)
        else:
            image = seen["encode_image"].embedding.double()
            logits = segment_logits(seen["encode_image"].segments.double(), prompts, scale)
        torch.testing.assert_close(info.double(), info_nce(image, text[:b], scale), atol=1e-4, rtol=1e-5)
        torch.testing.assert_close(label.double(), multi_label(logits), atol=1e-4, rtol=1e-5)
    assert 1e-3 < abs(totals["bfloat16"] - totals["float32"]) < 0.1 * totals["float32"]


def spy(model: GroupViT, name: str, seen: dict[str, Any]) -> None:
    """Keep what a method of the model returns."""
    method = getattr(model, name)

    def kept(*arguments: Tensor) -> object:
        seen[name] = method(*arguments)
        return seen[name]

    setattr(model, name, kept)


@pytest.mark.parametrize("level", ["image", "segment"])
def test_the_projector_counts_one_batch_a_step(tmp_path: Path, level: str) -> None:
    config = configured(PATCH, multi_label_level=level)
    model, batch = one_batch(config, make_files(tmp_path))
    rows: list[Tensor] = []
    norm = model.image_head[1]  # type: ignore[index]
    norm.register_forward_pre_hook(lambda _, given: rows.append(given[0].detach()))
    step.losses(model, batch, config.train)
    (seen,) = rows
    groups = config.model.stages[1].group_tokens
    assert len(seen) == len(batch.rows) * (1 if level == "image" else 1 + groups)
    assert norm.num_batches_tracked == 1
    torch.testing.assert_close(norm.running_mean, 0.1 * seen.mean(0))


def shrunk(name: str) -> Config:
    """A shipped configuration with its own model and train sections, at reduced width, batch and number of workers."""
    config = load([Path(f"config/{part}.yaml") for part in ("config", "paper", name)]).arm("cocu")
    small = {"width": 48, "text_width": 32, "projector_width": 64, "embed_dim": 32}
    model = config.model.model_copy(update=small)
    train = config.train.model_copy(update={"batch_size": 4, "workers": 2, "threads": 1, "steps": 3, "log_every": 1})
    return config.model_copy(update={"model": model, "train": train, "device": "cpu"})


@pytest.mark.parametrize("name", ["cc3m", "full"])
def test_three_steps_of_the_papers_configuration(tmp_path: Path, name: str) -> None:
    config, files = shrunk(name), make_files(tmp_path, side=96)
    assert (config.model.image_size, config.model.drop_path, config.train.precision) == (224, 0.1, "bfloat16")
    weights, lines = trained(config, files, tmp_path)
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert all(torch.isfinite(value).all() for value in weights.values())
    torch.manual_seed(SEED)
    start = GroupViT(config.model).state_dict()
    moved = [not torch.equal(start[name], weights[name]) for name in start if start[name].is_floating_point()]
    assert all(moved)


def test_a_loss_that_is_not_finite_names_the_samples_and_spares_the_weights(tmp_path: Path) -> None:
    config = configured(PATCH)
    model, batch = one_batch(config, make_files(tmp_path))
    images = batch.images.clone()
    images[0, 0, 0, 0] = float("nan")
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimizer = adamw(model, config.train)
    with pytest.raises(NumericsError, match=r"in a batch that begins with key 7, key 8, key 9, key 10\. The last"):
        rows = torch.arange(7, 12)
        step.update(
            model, optimizer, dataclasses.replace(batch, images=images, rows=rows), config.train, "key {}".format
        )
    assert all(torch.equal(before[name], value) for name, value in model.named_parameters())
