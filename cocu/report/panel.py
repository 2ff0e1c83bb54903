"""The panel: the first test images of the Context-format benchmark, their truth, and what the two arms make of them.

Takes two checkpoints of one seed, their metrics (for the background threshold) and the test images; gives panel.svg and
panel.png. The images are the first of the benchmark's list, so that no result can choose them. `predict` runs the
models; `overlay` and `draw_panel` turn arrays into pictures and know nothing of models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch

from cocu.config import Config
from cocu.errors import DataError
from cocu.io import read_json
from cocu.model.hub import load_model
from cocu.report.figures import STYLE, arm_colours, save
from cocu.report.tables import clip_note
from cocu.segment.benchmarks import Benchmark, read_benchmark
from cocu.segment.mmseg import Example, Examples
from cocu.segment.segmenter import benchmark_segmenter

CONTEXT = "PascalContextDataset"
SIDE = 240  # pixels that the short side of a picture has at least: smaller images are enlarged, nearest neighbour
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
OPACITY = 0.6  # of a class's colour over the image
BACKGROUND = (0.62, 0.62, 0.62)
Image = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Colours = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Strip:
    """One column of the panel: an image (H, W, 3) RGB, its truth (H, W), and a prediction (H, W) by arm."""

    image: Image
    truth: Labels
    predictions: dict[str, Labels]


def run(config: Config, *, checkpoints: Path, metrics: Path, test: Path, out: Path) -> None:
    """Write panel.svg and panel.png into the folder `out`, with the first seed's checkpoints of baseline and treatment.

    checkpoints, metrics: the experiment's folders of that name; test: the folder that the benchmark's files lie under.
    """
    torch.set_num_threads(config.evaluate.threads)
    benchmark = choose_benchmark([read_benchmark(name) for name in config.evaluate.benchmarks])
    examples = list(Examples(benchmark, test, config.report.panel_images))
    seed = str(config.seeds[0])
    predictions = {}
    for arm in (config.report.baseline, config.report.treatment):
        threshold = _threshold(metrics / arm / seed / f"{benchmark.name}.json")
        predictions[arm] = predict(checkpoints / arm / seed, benchmark, examples, threshold)
    strips = [
        Strip(example.image, example.truth, {arm: labels[i] for arm, labels in predictions.items()})
        for i, example in enumerate(examples)
    ]
    with matplotlib.rc_context(STYLE):
        save(draw_panel(config, strips, class_names(benchmark), benchmark.ignore_index), out, "panel")


def choose_benchmark(benchmarks: Sequence[Benchmark]) -> Benchmark:
    """The first in PASCAL Context's format, whose labels cover objects and what is around them; else the first."""
    return next((b for b in benchmarks if b.dataset == CONTEXT), benchmarks[0])


def class_names(benchmark: Benchmark) -> list[str]:
    """The words that the classes are asked for with; `background` where there is none."""
    return ["background" if prompt is None else prompt for prompt in benchmark.prompts]


def predict(checkpoint: Path, benchmark: Benchmark, examples: Sequence[Example], threshold: float) -> list[Labels]:
    """The label maps (H, W) of the examples by the benchmark's protocol, as the evaluation makes them."""
    segmenter = benchmark_segmenter(*load_model(checkpoint), benchmark)
    return [segmenter.segment(segmenter.look([example.image]), threshold)[0] for example in examples]


def _threshold(path: Path) -> float:
    """The background threshold that the evaluation chose on val; 0 on a benchmark without background."""
    result = read_json(path)
    try:
        return float(result["background"] or 0.0)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} holds no background threshold ({error}). Delete it and run again.") from error


def draw_panel(config: Config, strips: Sequence[Strip], names: Sequence[str], ignore_index: int) -> Figure:
    """A column an image; rows: image, truth, and each arm's prediction; below, the classes that occur."""
    colours = class_colours(names)
    arms = list(strips[0].predictions)
    titles = ["image", "truth", *arms]
    cell = 8.2 / len(strips)
    close = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    figure = Figure(figsize=(8.6, cell * len(titles) + 0.75), layout=close)
    grid = figure.subplots(len(titles), len(strips), squeeze=False)
    for column, strip in enumerate(strips):
        masks = [strip.truth, *strip.predictions.values()]
        pictures = [enlarge(strip.image), *(overlay(strip.image, mask, colours, ignore_index) for mask in masks)]
        for axes, picture in zip(grid[:, column], pictures, strict=True):
            axes.imshow(picture, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
    for axes, title in zip(grid[:, 0], titles, strict=True):
        axes.set_ylabel(title, color=arm_colours(config).get(title, "#222222"), weight="bold")
    seen = np.unique(np.concatenate([m.ravel() for s in strips for m in (s.truth, *s.predictions.values())]))
    handles = [Patch(color=colours[i], label=names[i]) for i in seen if i != ignore_index]
    said = " ".join([f"The first images of the test list, seed {config.seeds[0]}.", *clip_note(config)])
    legend = figure.legend(
        handles=handles, loc="outside lower center", ncols=9, fontsize=8, handlelength=1.1, columnspacing=1.2,
        title=said, title_fontsize=7.5,
    )  # fmt: skip
    legend.get_title().set_color("#666666")
    return figure


def enlarge(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(H, W, ...) with every pixel repeated so often that the short side has `SIDE` pixels or more."""
    times = max(1, -(-SIDE // min(array.shape[:2])))
    return array.repeat(times, axis=0).repeat(times, axis=1)


def overlay(image: Image, labels: Labels, colours: Colours, ignore_index: int) -> Image:
    """The enlarged image under its labels' colours (classes, 3), a thin white line between regions.

    image (H, W, 3), labels (H, W). The image is grey there, so that a class has one colour over all of them; ignored
    pixels show the grey image alone.
    """
    pixels, large = enlarge(image @ LUMA / 255)[..., None], enlarge(labels)
    scored = large != ignore_index
    tint = colours[np.where(scored, large, 0)]
    blend = np.where(scored[..., None], OPACITY * tint + (1 - OPACITY) * pixels, pixels.repeat(3, axis=2))
    edge = np.zeros(large.shape, dtype=bool)
    edge[:, 1:] |= large[:, 1:] != large[:, :-1]
    edge[1:] |= large[1:] != large[:-1]
    blend[edge] = 1.0
    out: Image = np.rint(255 * blend).astype(np.uint8)
    return out


def class_colours(names: Sequence[str]) -> Colours:
    """One RGB colour in 0..1 a class (classes, 3): grey for the background, and for the others, one after another, the
    candidate that is furthest (CIELAB) from all before it; a class keeps its colour when classes follow it.
    """
    levels = np.linspace(0, 1, 11)
    candidates = np.array(list(product(levels, repeat=3)))  # (1331, 3)
    lab = cielab(candidates)
    usable = (lab[:, 0] > 35) & (lab[:, 0] < 88) & (np.hypot(lab[:, 1], lab[:, 2]) > 30)
    candidates, lab = candidates[usable], lab[usable]
    nearest = np.linalg.norm(lab - cielab(np.array([BACKGROUND])), axis=1)
    chosen: list[npt.NDArray[np.float64] | tuple[float, ...]] = []
    for name in names:
        if name == "background":
            chosen.append(BACKGROUND)
            continue
        best = int(np.argmax(nearest))
        chosen.append(candidates[best])
        nearest = np.minimum(nearest, np.linalg.norm(lab - lab[best], axis=1))
    return np.array(chosen)


def cielab(rgb: Colours) -> Colours:
    """CIELAB (n, 3) of sRGB colours (n, 3) in 0..1, white point D65 (IEC 61966-2-1 and CIE 15)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ matrix.T / matrix.sum(axis=1)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)
