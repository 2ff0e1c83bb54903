"""The experiment's typed configuration: YAML overlays in, one frozen `Config` out.

Unknown keys are errors that suggest the nearest known one. An *arm* is a named override of the configuration;
`Config.arm(name)` applies it. `json_schema()` describes a configuration to editors.
"""

from __future__ import annotations

import difflib
import math
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml
from pydantic import Field, ValidationError, model_validator

from cocu.data_sections import Clip, Corpus, Curate, DataSet, MiniWorld, Search, StandIn, Vocabulary
from cocu.errors import ConfigError
from cocu.fit import arm_mistakes, data_mistakes, evaluation_mistakes, override_mistakes
from cocu.sections import (
    Augment,
    Device,
    Evaluate,
    Fraction,
    Model,
    Name,
    Prompts,
    Reference,
    Report,
    Sampling,
    Section,
    Seed,
    Stage,
    Train,
    refuse,
    repeated,
)
from cocu.yaml_file import merge, read_yaml

__all__ = [
    "Augment",
    "Clip",
    "Config",
    "Corpus",
    "Curate",
    "DataConfig",
    "DataSet",
    "Device",
    "Evaluate",
    "EvaluationConfig",
    "Fraction",
    "MiniWorld",
    "Model",
    "Name",
    "Prompts",
    "Reference",
    "Report",
    "Sampling",
    "Search",
    "Section",
    "Stage",
    "StandIn",
    "Train",
    "Vocabulary",
    "dump",
    "json_schema",
    "load",
    "read",
    "suggest",
    "validate",
    "validate_part",
]

Part = TypeVar("Part", bound="DataConfig")  # of a configuration
ARM_SECTIONS = ("clip", "curate", "model", "train")  # what an arm may override
ONE_LABEL = "one_label"  # results of the treatment painted with one label an image; no arm may have the name


class DataConfig(Section):
    """What curation reads: the pairs, the CLIP that sees them, and how their concepts are found."""

    device: Device = "auto"
    corpus: Corpus = Corpus()
    clip: Clip = Clip()
    curate: Curate = Curate()

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        refuse(data_mistakes(self.corpus, self.clip, self.curate))
        return self


class EvaluationConfig(DataConfig):
    """What an evaluation reads: besides the CLIP that may be asked, the references, and how benchmarks are scored."""

    references: dict[Name, Reference] = Field(default_factory=dict)
    evaluate: Evaluate = Evaluate()


class Config(EvaluationConfig):
    """Everything that decides a result. Arms x seeds x benchmarks is the experiment; references have no seeds.

    run_arms names the arms that run; the others are checked no further and dropped, so that an overlay can leave out
    an arm of the file it lies on. Empty: all of them.
    """

    experiment: Name
    seeds: tuple[Seed, ...] = Field(min_length=1)
    run_arms: tuple[Name, ...] = ()
    arms: dict[Name, dict[str, Any]] = Field(min_length=1)
    model: Model
    train: Train = Train()
    evaluate: Evaluate
    report: Report = Report()

    @model_validator(mode="before")
    @classmethod
    def _keep_the_arms_that_run(cls, data: Any) -> Any:
        arms, chosen = data.get("arms"), data.get("run_arms")
        if not isinstance(arms, Mapping) or not isinstance(chosen, list | tuple) or not chosen:
            return data
        for name in chosen:
            if not isinstance(name, str) or name not in arms:
                raise ValueError(f"run_arms names '{name}', which is not in arms{suggest(str(name), map(str, arms))}")
        return {**data, "arms": {name: arms[name] for name in chosen}}

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        for role in ("baseline", "treatment"):
            if (name := getattr(self.report, role)) not in self.arms:
                raise ValueError(f"report.{role} is '{name}', which is not an arm that runs: {', '.join(self.arms)}")
        if taken := sorted({ONE_LABEL} & {*self.arms, *self.references} | set(self.arms) & set(self.references)):
            raise ValueError(
                f"'{taken[0]}' is the name of another row of the tables: give the arm or reference another"
            )
        refuse([repeated("seeds", self.seeds), repeated("run_arms", self.run_arms)])
        refuse(self._arms_mistakes())
        for name, reference in self.references.items():
            if reference.clip == "stand-in" != self.clip.model:
                raise ValueError(f"references.{name} is the stand-in CLIP, which is not trained here: name another")
        return self

    def _arms_mistakes(self) -> list[str]:
        """With the arm's name, unless the arms share it: then it is the sections' own, and told once."""
        common = [*data_mistakes(self.corpus, self.clip, self.curate), *evaluation_mistakes(self.corpus, self.evaluate)]
        shared = [*common, *arm_mistakes(self.corpus, self.model, self.train)]
        told = dict.fromkeys(common)
        for name, override in self.arms.items():
            try:
                arm = self._override(name)
            except ValueError as error:
                told[str(error)] = None
                continue
            found = [*data_mistakes(arm.corpus, arm.clip, arm.curate), *arm_mistakes(arm.corpus, arm.model, arm.train)]
            found += override_mistakes(override, arm.train.prompts)
            told |= {mistake if mistake in shared else f"arm '{name}': {mistake}": None for mistake in found}
        return list(told)

    def _override(self, name: str) -> Config:
        override = self.arms[name]
        if extra := sorted(set(override) - set(ARM_SECTIONS)):
            raise ValueError(f"arm '{name}' overrides {', '.join(extra)}; it may override {', '.join(ARM_SECTIONS)}")
        sections = {}
        for key in override:
            section: Section = getattr(self, key)
            if not isinstance(override[key], Mapping):
                raise ValueError(f"arms.{name}.{key} is {override[key]!r}, and must be a mapping of keys to values")
            try:
                sections[key] = type(section).model_validate(merge(section.model_dump(), override[key]))
            except ValidationError as error:
                raise ValueError(_sentences(error, name, (key,))) from error
        return self.model_copy(update=sections)

    def arm(self, name: str) -> Config:
        """The configuration with the arm's overrides applied."""
        if name not in self.arms:
            raise ConfigError(f"No arm '{name}' in the configuration{suggest(name, self.arms)}")
        return self._override(name)


def suggest(word: str, known: Iterable[str]) -> str:
    """The end of a sentence: `; did you mean 'x'?` for the nearest known word, or its full stop."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else "."


def validate(data: Mapping[str, Any]) -> Config:
    """A `Config` from plain data. Raises `ConfigError` with one line a mistake, each naming the key's path."""
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_sentences(error)) from error


def validate_part(kind: type[Part], data: Mapping[str, Any]) -> Part:
    """What of plain data a verb reads; other keys of an experiment may be there, and are not looked at."""
    unread = Config.model_fields.keys() - kind.model_fields.keys()
    try:
        return kind.model_validate({key: data[key] for key in data if key not in unread})
    except ValidationError as error:
        raise ConfigError(_sentences(error)) from error


def read(paths: Iterable[Path]) -> dict[str, Any]:
    """Plain data from files, later ones laid over earlier ones."""
    data: dict[str, Any] = {}
    for path in paths:
        data = merge(data, read_yaml(path))
    return data


def load(paths: Iterable[Path]) -> Config:
    """The configuration from files, later ones laid over earlier ones."""
    return validate(read(paths))


def dump(config: Config) -> str:
    """The configuration as YAML, every key written out; `load` gives an equal one back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def json_schema() -> dict[str, Any]:
    """The JSON schema of `Config` (`additionalProperties: false` everywhere but in an arm's overrides)."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()}


def _sentences(error: ValidationError, arm: str = "", section: tuple[str, ...] = ()) -> str:
    """One line a mistake. `arm` made it in its override of `section`, where that is what was validated."""
    shown = ("arms", arm, *section) if arm else ()
    who = f"arm '{arm}': " if arm else ""
    return "\n".join(
        _sentence(e, ".".join(map(str, (*shown, *e["loc"]))), (*section, *e["loc"]), who)
        for e in error.errors()
        if not (e["type"] == "too_short" and e["input"])  # pydantic's afterthought on a list of mistakes alone
    )


def _sentence(error: Any, path: str, loc: tuple[Any, ...], who: str) -> str:
    if error["type"] == "extra_forbidden":
        return f"Unknown key {path}{suggest(str(loc[-1]), _siblings(loc))} Correct or remove it."
    if error["type"] == "missing":
        return f"The key {path} is missing. Add it (config/config.yaml explains every key)."
    if error["type"] == "value_error":  # a check of ours, which says itself what is wrong
        several = loc[:1] == ("references",) or loc[:2] == ("corpus", "sets")  # and the check sees but one
        who = f"{path}: " if several else who
        return "\n".join(f"{who}{_ended(line)}" for line in str(error["ctx"]["error"]).splitlines())
    if error["type"] in ("float_type", "int_type") and _is_number(error["input"]):
        return (
            f"{path}: YAML reads {error['input']} as text. Write a number without quotes, and an exponent with a point "
            "before it and a sign in it (1.0e-3)."
        )
    return f"{path}: {error['msg']} (it is {error['input']!r})."


def _ended(line: str) -> str:
    return line if line.endswith((".", "?")) else f"{line}."


def _is_number(value: object) -> bool:
    """Whether a text is a number to everyone but YAML."""
    try:
        return isinstance(value, str) and math.isfinite(float(value))
    except ValueError:
        return False


def _siblings(loc: tuple[Any, ...]) -> list[str]:
    """The keys that are known where the unknown key `loc` stands."""
    model: Any = Config
    for part in loc[:-1]:
        # an int is an entry of a tuple[Section, ...], and a name one of a dict[Name, Section]
        entry = typing.get_args(model)
        model = entry[0] if isinstance(part, int) else entry[1] if entry else model.model_fields[part].annotation
    return list(model.model_fields)
