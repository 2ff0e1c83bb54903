"""One's own photographs: image files in, an overlay, a label map and a description of each out.

Takes files and folders of images, the words to find, and a trained model; gives, for photograph NAME, NAME.overlay.png,
NAME.labels.png and NAME.json. The label of a word is its place in the list, from 1; label 0 is the background. Every
process computes on one thread, so that any number of them gives the same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import current_process
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.nn import functional as F

from cocu.config import Device, Model
from cocu.device import pick_device
from cocu.errors import ConfigError, DataError
from cocu.io import atomic_path, file_sha256, write_json
from cocu.log import progress, say
from cocu.model.hub import load_model, model_folder
from cocu.model.prompts import templates
from cocu.pairs.images import decode_image
from cocu.parallel import in_processes
from cocu.segment.overlay import class_colours, picture, rgb
from cocu.segment.segmenter import Segmenter, Views, averaged_logits
from cocu.segment.zero_shot import text_embeddings
from cocu.weights import WEIGHTS

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
WRITTEN = (".overlay.png", ".labels.png")  # what this module writes is no input of a later call
BACKGROUND = "background"
MOST = 255  # words that a label map of 8 bits holds, beside the background
CAP = 2048  # pixels of the long side after resizing, at most, as in the benchmarks
TEMPLATES = templates("one")
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Photo:
    """A file, and the path of its results below the output folder, without suffix."""

    path: Path
    name: str


@dataclass(frozen=True)
class Job:
    """What is the same for all photographs. size: pixels of the short side, and of the windows; see `run`."""

    checkpoint: Path
    sha256: str
    words: tuple[str, ...]
    background: float | None
    size: int
    device: Device
    out: Path


def run(
    images: Sequence[Path],
    *,
    classes: str,
    checkpoint: Path,
    background: float | None,
    size: int | None,
    out: Path,
    processes: int,
    device: Device,
) -> None:
    """Segment image files, and those of folders, with the words of `classes` (comma-separated), into the folder `out`.

    checkpoint: a model's folder, or the path of its weights. background: the score below which a pixel is of no word;
    None gives every pixel a word. size: the short side that a photograph is resized to, in pixels, and the side of the
    windows (the stride is half of it); None for the model's own.
    Raises `ConfigError` for the words, `DataError` for the inputs; broken images are named when the others are done.
    """
    started = time.monotonic()
    words, photos = parse_classes(classes), find_photos(images)
    folder = model_folder(checkpoint)
    model, _ = load_model(folder, pick_device(device))
    job = Job(
        folder, file_sha256(folder / WEIGHTS), words, background,
        size or default_size(model.config), device, out,
    )  # fmt: skip
    said = list(progress(_segment(job, photos, processes), total=len(photos), what="segmenting"))
    broken = [sentence for sentence in said if sentence]
    done = len(photos) - len(broken)
    say(f"{done:,} picture{'s' * (done != 1)} segmented into {out} in {time.monotonic() - started:.1f} s")
    if broken:
        raise DataError("\n".join([f"{len(broken):,} of {len(photos):,} pictures could not be read:", *broken]))


def parse_classes(text: str) -> tuple[str, ...]:
    """The words of a comma-separated list. Raises `ConfigError` for empty or repeated words, and for too many."""
    words = tuple(" ".join(word.split()) for word in text.split(","))
    if "" in words:
        raise ConfigError(f"--classes {text!r} has an empty word: give words with single commas between them.")
    lower = [word.lower() for word in words]  # as the tokenizer reads them
    if repeated := [word for i, word in enumerate(words) if lower[i] in lower[:i]]:
        raise ConfigError(f"--classes has '{repeated[0]}' twice: leave one of them out.")
    if BACKGROUND in lower:
        raise ConfigError("The background is what no word explains: leave it out of --classes and give --background.")
    if len(words) > MOST:
        raise ConfigError(f"--classes has {len(words)} words, and a label map of 8 bits holds {MOST}: give fewer.")
    return words


def find_photos(inputs: Sequence[Path]) -> list[Photo]:
    """The files among the inputs, and the images in and below the folders, in the order given and sorted by path.

    In folders, hidden files, what has no image's suffix, and what this module wrote are passed over. Results of a
    folder's images keep their place in it. Raises `DataError` for a missing path, a folder without images, and two
    photographs whose results would have one name.
    """
    found: dict[str, Photo] = {}
    for given in inputs:
        if not given.exists():
            raise DataError(f"{given} does not exist: give image files, or folders of them.")
        inside = _images(given) if given.is_dir() else [given]
        if not inside:
            raise DataError(f"The folder {given} holds no images ({', '.join(SUFFIXES)}).")
        for path in inside:
            name = (path.relative_to(given) if given.is_dir() else Path(path.name)).with_suffix("").as_posix()
            other = found.setdefault(name, Photo(path, name)).path
            if other.resolve() != path.resolve():
                raise DataError(
                    f"The results of {other} and {path} would both be called {name}: rename one, or segment it into "
                    "another folder (--out)."
                )
    return list(found.values())


def _images(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not path.name.endswith(WRITTEN)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )


def default_size(config: Model) -> int:
    """The short side: twice the training side, as published (448 for 224); of a convolutional stem the side itself.

    Convolutions see a patch's surroundings at the scale that they were trained at, and enlarged ones mislead them.
    """
    return config.image_size * (2 if config.stem == "patch" else 1)


def load_segmenter(job: Job, process: int = 0) -> Segmenter:
    """The job's model with its words and geometry, on one thread; processes side by side take GPUs in turn."""
    torch.set_num_threads(1)
    model, normalisation = load_model(job.checkpoint, pick_device(job.device, process))
    return Segmenter(
        model=model,
        normalisation=normalisation,
        text=text_embeddings(model, job.words, TEMPLATES),
        background=job.background is not None,
        scale=(CAP, job.size),
        window=job.size,
        stride=max(1, job.size // 2),
    )


def _segment(job: Job, photos: Sequence[Photo], processes: int) -> Iterator[str]:
    """For each photograph, in order, the sentence that says why it could not be read, or nothing."""
    if processes == 1 or len(photos) == 1:
        segmenter = load_segmenter(job)
        for photo in photos:
            yield segment_photo(segmenter, job, photo)
        return
    yield from in_processes(partial(_segment_in_process, job), photos, processes)


def _segment_in_process(job: Job, photo: Photo) -> str:
    return segment_photo(_loaded(job), job, photo)


@cache  # a process of a pool loads the model once
def _loaded(job: Job) -> Segmenter:
    return load_segmenter(job, int(current_process().name.rpartition("-")[2]) - 1)  # SpawnProcess-1 is the first


def segment_photo(segmenter: Segmenter, job: Job, photo: Photo) -> str:
    """Write the photograph's three files, the description last. Gives what is wrong with it, or nothing."""
    try:
        image = read_photo(photo.path)
    except DataError as error:
        return str(error)
    labels, scores = label(segmenter, image, job.background)
    names = [BACKGROUND, *job.words]
    colours = class_colours(names)
    paletted = Image.fromarray(labels.astype(np.uint8))
    palette = [channel for colour in colours for channel in rgb(colour)]
    paletted.putpalette(palette + [0] * (768 - len(palette)))  # a short one would be written with less than 8 bits
    with atomic_path(job.out / f"{photo.name}.overlay.png") as path:
        Image.fromarray(picture(image, labels, names, colours)).save(path, "PNG")
    with atomic_path(job.out / f"{photo.name}.labels.png") as path:
        paletted.save(path, "PNG")
    write_json(job.out / f"{photo.name}.json", describe(job, photo, labels, scores))
    return ""


def read_photo(path: Path) -> npt.NDArray[np.uint8]:
    """A photograph as a viewer shows it (H, W, 3). Raises `DataError` when it cannot be read whole."""
    try:
        return decode_image(path.read_bytes(), str(path), as_shown=True)
    except OSError as error:
        raise DataError(f"The image {path} cannot be read ({error.strerror}).") from error


def label(segmenter: Segmenter, image: npt.NDArray[np.uint8], threshold: float | None) -> tuple[Labels, list[float]]:
    """Labels (H, W), i + 1 for word i and 0 for the background, and the words' mean scores (see `mean_scores`)."""
    views = segmenter.look([image])
    labels = segmenter.segment(views, threshold or 0.0)[0] + int(threshold is None)
    return labels, mean_scores(views, labels, len(segmenter.text))


@torch.no_grad()
def mean_scores(views: Views, labels: Labels, number: int) -> list[float]:
    """Each word's mean score over the pixels that are its own, in 0..1; nan for a word without pixels.

    A pixel's score for a word is that of its group (`group_scores`: the softmax over all words times that over the five
    best of the window), averaged over the windows that hold the pixel and interpolated to the photograph's size: the
    number by which its word won. It compares the words that were given, and is no probability.
    """
    evidence, windows = views.evidence, len(views.corners)
    words = np.setdiff1d(np.unique(labels), [0]) - 1
    scores = evidence.scores[..., words]
    averaged = averaged_logits(views, slice(0, windows), scores)
    means = [float("nan")] * number
    for i, word in enumerate(words):  # a word at a time: all of them at the photograph's size would be gigabytes
        seen = F.interpolate(averaged[:, i : i + 1], size=views.original, mode="bilinear", align_corners=False)
        own = torch.from_numpy(labels == word + 1).to(seen.device)
        means[word] = float(seen[0, 0][own].mean(dtype=torch.float64))
    return means


def describe(job: Job, photo: Photo, labels: Labels, scores: Sequence[float]) -> dict[str, Any]:
    """What NAME.json holds. area: share of the picture, in 0..1; score: see `mean_scores`; the background has none."""
    pixels = np.bincount(labels.ravel(), minlength=1 + len(job.words))
    first = 1 if job.background is None else 0
    names = [BACKGROUND, *job.words]
    return {
        "image": str(photo.path),
        "height": labels.shape[0],
        "width": labels.shape[1],
        "classes": [
            {
                "label": i,
                "name": names[i],
                "colour": "#{:02x}{:02x}{:02x}".format(*rgb(colour)),
                "pixels": int(pixels[i]),
                "area": round(float(pixels[i] / labels.size), 6),
                "score": round(scores[i - 1], 6) if i and pixels[i] else None,
            }
            for i, colour in enumerate(class_colours(names))
            if i >= first
        ],
        "checkpoint": {"folder": str(job.checkpoint), "sha256": job.sha256},
        "settings": {
            "background": job.background,
            "size": job.size,
            "window": job.size,
            "stride": max(1, job.size // 2),
            "cap": CAP,
            "templates": list(TEMPLATES),
        },
    }
