"""A benchmark's folder looked over before an evaluation: every image, where an evaluation stops at the first fault.

Takes a `Benchmark` and the folder its files lie under; gives a `Report` of what is missing, damaged or does not belong
together, and of what the masks hold. An image is sound when Pillow decodes it to its end (some OpenCVs make grey of
what a cut JPEG lacks) and `Examples`, which is what an evaluation reads, has nothing against it.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from cocu.benchmarks.definitions import Benchmark, definition_file, read_benchmark
from cocu.benchmarks.mmseg import OTHER_SIZE, ExampleError, Examples, obtain
from cocu.io import write_json
from cocu.log import progress
from cocu.parallel import in_processes

CHUNK = 64  # images that a process is given at a time
SHOWN = 10  # examples of a kind of fault in the text; the JSON has all
ORIENTATION = 0x0112  # EXIF's tag: 1 upright, 2 to 4 turned by 180 degrees or mirrored, 5 to 8 on its side
Size = tuple[int, int]


@dataclass(frozen=True)
class Look:
    """What one image and its mask hold; with a fault, only that.

    fault: its kind, and a sentence (or the file that is missing). mode: the image's, as Pillow names it; turned: its
    path if an EXIF tag turns it and leaves its size; shrunk: the benchmark shrinks it. size: width, height of the mask;
    pixels: scored pixels of each class that occurs, of none where nothing is labelled; ignored: the other pixels.
    """

    fault: tuple[str, str] | None = None
    mode: str = ""
    turned: str = ""
    shrunk: bool = False
    size: Size = (0, 0)
    pixels: dict[int, int] = field(default_factory=dict)
    ignored: int = 0


@dataclass(frozen=True)
class Report:
    """What `check` found. sound: an evaluation can run; verdict: that, as a sentence.

    images: in the list; published: in the published benchmark (0: there is none); looked_at: of `images`.
    faults: sentences by kind; warnings: what an evaluation runs with, and its user should know.
    Of the images without fault: modes; sizes (width, height), smallest, median, largest by pixels; shrunk; ignored:
    share of the pixels; classes: name, share of the scored pixels, number of images. unread: image files and masks
    that no list names, of a benchmark that has a list. definition: the file that defines the benchmark.
    """

    benchmark: str
    folder: str
    sound: bool
    verdict: str
    images: int
    published: int
    looked_at: int
    faults: dict[str, list[str]]
    warnings: list[str] = field(default_factory=list)
    modes: dict[str, int] = field(default_factory=dict)
    sizes: list[Size] = field(default_factory=list)
    shrunk: int = 0
    ignored: float = 0.0
    classes: list[tuple[str, float, int]] = field(default_factory=list)
    unread: tuple[int, int] = (0, 0)
    definition: str = ""


def run(name: str, *, data: Path, limit: int, processes: int, out: Path | None) -> Report:
    """The report on the benchmark `name` and the folder `data`; written to `out` as JSON as well."""
    report = check(read_benchmark(name), data, limit, processes)
    report = replace(report, definition=str(definition_file(name)))
    if out is not None:
        write_json(out, asdict(report))
    return report


def check(benchmark: Benchmark, root: Path, limit: int = 0, processes: int = 1) -> Report:
    """Look at the first `limit` images (0: at all) of the benchmark whose files lie under `root`."""
    if gaps := missing(benchmark, root):
        verdict = f"{benchmark.name} cannot be evaluated: files are missing. {obtain(benchmark, root)}"
        return Report(
            benchmark.name, str(root), False, verdict, 0, benchmark.image_count, 0, {"missing or empty": gaps}
        )
    examples = Examples(benchmark, root)
    paths = [examples.paths(i) for i in range(len(examples))]
    count = min(limit or len(paths), len(paths))
    looks = progress(_all_looks(benchmark, root, count, processes), total=count, what=f"checking {benchmark.name}")
    return summary(benchmark, root, paths, list(looks))


def missing(benchmark: Benchmark, root: Path) -> list[str]:
    """A sentence for each folder or list that does not exist, or in which nothing is that could be read."""
    found = []
    for what, place, suffix in (
        ("images", benchmark.images, benchmark.image_suffix),
        ("masks", benchmark.masks, benchmark.mask_suffix),
    ):
        folder = root / place
        if not folder.is_dir():
            found.append(f"The folder of the {what}, {folder}, does not exist.")
        elif not _files(folder, suffix):
            others = sorted(_files(folder, ""))
            instead = f"it has {len(others):,} other files, such as {others[0].name}" if others else "it is empty"
            found.append(f"The folder of the {what}, {folder}, has no file that ends in {suffix}: {instead}.")
    if benchmark.list_file:
        listed = root / benchmark.list_file
        if not listed.is_file():
            found.append(f"The list of images, {listed}, does not exist.")
        elif not listed.read_text(encoding="utf-8").strip():
            found.append(f"The list of images, {listed}, is empty.")
    return found


def look(examples: Examples, i: int, ignore: int) -> Look:
    """What item i holds, labels other than `ignore` counted; or its first fault."""
    image_path, mask_path = examples.paths(i)
    for kind, path in (("missing image", image_path), ("missing mask", mask_path)):
        if not path.is_file():
            return Look((kind, str(path)))
    opened = []
    for path in (image_path, mask_path):
        try:
            opened.append(_decoded(path))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            return Look(("damaged file", f"Cannot read {path}: {error}. Unpack the data set again."))
    (mode, size, orientation), (_, mask_size, _) = opened
    try:
        example = examples[i]
    except ExampleError as error:
        if orientation >= 5 and error.kind == OTHER_SIZE and size == mask_size:
            turned = f"{image_path} is {size[0]} x {size[1]} like its mask, until its EXIF tag lays it on its side."
            return Look(("image turned by EXIF", f"{turned} Remove the tag: `exiftool -Orientation= FILE`."))
        return Look((error.kind, str(error)))
    height, width = example.truth.shape
    scored = example.truth[example.truth != ignore]
    pixels = np.bincount(scored)
    return Look(
        mode=mode,
        turned=str(image_path) if orientation > 1 and size == mask_size else "",
        shrunk=example.image.shape[:2] != (height, width),
        size=(width, height),
        pixels={int(c): int(pixels[c]) for c in np.flatnonzero(pixels)},
        ignored=height * width - scored.size,
    )


def summary(benchmark: Benchmark, root: Path, paths: Sequence[tuple[Path, Path]], looks: Sequence[Look]) -> Report:
    """The report on all images' (and masks') paths, and what was seen of the first of them."""
    faults: dict[str, list[str]] = defaultdict(list)
    unlabelled = [str(mask) for (_, mask), one in zip(paths, looks, strict=False) if not (one.fault or one.pixels)]
    pixels, images = (np.zeros(len(benchmark.classes), np.int64) for _ in range(2))
    for one in looks:
        if one.fault:
            faults[one.fault[0]].append(one.fault[1])
        for c, count in one.pixels.items():
            pixels[c] += count
            images[c] += 1
    seen = sorted((one for one in looks if not one.fault), key=lambda one: (one.size[0] * one.size[1], one.size))
    scored, ignored = int(pixels.sum()), sum(one.ignored for one in seen)
    nothing = f"nothing but the ignored label {benchmark.ignore_index}"
    if unlabelled and not scored:  # an evaluation passes such images over, and there is no other
        faults["nothing labelled"] = [f"{mask} holds {nothing}." for mask in unlabelled]
    spare_images = _files(root / benchmark.images, benchmark.image_suffix) - {image for image, _ in paths}
    spare_masks = _files(root / benchmark.masks, benchmark.mask_suffix) - {mask for _, mask in paths}
    absent = [name for name, count in zip(benchmark.classes, images, strict=True) if not count]
    warnings = {
        "images that are listed, and count, more than once, {}": [
            path.stem for (path, _), count in Counter(paths).items() if count > 1
        ],
        f"masks that hold {nothing} (their images are passed over), {{}}": unlabelled if scored else [],
        "masks without image, {}": [] if benchmark.list_file else sorted(map(str, spare_masks)),
        "images that an EXIF tag turns by 180 degrees or mirrors (see that their masks are so, too), {}": [
            one.turned for one in looks if one.turned
        ],
        f"classes that occur in no image, {{}} of {len(images)}": absent if len(looks) == len(paths) else [],
    }
    part = f"images listed, {len(paths):,}: the published benchmark has {benchmark.image_count:,}"
    return Report(
        benchmark=benchmark.name,
        folder=str(root),
        sound=not faults,
        verdict=_verdict(benchmark, len(paths), len(looks), sum(map(len, faults.values()))),
        images=len(paths),
        published=benchmark.image_count,
        looked_at=len(looks),
        faults=dict(faults),
        warnings=[
            *([part] if benchmark.image_count not in (0, len(paths)) else []),
            *(f"{what.format(f'{len(names):,}')}: {_some(names)}" for what, names in warnings.items() if names),
        ],
        modes=dict(Counter(one.mode for one in seen).most_common()),
        sizes=[seen[i].size for i in (0, (len(seen) - 1) // 2, -1)] if seen else [],
        shrunk=sum(one.shrunk for one in seen),
        ignored=ignored / max(scored + ignored, 1),
        classes=[(name, int(pixels[c]) / max(scored, 1), int(images[c])) for c, name in enumerate(benchmark.classes)],
        unread=(len(spare_images), len(spare_masks)) if benchmark.list_file else (0, 0),
    )


def format_report(report: Report) -> str:
    """The report as lines, of each kind of fault the first ten; the last line is the verdict."""
    published = f", {report.published:,} published" if report.published else ""
    lines = [f"{report.benchmark} in {report.folder}"]
    if report.images:
        lines.append(f"{'images':14}{report.images:,} listed{published}, {report.looked_at:,} looked at")
    if report.definition:
        lines.append(f"{'defined by':14}{report.definition}")
    if any(report.unread):
        lines.append(f"{'not read':14}images {report.unread[0]:,}, masks {report.unread[1]:,}, which no list names")
    if report.sizes:
        names = zip(("smallest", "median", "largest"), report.sizes, strict=True)
        lines.append(f"{'sizes':14}" + ", ".join(f"{w} x {h} ({name})" for name, (w, h) in names))
        lines.append(f"{'modes':14}" + ", ".join(f"{mode} {count:,}" for mode, count in report.modes.items()))
        lines.append(f"{'ignored':14}{report.ignored:.2%} of the pixels")
        if report.shrunk:
            lines.append(f"{'shrunk':14}images {report.shrunk:,}, before they are segmented")
        width = max(len(name) for name, _, _ in report.classes)
        lines += ["", f"{'class':{width + 5}}{'of scored pixels':>18}{'images':>9}"]
        lines += [
            f"{c:3}  {name:{width}}{share:18.3%}{images:9,}" for c, (name, share, images) in enumerate(report.classes)
        ]
    lines.append("")
    lines += [f"warning: {warning}" for warning in report.warnings]
    for kind, sentences in report.faults.items():
        lines.append(f"fault: {kind}, {len(sentences):,}")
        lines += [f"  {sentence}" for sentence in sentences[:SHOWN]]
        if len(sentences) > SHOWN:
            lines.append(f"  and {len(sentences) - SHOWN:,} more")
    return "\n".join([*lines, "", report.verdict])


def _verdict(benchmark: Benchmark, images: int, looked_at: int, faulty: int) -> str:
    if faulty:
        has = "has" if faulty == 1 else "have"
        return f"{benchmark.name} cannot be evaluated: {faulty:,} of {looked_at:,} images {has} a fault."
    if looked_at < images:
        return f"The first {looked_at:,} of {images:,} images of {benchmark.name} can be evaluated."
    if images == benchmark.image_count:
        return f"{benchmark.name} can be evaluated: {images:,} images, as published."
    of_them = f" of {benchmark.image_count:,}: not the published benchmark" if benchmark.image_count else ""
    return f"{benchmark.name} can be evaluated: {images:,} images{of_them}."


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")


def _all_looks(benchmark: Benchmark, root: Path, count: int, processes: int) -> Iterator[Look]:
    chunks = [range(first, min(first + CHUNK, count)) for first in range(0, count, CHUNK)]
    yield from chain.from_iterable(in_processes(partial(_looks, benchmark, root), chunks, processes))


def _looks(benchmark: Benchmark, root: Path, rows: range) -> list[Look]:
    examples = Examples(benchmark, root)
    return [look(examples, i, benchmark.ignore_index) for i in rows]


def _files(folder: Path, suffix: str) -> set[Path]:
    """Files below a folder, hidden ones aside, links followed: what mmsegmentation finds."""
    walk = os.walk(folder, followlinks=True)
    return {Path(at, n) for at, _, names in walk for n in names if n.endswith(suffix) and not n.startswith(".")}


def _decoded(path: Path) -> tuple[str, Size, int]:
    """A file's mode, width and height, and EXIF orientation, after it was decoded to its end."""
    with Image.open(path) as image:
        image.load()
        orientation = 1
        with contextlib.suppress(Exception):  # a broken EXIF block, which OpenCV passes over
            orientation = int(image.getexif().get(ORIENTATION, 1))
        return image.mode, image.size, orientation
