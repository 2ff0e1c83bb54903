"""The configuration of a verb that works on one's own files, without an experiment around it.

Takes configuration files, which may be few or none, and options of the command line; gives a whole `Config`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cocu.config import Config, merge, read_yaml, validate

# What a configuration must say of an experiment; none of it is read where there is none.
EXPERIMENT: dict[str, Any] = {
    "experiment": "standalone",
    "seeds": [0],
    "arms": {"groupvit": {}, "cocu": {}},
    "model": {"stem": "patch", "stages": [{"depth": 1, "group_tokens": 8}]},
    "evaluate": {"benchmarks": ["mini_voc"]},
}


def standalone_config(files: Sequence[Path], options: Mapping[str, Any] | None = None) -> Config:
    """The configuration from the files, later ones over earlier ones, with the command line's options over them.

    Files that have arms of their own keep them alone: a reference may have the name of an arm that they lack.
    """
    given: dict[str, Any] = {}
    for file in files:
        given = merge(given, read_yaml(file))
    base = {key: value for key, value in EXPERIMENT.items() if key != "arms" or key not in given}
    return validate(merge(merge(base, given), options or {}))
