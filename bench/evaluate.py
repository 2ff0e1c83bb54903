"""Evaluation against the plain loop: `python -m bench.evaluate`.

Both sides segment the same images with one model of the published size, random weights, at 448 pixels, in turn and with
one thread; a JSON line a figure, then a table; exit code 1 when a target is missed or a label differs. The plain side
takes a window at a time, paints every class, and resizes and argmaxes at full size, as the protocol reads. Painting is
what is saved, so that the ratio grows with the classes; the forward passes are the same on both sides. Memory is that
of 301 classes on an image of a million pixels, each model in a process of its own.
"""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from bench.figure import Figure, alternate, report
from cocu.benchmarks.definitions import Benchmark, read_benchmark
from cocu.clip.dense import DenseClip
from cocu.config import load
from cocu.mini.world import draw_scene, load_sprites, scene_generator
from cocu.model.groupvit import GroupViT
from cocu.pairs.images import IMAGENET
from cocu.segment.segmenter import Segmenter, benchmark_segmenter
from cocu.segment.windows import rescale, window_corners
from cocu.segment.zero_shot import group_scores, hard_groups

NAMES = ("voc", "context", "coco_object", "imagenet_s_50", "imagenet_s_300")  # the benchmarks at 448 pixels
TARGETS = {"imagenet_s_300": 3.0}
MEMORY = 2.0  # GB
DENSE = "ViT-B-16"  # of open_clip, with random weights
SIZES = ((375, 500), (500, 375), (480, 640))  # usual ones of these data sets
LARGE = (1000, 1000)
THRESHOLD = 0.002  # of the background: random weights are unsure, and the published ones would leave little else


def make_model() -> GroupViT:
    """The published size; assignments spread enough for a window to use all its groups."""
    torch.manual_seed(0)
    model = GroupViT(load([Path(f"config/{name}.yaml") for name in ("config", "paper", "full")]).model).eval()
    for stage in model.image.stages:
        if stage.grouping is not None:
            stage.group_tokens.data.normal_()
            stage.grouping.assign.q.weight.data *= 5
            stage.grouping.assign.k.weight.data *= 5
    return model


@torch.no_grad()
def make_segmenter(model: GroupViT, benchmark: Benchmark, image: np.ndarray) -> Segmenter:
    """The benchmark's segmenter with words between the image's segments, which random weights leave close together."""
    segmenter = benchmark_segmenter(model, IMAGENET, benchmark)
    window = torch.from_numpy(rescale(image, benchmark.scale)[:448, :448]).float().permute(2, 0, 1)[None] / 255
    segments = model.encode_image(window).segments[0]
    text = torch.randn(len(segmenter.text), len(segments)) @ (segments - segments.mean(0))
    return dataclasses.replace(segmenter, text=F.normalize(text, dim=-1))


def make_images(sizes: tuple[tuple[int, int], ...]) -> list[np.ndarray]:
    """Scenes of the mini world, uint8 (H, W, 3), composed at the long side and cropped."""
    world = load([Path("config/config.yaml")]).corpus.mini
    sprites, images = load_sprites(), []
    for i, (height, width) in enumerate(sizes):
        side = max(height, width)
        scene = draw_scene(
            world.model_copy(update={"image_size": side}), scene_generator(world, "probe", 0, i), sprites
        )
        images.append(np.ascontiguousarray(scene.image[:height, :width]))
    return images


@torch.no_grad()
def plain(segmenter: Segmenter, benchmark: Benchmark, image: np.ndarray, threshold: float) -> np.ndarray:
    """Labels (H, W) as the protocol reads: window after window, every class painted, resized and argmaxed whole."""
    model = segmenter.model
    small = torch.from_numpy(rescale(image, benchmark.scale)).float() / 255
    mean, std = (torch.tensor(list(v)) for v in (segmenter.normalisation.mean, segmenter.normalisation.std))
    pixels = ((small - mean) / std).permute(2, 0, 1)[None]
    height, width = pixels.shape[-2:]
    total, count = torch.zeros(1, len(benchmark.classes), height, width), torch.zeros(height, width)
    for top, left in window_corners(height, width, benchmark.window, benchmark.stride):
        window = pixels[:, :, top : top + benchmark.window, left : left + benchmark.window]
        h, w = window.shape[-2:]
        seen = model.encode_image(F.pad(window, (0, -w % model.patch_size, 0, -h % model.patch_size)))
        scale = model.scale()
        scores = group_scores(seen.segments @ segmenter.text.T * scale, seen.embedding @ segmenter.text.T * scale)[0]
        groups = hard_groups(seen.maps, h + -h % model.patch_size, w + -w % model.patch_size)[0, :h, :w]
        best = scores.max(1).values
        background = (best < best.max().clamp(max=threshold)).float()[:, None]
        logits = torch.cat([background, scores], 1)  # (g, C)
        total[0, :, top : top + h, left : left + w] += logits[groups].permute(2, 0, 1)
        count[top : top + h, left : left + w] += 1
    whole = F.interpolate(total / count, size=image.shape[:2], mode="bilinear", align_corners=False)
    return whole.argmax(1)[0].numpy()


def figures(quick: bool) -> Iterator[Figure]:
    """A figure a benchmark, one for the choice among thresholds, and the memory; `quick` is for the tests."""
    model = make_model()
    if quick:
        yield figure("voc", model, make_images(SIZES[:1]), (THRESHOLD,), 1)
        return
    images = make_images(SIZES)
    for name in NAMES:
        yield figure(name, model, images, (THRESHOLD,), 3)
    yield figure("voc", model, images[:1], load([Path("config/config.yaml")]).evaluate.backgrounds, 1)
    yield from (memory_figure(name) for name in ("GroupViT", DENSE))


def figure(name: str, model: GroupViT, images: list[np.ndarray], thresholds: Sequence[float], repeats: int) -> Figure:
    """The same images under each threshold: ours after one look, the plain loop anew."""
    benchmark = read_benchmark(name)
    segmenter = make_segmenter(model, benchmark, images[0])
    found: dict[str, list[np.ndarray]] = {}

    def ours() -> None:
        views = [segmenter.look([image]) for image in images]
        found["ours"] = [segmenter.segment(view, threshold)[0] for view in views for threshold in thresholds]

    def theirs() -> None:
        found["plain"] = [plain(segmenter, benchmark, i, threshold) for i in images for threshold in thresholds]

    fast, slow = alternate(ours, theirs, repeats)
    equal = all(np.array_equal(a, b) for a, b in zip(found["ours"], found["plain"], strict=True))
    occur = len(np.unique(np.concatenate([labels.ravel() for labels in found["ours"]])))
    note = f"{fast / len(images):.2f} s an image against {slow / len(images):.2f}; {occur} labels occur"
    several = len(thresholds) > 1
    title = f"{name}, {len(thresholds)} thresholds" if several else name
    return Figure(title, slow / fast, None if several else TARGETS.get(name), equal, None, note)


def memory_figure(name: str) -> Figure:
    command = [sys.executable, "-m", "bench.evaluate", "--memory", name]
    peak = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    note = f"{peak:.2f} GB by {name}; 301 classes, {LARGE[0]} x {LARGE[1]} pixels"
    return Figure("memory: 2 GB / peak", MEMORY / peak, 1.0, True, None, note)


def print_peak(name: str) -> None:
    """Peak memory in GB of segmenting one large image with 301 classes."""
    benchmark, (image,) = read_benchmark("imagenet_s_300"), make_images((LARGE,))
    if name == DENSE:
        import open_clip

        clip = DenseClip(open_clip.create_model(DENSE), open_clip.get_tokenizer(DENSE), DENSE).eval()
        segmenter = benchmark_segmenter(clip, clip.normalisation, benchmark)
    else:
        segmenter = make_segmenter(make_model(), benchmark, image)
    segmenter.segment(segmenter.look([image]), THRESHOLD)
    status = Path("/proc/self/status").read_text()  # the resource module's peak would be that of the parent, if larger
    print(int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1e6)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if "--memory" in sys.argv[1:]:
        print_peak(sys.argv[-1])
    else:
        report(figures("--quick" in sys.argv[1:]))
