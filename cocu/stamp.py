"""What a result was made from, and whether that still holds: one mechanism for everything that is not made twice.

A stage's `recipe` is what decides its result besides its inputs: the values of some keys of the configuration, and the
code that it runs. With the hashes of the inputs it is a stamp, which results carry. The workflow's rules run again when
a recipe changes, `cocu curate` and a resumed training when a stamp does, and a `Store` gives finished parts back.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cocu.config import DataConfig
from cocu.data_sections import MiniWorld
from cocu.io import atomic_path, file_sha256, read_json, write_json

# Modules that carry values, files or messages but decide no number: a recipe leaves their code out, since the values
# that they carry are in it themselves.
PLUMBING = frozenset(
    {"cocu.cli", "cocu.config", "cocu.data_sections", "cocu.errors", "cocu.fit", "cocu.io", "cocu.layout"}
    | {"cocu.log", "cocu.rand_augment", "cocu.sections", "cocu.stamp", "cocu.variants"}
)
# Keys that decide how a stage runs, and not what it makes.
HOW = frozenset({"train.threads", "train.workers", "train.log_every", "train.checkpoint_every"})
DRAWS = ("web_pairs", "train_pairs", "val_images", "test_images")
WORLD = tuple(f"corpus.mini.{key}" for key in MiniWorld.model_fields if key not in DRAWS)
REPORT = ("report.baseline", "report.treatment", "report.confidence", "evaluate.benchmarks", "references")
# Stage -> the module that it runs, and the keys that decide its result. Keys that only name an input, such as a pool's
# folder or a file of weights, are not among them: the input itself is.
RECIPES: dict[str, tuple[str, tuple[str, ...]]] = {
    "corpus": ("cocu.pairs.verify", ("corpus.sets", "corpus.lenient", "corpus.max_bad")),
    "mini": ("cocu.mini.build", WORLD),
    "benchmarks": ("cocu.mini.benchmarks", WORLD),
    "clip": ("cocu.mini.standin", ("clip.stand_in",)),
    "captions": ("cocu.concepts.captions", ("curate.vocabulary",)),
    "embed": ("cocu.clip.embed", ("clip.batch_size",)),
    "archive": ("cocu.curate.archive", ("curate.search", "curate.compat")),
    "oracle": ("cocu.mini.truth", ()),
    "quality": ("cocu.mini.quality", ("report.seed", "train.prompts")),
    "train": ("cocu.train.loop", ("model", "train")),
    "import": ("cocu.model.transformers", ()),
    "evaluate": ("cocu.evaluate.job", ("evaluate.backgrounds", "evaluate.limit")),
    "tables": ("cocu.report.tables", REPORT),
    "figures": ("cocu.report.figures", REPORT),
    "panel": (
        "cocu.report.panel",
        ("report.baseline", "report.treatment", "report.panel_images", "evaluate.benchmarks"),
    ),
}

Stamp = dict[str, Any]


def recipe(stage: str, config: DataConfig, *more: str) -> Stamp:
    """What decides a stage's result besides its inputs; `more` are keys that decide this result of it as well."""
    module, paths = RECIPES[stage]
    return {"stage": stage, "settings": settings(config, *paths, *more), "code": code_fingerprint(module)}


def stamp(stage: str, config: DataConfig, inputs: Mapping[str, Any], *more: str) -> Stamp:
    """The recipe and the inputs, by name: hashes, or what else tells them from others."""
    return {**recipe(stage, config, *more), "inputs": dict(inputs)}


def settings(config: DataConfig, *paths: str) -> dict[str, Any]:
    """The values under the paths (`train`, `corpus.mini`), as JSON has them, without those that decide nothing."""
    data = config.model_dump(mode="json")
    return {path: _without_how(path, _lookup(data, path)) for path in paths}


def digest(value: object) -> str:
    """12 hex digits of a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def file_facts(paths: Iterable[str | Path]) -> str:
    """A hash of names, sizes and times of the files that are there: whether they are the same, without reading them."""
    found = [(str(path), path.stat()) for path in map(Path, paths) if path.is_file()]
    return digest([(name, stat.st_size, stat.st_mtime_ns) for name, stat in found])


def still_holds(manifest: Path, made_from: Stamp) -> bool:
    """Whether the manifest of a result says that it was made from the same."""
    return manifest.is_file() and read_json(manifest).get("stamp") == made_from


@dataclass(frozen=True)
class Store:
    """Finished parts of results, such as one shard of a block, by the stamp that they were made under.

    It lies outside of what the workflow's rules declare, which Snakemake deletes before a job begins, and when it
    fails. A part is a hard link to the result, where the file system has them, and takes no room of its own.
    """

    folder: Path

    def give(self, part: str, out: Path, made_from: Stamp) -> dict[str, Any] | None:
        """Bring `out` back when it was kept under an equal stamp and is whole; what was said of it, else None."""
        kept, note = self._files(part)
        if not (kept.is_file() and note.is_file()):
            return None
        said = read_json(note)
        if said["stamp"] != made_from or said["sha256"] != file_sha256(kept):
            return None
        _link(kept, out)
        return dict(said["facts"])

    def keep(self, part: str, out: Path, made_from: Stamp, facts: Mapping[str, Any]) -> None:
        """Keep the finished file `out`, and what is to be said of it."""
        kept, note = self._files(part)
        note.unlink(missing_ok=True)  # never a note beside another file
        _link(out, kept)
        write_json(note, {"stamp": made_from, "sha256": file_sha256(kept), "facts": dict(facts)})

    def forget_others(self, parts: Collection[str]) -> None:
        """Delete what is kept of other parts than these."""
        wanted = {path for part in parts for path in self._files(part)}
        for path in [p for p in self.folder.rglob("*") if p.is_file() and p not in wanted]:
            if not path.name.startswith("."):  # another job is writing it
                path.unlink(missing_ok=True)  # or has deleted it

    def _files(self, part: str) -> tuple[Path, Path]:
        return self.folder / part, self.folder / f"{part}.json"


def code_fingerprint(module: str) -> str:
    """12 hex digits of the code of `module` and of all that it imports from `cocu`, plumbing aside.

    Comments, docstrings and layout are no code. Snakemake does not see edits in a package that a shell command calls.
    """
    seen: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name in seen or name in PLUMBING or not (path := _source(name)):
            continue
        seen.add(name)
        todo += _read(path.read_bytes())[1]
    joined = hashlib.sha256()
    for name in sorted(seen):
        path = _source(name)
        assert path is not None
        joined.update(f"{name}\0{_read(path.read_bytes())[0]}\0".encode())
    return joined.hexdigest()[:12]


def _lookup(data: Any, path: str) -> Any:
    for key in path.split("."):
        data = data[key]
    return data


def _without_how(path: str, value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _without_how(f"{path}.{key}", below) for key, below in value.items() if f"{path}.{key}" not in HOW}


def _link(source: Path, to: Path) -> None:
    if to.exists() and to.samefile(source):  # renaming one name of a file to another would leave both
        return
    with atomic_path(to) as temporary:
        try:
            os.link(source, temporary)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(source, temporary)


def _source(module: str) -> Path | None:
    base = Path(__file__).parent.parent.joinpath(*module.split("."))
    return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)


@cache
def _read(source: bytes) -> tuple[str, tuple[str, ...]]:
    """The code of a module without its documentation, in Python's own spelling, and the modules of cocu it imports."""
    tree = ast.parse(source)
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and _documented(node):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree), tuple(n for n in names if n.startswith("cocu."))


def _documented(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return ast.get_docstring(node, clean=False) is not None
