"""One benchmark's definition: where its files lie, what its classes are called, and the protocol that scores it.

Takes a benchmark's YAML file: the user's own config/benchmarks/NAME.yaml, or else the one that cocu brings, with the
values of the published evaluation. Gives a frozen `Benchmark`. Its `protocol_hash()` goes into every result, so that
two numbers are compared only when the same protocol made them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from cocu.config import Fraction, Name, Section, suggest
from cocu.errors import ConfigError
from cocu.stamp import digest
from cocu.yaml_file import read_yaml

OWN = Path("config/benchmarks")  # of the working folder
SHIPPED = Path(__file__).parent / "shipped"
DESCRIPTION = ("source", "convert", "image_count")  # keys that tell a user about the data, and decide no number
CONTEXT = "PascalContextDataset"
Pixels = Annotated[int, Field(ge=1)]


class Benchmark(Section):
    """A data set on disk, the words its classes are asked for with, and the geometry of the evaluation.

    image_count: images of the published set; 0 where there is none. convert: how its masks are made; "" where they come
    as they are read. list_file: a file of image names; "" takes every image below `images`.
    shrink: (pixels, long side): an image of more pixels is segmented with its long side so short; null: none is.
    classes: the data set's own names, in the order of the class ids; a subset leaves the other labels unscored.
    prompts: as long as classes; null for the background, which is what no prompt explains. Left out: the class names.
    scale: (cap on the long side, short side) that an image is resized to; window, stride: in pixels after that.
    """

    name: Name
    source: str
    convert: str = ""
    image_count: int = Field(0, ge=0)
    dataset: str
    images: str
    masks: str
    list_file: str = ""
    image_suffix: str
    mask_suffix: str
    ignore_index: int = Field(ge=0, le=65_535)
    shrink: tuple[Pixels, Pixels] | None = None
    background: bool
    background_threshold: Fraction = 0.0
    scale: tuple[Pixels, Pixels]
    window: Pixels
    stride: Pixels
    templates: tuple[str, ...] = Field(min_length=1)
    classes: tuple[str, ...] = Field(min_length=2)
    prompts: tuple[str | None, ...]

    @model_validator(mode="before")
    @classmethod
    def _ask_for_classes_by_name(cls, data: Any) -> Any:
        classes = data.get("classes")
        if "prompts" in data or not isinstance(classes, list | tuple):
            return data
        return {**data, "prompts": [None, *classes[1:]] if data.get("background") else classes}

    @model_validator(mode="after")
    def _classes_have_prompts(self) -> Self:
        if len(self.prompts) != len(self.classes):
            raise ValueError(f"{len(self.classes)} classes but {len(self.prompts)} prompts: give one prompt a class")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("a class is listed twice")
        if self.ignore_index < len(self.classes):
            raise ValueError(
                f"ignore_index {self.ignore_index} is the id of the class {self.classes[self.ignore_index]}"
            )
        for i, prompt in enumerate(self.prompts):
            if (prompt is None) != (self.background and i == 0):
                raise ValueError(
                    f"prompt {i} ({self.classes[i]}) is {prompt!r}: "
                    "only the background has none (null), and where there is a background it is the first class"
                )
        return self

    @model_validator(mode="after")
    def _windows_cover_the_image(self) -> Self:
        if self.stride > self.window:
            raise ValueError(
                f"stride {self.stride} is larger than window {self.window}: pixels between windows are lost"
            )
        if bad := [t for t in self.templates if t.count("{}") != 1]:
            raise ValueError(f"the template {bad[0]!r} needs exactly one {{}}, where the class name goes")
        return self

    @property
    def words(self) -> list[str]:
        """The prompts without the background's: row i is class i + 1 where there is a background, else class i."""
        return [p for p in self.prompts if p is not None]

    def protocol_hash(self) -> str:
        """12 hex digits that change with anything that decides a number: not with the name, nor with `DESCRIPTION`."""
        return digest(self.model_dump(mode="json", exclude={"name", *DESCRIPTION}))


def definition_file(name: str, own: Path = OWN) -> Path:
    """The file that defines a benchmark: `own`/`name`.yaml, or else the shipped one.

    Raises `ConfigError` with the names that both places know when neither has it.
    """
    places = (own, SHIPPED)
    for folder in places:
        if (path := folder / f"{name}.yaml").is_file():
            return path
    yours, ours = (sorted(path.stem for path in folder.glob("*.yaml")) for folder in places)
    raise ConfigError(
        f"No benchmark '{name}'{suggest(name, {*yours, *ours})} Define it in {own / f'{name}.yaml'}, or correct the "
        f"name. Known from {own}: {', '.join(yours) or 'none'}; from {SHIPPED}: {', '.join(ours)}."
    )


def read_benchmark(name: str, own: Path = OWN) -> Benchmark:
    """The benchmark of a name, a file of the folder `own` before a shipped one.

    Raises `ConfigError`, one line a mistake, when its file is missing or wrong.
    """
    path = definition_file(name, own)
    try:
        return Benchmark.model_validate({**read_yaml(path), "name": name})
    except ValidationError as error:
        raise ConfigError("\n".join(_sentence(path, e) for e in error.errors())) from error


def showcase(names: Sequence[str], own: Path = OWN) -> Benchmark:
    """The benchmark that curves and pictures are made of.

    The first in PASCAL Context's format, whose labels cover objects and what is around them; else the first.
    """
    benchmarks = [read_benchmark(name, own) for name in names]
    return next((b for b in benchmarks if b.dataset == CONTEXT), benchmarks[0])


def _sentence(path: Path, error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{path}: unknown key {key}{suggest(key, Benchmark.model_fields)} Correct or remove it."
    if error["type"] == "missing":
        return f"{path}: the key {key} is missing. Add it (the files in {SHIPPED} have it)."
    return f"{path}: {key}: {error['msg']} (it is {error['input']!r})." if key else f"{path}: {error['msg']}."
