"""Arms that curate in another way: what of a curation they share with the others, and what is theirs.

Takes the configuration; gives names such as `+neighbours-4`, which follow a corpus's name in paths and say in what a
curation differs from that of the configuration itself. Arms that ask for the same have one between them, and each part
(captions, embeddings, vocabulary, archive) is named by what decides it alone: what two curations have in common is made
once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cocu.config import Config
from cocu.errors import ConfigError
from cocu.sections import Section
from cocu.stamp import RECIPES, digest, settings
from cocu.yaml_file import merge

LONGEST = 32  # characters of a value in a name; a longer one gives a hash
CAPTIONS = (*RECIPES["captions"][1], "curate.pool")  # the pool's vocabulary, where it has one
EMBEDDINGS = (*RECIPES["embed"][1], "clip.model", "clip.pretrained")
VOCABULARY = (*CAPTIONS, *EMBEDDINGS)
ARCHIVE = (*VOCABULARY, *RECIPES["archive"][1])
PARTS = (CAPTIONS, EMBEDDINGS, VOCABULARY, ARCHIVE)


def suffix(config: Config, other: Config, paths: tuple[str, ...]) -> str:
    """In what `other` differs from the configuration under the paths: `+KEY-VALUE` each, or nothing."""
    changed = _changed(config, other, paths)
    return "".join(f"+{path.rsplit('.', 1)[1]}-{_text(value)}" for path, value in changed.items())


def variants(config: Config) -> dict[str, Config]:
    """Every suffix that a part of some arm's curation has -> the configuration that makes it; "" is the plain one."""
    found = {"": config}
    for arm in map(config.arm, config.arms):
        for paths in PARTS:
            found.setdefault(suffix(config, arm, paths), _with(config, _changed(config, arm, paths)))
    return found


def split(config: Config, curation: str) -> tuple[str, Config]:
    """The corpus and the configuration of a curation `CORPUS+KEY-VALUE`. Raises `ConfigError` for one of no arm."""
    corpus, plus, rest = curation.partition("+")
    known = variants(config)
    if plus + rest not in known:
        ways = ", ".join(corpus + name for name in known)
        raise ConfigError(f"No arm asks for the curation '{curation}'; there are {ways}.")
    return corpus, known[plus + rest]


def _changed(config: Config, other: Config, paths: tuple[str, ...]) -> dict[str, Any]:
    """Path of a single value -> the other's, where it is not the configuration's."""
    base, own = (_values(one, paths) for one in (config, other))
    return {path: value for path, value in own.items() if value != base[path]}


def _values(config: Config, paths: tuple[str, ...]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for path, value in settings(config, *dict.fromkeys(paths)).items():
        _flatten(path, value, values)
    return values


def _flatten(path: str, value: Any, into: dict[str, Any]) -> None:
    if not isinstance(value, Mapping):
        into[path] = value
        return
    for key, below in value.items():
        _flatten(f"{path}.{key}", below, into)


def _with(config: Config, values: Mapping[str, Any]) -> Config:
    """The configuration with single values replaced."""
    update = {}
    for name in {path.split(".")[0] for path in values}:
        section: Section = getattr(config, name)
        data = section.model_dump()
        for path, value in values.items():
            first, *keys = path.split(".")
            if first == name:
                for key in reversed(keys):
                    value = {key: value}
                data = merge(data, value)
        update[name] = type(section).model_validate(data)
    return config.model_copy(update=update)


def _text(value: Any) -> str:
    text = ".".join(map(str, value)) if isinstance(value, list) else str(value)
    text = text.lower() if isinstance(value, bool) else text
    return text if re.fullmatch(rf"[A-Za-z0-9._-]{{1,{LONGEST}}}", text) else digest(value)
