"""Pre-training written out plainly, from the papers' equations: what the trainer must do, step by step.

Forward passes are functions of a dictionary of weights; random numbers are drawn from torch's default generator in the
order of the layers. One image, one text, one prompt at a time where that is readable.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from cocu.config import Model, Train
from cocu.train.data import Batch

Weights = dict[str, Tensor]
FREE = ("positions", "group_tokens", "tokens.weight")  # matrices that are not decayed


def linear(w: Weights, name: str, x: Tensor) -> Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def layer_norm(w: Weights, name: str, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    unit = centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + 1e-5)
    return unit * w[f"{name}.weight"] + w[f"{name}.bias"]


def batch_norm(w: Weights, name: str, x: Tensor) -> Tensor:
    """Of rows (n, d) or of maps (n, d, h, w), by this batch's statistics, of which the running ones take a tenth."""
    axes = [a for a in range(x.dim()) if a != 1]
    shape = [1, -1] + [1] * (x.dim() - 2)
    mean, variance = x.mean(axes), x.var(axes, unbiased=False)
    with torch.no_grad():
        count = x.numel() / x.shape[1]
        for key, value in (("running_mean", mean), ("running_var", variance * count / (count - 1))):
            w[f"{name}.{key}"].mul_(0.9).add_(0.1 * value)
        w[f"{name}.num_batches_tracked"] += 1
    unit = (x - mean.view(shape)) / torch.sqrt(variance.view(shape) + 1e-5)
    return unit * w[f"{name}.weight"].view(shape) + w[f"{name}.bias"].view(shape)


def attention(w: Weights, name: str, query: Tensor, key: Tensor, heads: int, causal: bool = False) -> Tensor:
    q, k, v = (linear(w, f"{name}.{part}", x) for part, x in (("q", query), ("k", key), ("v", key)))
    d = q.shape[-1] // heads
    out = []
    for head in range(heads):
        at = slice(head * d, (head + 1) * d)
        logits = q[..., at] @ k[..., at].transpose(1, 2) / math.sqrt(d)
        if causal:
            logits = logits.masked_fill(torch.ones_like(logits).triu(1).bool(), -math.inf)
        out.append(logits.softmax(-1) @ v[..., at])
    return linear(w, f"{name}.out", torch.cat(out, -1))


def mlp(w: Weights, name: str, x: Tensor, quick: bool = False) -> Tensor:
    hidden = linear(w, f"{name}.fc1", x)
    hidden = hidden * torch.sigmoid(1.702 * hidden) if quick else 0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2)))
    return linear(w, f"{name}.fc2", hidden)


def dropped(branch: Tensor, share: float) -> Tensor:
    """Left out for a share of the samples, and larger for the others."""
    if share == 0:
        return branch
    stays = [float(u) >= share for u in torch.rand(len(branch), 1, 1).flatten()]
    return torch.stack([row / (1 - share) if stay else row * 0 for row, stay in zip(branch, stays, strict=True)])


def block(w: Weights, name: str, x: Tensor, heads: int, share: float = 0.0, text: bool = False) -> Tensor:
    y = layer_norm(w, f"{name}.norm1", x)
    x = x + dropped(attention(w, f"{name}.attention", y, y, heads, causal=text), share)
    return x + dropped(mlp(w, f"{name}.mlp", layer_norm(w, f"{name}.norm2", x), quick=text), share)


def grouping(w: Weights, name: str, config: Model, x: Tensor, tokens: Tensor, gumbel: bool) -> Tensor:
    """GroupViT, equations 2 to 4, with the options of ours: scale and residual."""
    groups = mlp(w, f"{name}.mlp_inter", layer_norm(w, f"{name}.norm_tokens", tokens).transpose(1, 2)).transpose(1, 2)
    groups, x = layer_norm(w, f"{name}.norm_post_tokens", groups), layer_norm(w, f"{name}.norm_x", x)
    pre = f"{name}.pre_assign"
    seen = groups + attention(w, f"{pre}.attention", groups, x, config.heads)
    seen = layer_norm(w, f"{pre}.norm_post", seen + mlp(w, f"{pre}.mlp", layer_norm(w, f"{pre}.norm2", seen)))

    q, k = linear(w, f"{name}.assign.q", seen), linear(w, f"{name}.assign.k", x)
    if config.assign_scale:
        q, k = (t - t.mean(1, keepdim=True) for t in (q, k))
        q, k = (t / torch.sqrt(t.square().mean(-1, keepdim=True) + 1e-6) for t in (q, k))
        k = k * config.assign_scale
    logits = (q @ k.transpose(1, 2)).float() / math.sqrt(q.shape[-1])
    if gumbel:
        logits = logits - torch.empty_like(logits).exponential_().log()
    soft = logits.softmax(1)
    hard = F.one_hot(soft.argmax(1), soft.shape[1]).transpose(1, 2).float()
    weights = hard - soft.detach() + soft
    weights = weights / (weights.sum(-1, keepdim=True) + 1)
    segments = linear(w, f"{name}.assign.out", weights @ linear(w, f"{name}.assign.v", x))
    segments = segments + {"attended": seen, "token": groups, "none": 0 * seen}[config.segment_residual]
    return segments + mlp(w, f"{name}.mlp_channels", layer_norm(w, f"{name}.norm_new_x", segments))


def image_segments(w: Weights, config: Model, images: Tensor, gumbel: bool) -> Tensor:
    """Images (b, 3, H, W) -> segments (b, g, d)."""
    if config.stem == "patch":
        x = F.conv2d(images, w["image.stem.weight"], w["image.stem.bias"], stride=config.patch_size)
    else:
        x = images
        for i, stride in enumerate(config.stem_strides):
            x = F.conv2d(x, w[f"image.stem.{3 * i}.weight"], stride=stride, padding=1)
            x = batch_norm(w, f"image.stem.{3 * i + 1}", x).clamp(min=0)
    places = w["image.positions"].flatten(2).transpose(1, 2)
    x = layer_norm(w, "image.norm_patches", x.flatten(2).transpose(1, 2)) + places
    layers = sum(stage.depth for stage in config.stages)
    shares = iter(config.drop_path * i / max(1, layers - 1) for i in range(layers))
    tokens: Tensor | None = None
    for s, stage in enumerate(config.stages):
        name, n = f"image.stages.{s}", x.shape[1]
        if stage.group_tokens:
            own = w[f"{name}.group_tokens"].expand(len(x), -1, -1)
            if tokens is not None:
                carried = layer_norm(w, f"{name}.carry.0", tokens).transpose(1, 2)
                own = own + mlp(w, f"{name}.carry.1", carried).transpose(1, 2)
            x = torch.cat([x, own], 1)
        for layer in range(stage.depth):
            x = block(w, f"{name}.layers.{layer}", x, config.heads, next(shares))
        if stage.group_tokens:
            x, tokens = x[:, :n], x[:, n:]
            x = grouping(w, f"{name}.grouping", config, x, tokens, gumbel)
    return layer_norm(w, "image.norm", x)


def text_features(w: Weights, config: Model, ids: Tensor) -> Tensor:
    """Token ids (n, context) -> (n, d), at each text's last token."""
    end = (ids == 49_407).int().argmax(1)
    x = w["text.tokens.weight"][ids] + w["text.positions"]
    for layer in range(config.text_layers):
        x = block(w, f"text.layers.{layer}", x, config.text_heads, text=True)
    return torch.stack([row[e] for row, e in zip(layer_norm(w, "text.norm", x), end, strict=True)])


def projected(w: Weights, head: str, config: Model, rows: Tensor) -> Tensor:
    """Rows (n, d) -> unit embeddings (n, e)."""
    if config.projector_layers == 1:
        y = linear(w, head, rows)
    else:
        y = linear(w, f"{head}.3", batch_norm(w, f"{head}.1", linear(w, f"{head}.0", rows)).clamp(min=0))
    return y.float() / y.float().norm(dim=-1, keepdim=True)


def losses(w: Weights, config: Model, train: Train, batch: Batch) -> tuple[Tensor, Tensor]:
    """InfoNCE and the multi-label loss, pair by pair."""
    b, m, _ = batch.prompts.shape
    segments = image_segments(w, config, batch.images, train.gumbel)
    means = segments.mean(1)
    if train.multi_label_level == "image":
        image, parts = projected(w, "image_head", config, means), None
    else:
        both = projected(w, "image_head", config, torch.cat([means[:, None], segments], 1).flatten(0, 1))
        both = both.unflatten(0, (b, -1))
        image, parts = both[:, 0], both[:, 1:]
    texts = text_features(w, config, torch.cat([batch.captions, batch.prompts.flatten(0, 1)]))
    text = projected(w, "text_head", config, texts)
    captions, prompts = text[:b], text[b:].unflatten(0, (b, m))
    scale = min(w["logit_scale"].exp(), torch.tensor(100.0))

    pair = [[scale * (image[i] @ captions[j]) for j in range(b)] for i in range(b)]
    info = torch.zeros(())
    for i in range(b):
        info = info + log_share(pair[i][i], pair[i]) + log_share(pair[i][i], [row[i] for row in pair])

    def match(i: int, j: int, k: int) -> Tensor:  # image i, prompt k of image j
        if parts is None:
            return scale * (image[i] @ prompts[j, k])
        return (scale * (parts[i] @ prompts[j, k])).exp().mean().log()

    label = torch.zeros(())
    for i in range(b):
        of_image = [match(i, j, k) for j in range(b) for k in range(m)]
        for k in range(m):
            own = match(i, i, k)
            label = label + log_share(own, of_image) + log_share(own, [match(j, i, k) for j in range(b)])
    return -info / (2 * b), -label / (2 * b * m)


def log_share(value: Tensor, values: list[Tensor]) -> Tensor:
    return value - torch.logsumexp(torch.stack(values), 0)


def rate(step: int, steps: int, train: Train) -> float:
    """Of step 0, 1, ...: a line up to lr, then half a cosine down to lr_min."""
    warmup = round(train.warmup_fraction * steps)
    if step < warmup:
        return train.lr_warmup + (train.lr - train.lr_warmup) * step / warmup
    done = (step - warmup) / (steps - warmup)
    return train.lr_min + (train.lr - train.lr_min) * 0.5 * (1 + math.cos(math.pi * done))


@dataclass
class AdamW:
    """Kingma and Ba's algorithm 1 with Loshchilov and Hutter's decay; moments by weight."""

    train: Train
    first: Weights = field(default_factory=dict)
    second: Weights = field(default_factory=dict)

    def step(self, w: Weights, gradients: Weights, t: int, lr: float) -> None:
        """Step t = 1, 2, ..., in place."""
        a, b = self.train.betas
        for name, g in gradients.items():
            decay = self.train.weight_decay if g.dim() > 1 and not name.endswith(FREE) else 0.0
            m = self.first[name] = a * self.first.get(name, 0 * g) + (1 - a) * g
            v = self.second[name] = b * self.second.get(name, 0 * g) + (1 - b) * g * g
            with torch.no_grad():
                w[name] -= lr * decay * w[name]
                w[name] -= lr * (m / (1 - a**t)) / (torch.sqrt(v / (1 - b**t)) + 1e-8)


def clipped(gradients: Weights, most: float) -> tuple[Weights, float]:
    """The gradients scaled to a norm of `most`, where it is larger, and the norm before."""
    norm = math.sqrt(sum(float(g.double().square().sum()) for g in gradients.values()))
    return {name: g * min(1.0, most / (norm + 1e-6)) for name, g in gradients.items()}, norm
