"""One training step of the published model at 224 px against transformers' GroupViT: `python -m bench.step`.

Both sides take the same batch, with the same losses and clipping, one thread, in turn; a JSON line a figure, then a
table; exit code 1 when a target is missed or outputs or gradients differ. The plain side encodes every text at full
length, as that library does, and updates with torch's AdamW as it comes. Gumbel noise is off where outputs and
gradients are compared and on where time is taken; drop-path, which that model lacks, is off. Peak memory is that of our
step in a process of its own. Where there is a GPU, everything runs there, in bfloat16 against transformers too.
`--published 256 512 ...` takes instead the step of config/paper.yaml with config/cc3m.yaml at these sizes of batch.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GroupViTConfig, GroupViTModel

from bench.figure import Figure, alternate, report
from bench.world import make_texts
from cocu.config import Config, load
from cocu.device import attention_backend, pick_device
from cocu.model.groupvit import GroupViT
from cocu.model.loss import image_logits, info_nce, multi_label
from cocu.model.prompts import templates
from cocu.model.tokenizer import Tokenizer
from cocu.model.transformers import from_transformers, groupvit_config, to_transformers
from cocu.train import step
from cocu.train.data import Batch
from cocu.train.optim import adamw

BATCH = 8  # images; on a GPU sixteen times as many
OUTPUTS, GRADIENTS = 1e-5, 1e-4  # largest differences; of gradients, as a share of the tensor's largest
HALVED = 0.05  # largest difference of a text's embedding, of unit length, in bfloat16
TARGET = 1.2  # texts at their own length; between machines the ratio goes from 1.3 to 1.7
MEMORY = 4.0  # GB
STEPS = 10  # of the published setting, after two that are not counted
QUICK: dict[str, Any] = {"width": 48, "text_width": 32, "text_layers": 2, "projector_width": 64, "embed_dim": 32}


def setting(precision: str, quick: bool) -> Config:
    """config/paper.yaml with the data of config/full.yaml, without drop-path."""
    config = load([Path(f"config/{name}.yaml") for name in ("config", "paper", "full")]).arm("cocu")
    model = config.model.model_copy(update={"drop_path": 0.0, **(QUICK if quick else {})})
    return config.model_copy(update={"model": model, "train": config.train.model_copy(update={"precision": precision})})


def make_model(config: Config, device: torch.device) -> GroupViT:
    """Weights by fan-in: at the published start all images look alike, and BatchNorm makes their rounding large."""
    torch.manual_seed(0)
    model = GroupViT(config.model, gumbel=config.train.gumbel)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 and name != "text.tokens.weight":
            inputs = parameter[0].numel() if len(parameter) > 1 else 1
            nn.init.normal_(parameter, std=inputs**-0.5)
    return model.to(device)


def make_batch(config: Config, number: int, device: torch.device) -> Batch:
    """Random images, captions of some ten words, three prompts each of CC3M-like frequency."""
    rng, tokenize = np.random.default_rng(1), Tokenizer(config.model.context_length)
    names, captions = make_texts(number)
    sentences, count = templates("imagenet"), config.train.prompts.count
    chosen = [names[int(len(names) * rng.random() ** 2)] for _ in range(number * count)]
    prompts = tokenize([sentences[rng.integers(len(sentences))].format(name) for name in chosen])
    torch.manual_seed(1)
    images = torch.randn(number, 3, config.model.image_size, config.model.image_size)
    return Batch(images, tokenize(captions), prompts.unflatten(0, (number, count)), torch.arange(number)).to(device)


class Plain:
    """The other side: transformers' model with our weights."""

    def __init__(self, config: Config, model: GroupViT, device: torch.device) -> None:
        self.model = GroupViTModel(GroupViTConfig(**groupvit_config(config.model)))
        self.model.load_state_dict(to_transformers(model.cpu().state_dict()))
        self.model.to(device), model.to(device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=config.train.lr)
        self.train = config.train

    def outputs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Unit embeddings of the images and of captions and prompts."""
        ids = torch.cat([batch.captions, batch.prompts.flatten(0, 1)])
        vision = self.model.vision_model(pixel_values=batch.images).pooler_output
        text = self.model.text_model(input_ids=ids).pooler_output
        return F.normalize(self.model.visual_projection(vision), dim=-1), F.normalize(
            self.model.text_projection(text), dim=-1
        )

    def losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        b, m, _ = batch.prompts.shape
        with step.autocast(self.train, batch.images.device):
            image, text = self.outputs(batch)
        image, text, scale = image.float(), text.float(), self.model.logit_scale.exp()
        logits = image_logits(image, text[b:].unflatten(0, (b, m)), scale)
        return info_nce(image, text[:b], scale), multi_label(logits)

    def update(self, batch: Batch) -> None:
        loss = sum(self.losses(batch))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.train.clip_grad)
        self.optimizer.step()

    def stepper(self, batch: Batch) -> Callable[[], None]:
        def theirs() -> None:
            self.model.train()
            self.update(batch)
            wait(batch.images.device)

        return theirs


def quiet(model: nn.Module) -> None:
    """Without noise, but with BatchNorm's statistics of the batch, as in training."""
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.train()


def differences(ours: GroupViT, plain: Plain, config: Config, batch: Batch) -> tuple[float, float]:
    """Largest difference of an output, and of a gradient as a share of its tensor's largest."""
    for model in (ours, plain.model):
        quiet(model)
        model.zero_grad(set_to_none=True)
    with torch.no_grad():
        image, text = plain.outputs(batch)
        mine = (
            ours.embed_image(batch.images),
            ours.encode_text(torch.cat([batch.captions, batch.prompts.flatten(0, 1)])),
        )
    outputs = max(float((mine[0] - image).abs().max()), float((mine[1] - text).abs().max()))
    sum(step.losses(ours, batch, config.train)).backward()
    sum(plain.losses(batch)).backward()
    gradients = {name: p.grad for name, p in plain.model.named_parameters()}
    theirs, worst = from_transformers({name: g for name, g in gradients.items() if g is not None}), 0.0
    largest = max(float(g.abs().max()) for g in theirs.values())
    for name, parameter in ours.named_parameters():
        # A key's bias has no gradient but rounding, and others next to none.
        size = max(float(theirs[name].abs().max()), 0.01 * largest)
        worst = max(worst, float((parameter.grad - theirs[name]).abs().max()) / size)
    return outputs, worst


def figures(quick: bool) -> Iterator[Figure]:
    """Our step against transformers', ours in bfloat16 against float32, and the memory; `quick` is for the tests.

    Equality is of eight images anywhere: among more, rounding may move a patch that lies between two groups.
    """
    device = pick_device("auto")
    on_gpu, repeats = device.type == "cuda", 1 if quick else 5
    torch.backends.cudnn.allow_tf32 = False  # float32 is float32
    number = BATCH * (16 if on_gpu and not quick else 1)
    config = setting("float32", quick)
    batch, model = make_batch(config, number, device), make_model(config, device)
    plain = Plain(config, model, device)
    output, gradient = differences(model, plain, config, make_batch(config, BATCH, device))
    ours = stepper(config, model, batch)
    fast, slow = alternate(ours, plain.stepper(batch), repeats)
    note = (
        f"{number / fast:.2f} samples/s against {number / slow:.2f}; batch of {number}, {device.type}; "
        f"gradients differ by {gradient:.0e}"
    )
    equal = output <= OUTPUTS and gradient <= GRADIENTS
    yield Figure("step, against transformers", slow / fast, None if quick else TARGET, equal, output, note)
    yield from _halved(quick, batch, ours, repeats if on_gpu else 1)
    if not quick:
        command = [sys.executable, "-m", "bench.step", "--memory"]
        peak = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        note = f"{peak:.2f} GB; batch of {number}, float32"
        yield Figure("memory: 4 GB / peak", MEMORY / peak, None if on_gpu else 1.0, True, None, note)


def _halved(quick: bool, batch: Batch, single: Callable[[], None], repeats: int) -> Iterator[Figure]:
    """Our step in bfloat16 against the same in float32; a CPU without instructions for bfloat16 is slow at it.

    On a GPU, against transformers' in bfloat16 too.

    Texts are compared: an image's patches change groups at a tie, and the rest of the image with them.
    """
    config, device = setting("bfloat16", quick), batch.images.device
    model = make_model(config, device)
    ours, sides = stepper(config, model, batch), {"step, bfloat16 against float32": single}
    quiet(model)
    with torch.no_grad():
        exact = model.encode_text(batch.captions)
        with step.autocast(config.train, device):
            rounded = model.encode_text(batch.captions)
    difference = float((rounded - exact).abs().max())
    if device.type == "cuda":
        sides["step, against transformers, bfloat16"] = Plain(config, model, device).stepper(batch)
    for bench, other in sides.items():
        fast, slow = alternate(ours, other, repeats)
        note = f"{len(batch.images) / fast:.2f} samples/s against {len(batch.images) / slow:.2f}"
        yield Figure(bench, slow / fast, None, difference <= HALVED, difference, note)


def stepper(config: Config, model: GroupViT, batch: Batch) -> Callable[[], None]:
    """Our whole step, as the trainer makes it."""
    optimizer = adamw(model, config.train)
    device = batch.images.device

    def ours() -> None:
        with attention_backend(device):
            step.update(model.train(), optimizer, batch, config.train, str)
        wait(device)

    return ours


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def print_peak() -> None:
    """Peak memory in GB of two of our steps: the optimiser's moments are there in the second."""
    device, config = pick_device("auto"), setting("float32", quick=False)
    batch = make_batch(config, BATCH * (16 if device.type == "cuda" else 1), device)
    ours = stepper(config, make_model(config, device), batch)
    ours(), ours()
    if device.type == "cuda":
        print(torch.cuda.max_memory_allocated(device) / 1e9)
        return
    status = Path("/proc/self/status").read_text()  # the resource module's peak would be that of the parent, if larger
    print(int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1e6)


def published(sizes: list[int]) -> None:
    """The step that config/paper.yaml and config/cc3m.yaml train with, drop-path, noise and bfloat16 and all.

    A JSON line a size of batch, up to the first that the GPU does not hold. The rate is that of the schedule's start.
    """
    device = pick_device("auto")
    config = load([Path(f"config/{name}.yaml") for name in ("config", "paper", "cc3m")]).arm("cocu")
    config = config.model_copy(update={"train": config.train.model_copy(update={"lr": config.train.lr_warmup})})
    for size in sizes:
        facts: dict[str, Any] = {"bench": "the published step", "device": device.type, "batch": size}
        try:
            print(json.dumps(facts | _published(config, size, device)), flush=True)
        except torch.cuda.OutOfMemoryError:
            print(json.dumps(facts | {"fits": False}), flush=True)
            return


def _published(config: Config, size: int, device: torch.device) -> dict[str, Any]:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.empty(0, device=device)  # the statistics are there once the device has been used
        torch.cuda.reset_peak_memory_stats(device)
    batch, model = make_batch(config, size, device), make_model(config, device).train()
    optimizer, seconds, losses = adamw(model, config.train), [], {}
    for _ in range(2 + STEPS):
        started = time.perf_counter()
        with attention_backend(device):
            losses, _ = step.update(model, optimizer, batch, config.train, str)
        wait(device)
        seconds.append(time.perf_counter() - started)
    middle = median(seconds[2:])
    facts = {"fits": True, "seconds": round(middle, 4), "images_per_second": round(size / middle, 1)}
    peak = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None
    return facts | {"peak_gb": peak, "finite": all(map(math.isfinite, losses.values())), **losses}


if __name__ == "__main__":
    torch.set_num_threads(1)
    if "--published" in sys.argv[1:]:
        published([int(size) for size in sys.argv[sys.argv.index("--published") + 1 :]])
    elif "--memory" in sys.argv[1:]:
        print_peak()
    else:
        report(figures("--quick" in sys.argv[1:]))
