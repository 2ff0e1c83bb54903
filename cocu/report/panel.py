"""The panel: the first test images of the Context-format benchmark, their truth, and what the two arms make of them.

Takes two checkpoints of one seed, the results (for the background threshold) and the test images; gives panel.svg and
panel.png. The images are the first of the benchmark's list, so that no result can choose them. `predict` runs the
models; `draw_panel` turns arrays into a picture and knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch

from cocu import layout
from cocu.benchmarks.definitions import Benchmark, showcase
from cocu.benchmarks.mmseg import Example, Examples
from cocu.config import Config
from cocu.model.hub import load_model
from cocu.report.collect import collect
from cocu.report.figures import STYLE, arm_colours, save, sides
from cocu.report.tables import clip_note
from cocu.segment.overlay import Image, Labels, class_colours, enlarge, overlay
from cocu.segment.segmenter import benchmark_segmenter


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
    benchmark = showcase(config.evaluate.benchmarks)
    examples = list(Examples(benchmark, test, config.report.panel_images))
    seed = config.seeds[0]
    results = collect(config, metrics, [(arm, seed) for arm in sides(config)])
    shown = results[results["benchmark"] == benchmark.name].fillna({"background": 0.0})  # without one, 0 gives all
    predictions = {
        str(arm): predict(layout.checkpoint(checkpoints, str(arm), seed), benchmark, examples, float(threshold))
        for arm, threshold in zip(shown["arm"], shown["background"], strict=True)
    }
    strips = [
        Strip(example.image, example.truth, {arm: labels[i] for arm, labels in predictions.items()})
        for i, example in enumerate(examples)
    ]
    with matplotlib.rc_context(STYLE):
        save(draw_panel(config, strips, class_names(benchmark), benchmark.ignore_index), out, "panel")


def class_names(benchmark: Benchmark) -> list[str]:
    """The words that the classes are asked for with; `background` where there is none."""
    return ["background" if prompt is None else prompt for prompt in benchmark.prompts]


def predict(checkpoint: Path, benchmark: Benchmark, examples: Sequence[Example], threshold: float) -> list[Labels]:
    """The label maps (H, W) of the examples by the benchmark's protocol, as the evaluation makes them."""
    segmenter = benchmark_segmenter(*load_model(checkpoint), benchmark)
    return [segmenter.segment(segmenter.look([example.image]), threshold)[0] for example in examples]


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
