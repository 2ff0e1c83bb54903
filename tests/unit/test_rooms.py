"""The house: a room knows those below it, and no others; modules are short."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "cocu"
# From below: the foundation, in the order of the data, and what people type.
FOUNDATION = (
    "errors",
    "log",
    "io",
    "yaml_file",
    "weights",
    "parallel",
    "jit",
    "rand_augment",
    "sections",
    "data_sections",
    "fit",
    "config",
    "stamp",
    "variants",
    "layout",
    "device",
)
ROOMS = (
    *FOUNDATION,
    "pairs",
    "benchmarks",
    "concepts",
    "clip",
    "search",
    "curate",
    "model",
    "segment",
    "evaluate",
    "train",
    "mini",
    "report",
    "preflight",
    "stages",
    "cli",
)
LONGEST = 300  # lines


def imports(source: str) -> Iterator[str]:
    """The modules of the package that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "cocu":
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from below if node.module == "cocu" else [node.module, *below]
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "cocu")


def modules() -> dict[str, Path]:
    paths = sorted(PACKAGE.rglob("*.py"))
    return {".".join(p.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): p for p in paths}


MODULES = modules()
ARROWS = {
    name: sorted({i for i in imports(path.read_text(encoding="utf-8")) if i in MODULES} - {name})
    for name, path in MODULES.items()
}


def room(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("module", [name for name in MODULES if name != "cocu"])
def test_every_room_has_its_place_and_knows_none_above_it(module: str) -> None:
    assert room(module) in ROOMS, f"{module}: give its room a place in ROOMS"
    place = ROOMS.index(room(module))
    upward = [other for other in ARROWS[module] if other != "cocu" and ROOMS.index(room(other)) > place]
    assert not upward, f"{module} imports from above: {upward}"


def test_no_circle() -> None:
    done: set[str] = set()

    def walk(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, f"a circle: {' -> '.join((*above, module))}"
        if module in done:
            return
        for other in ARROWS[module]:
            # A package's __init__ is run by its modules' import, and is no arrow of theirs.
            if not module.startswith(f"{other}."):
                walk(other, (*above, module))
        done.add(module)

    for module in MODULES:
        walk(module, ())


def test_imports_are_found_wherever_they_stand() -> None:
    source = "import cocu.io\nfrom cocu import cli\ndef f():\n    from cocu.pairs import shards\nimport cocuxyz\n"
    assert {"cocu.io", "cocu.cli", "cocu.pairs", "cocu.pairs.shards"} == set(imports(source))
    assert ARROWS["cocu.pairs.reader"] == ["cocu.pairs.index", "cocu.pairs.shards"]


def test_captions_know_what_benchmarks_are_called_and_not_how_their_files_are_read() -> None:
    """The captions' stage would be made again with every edit there."""
    known: set[str] = set()
    todo = ["cocu.concepts.captions"]
    while todo:
        if (module := todo.pop()) not in known:
            known.add(module)
            todo += ARROWS[module]
    assert {module for module in known if module.startswith("cocu.benchmarks.")} == {"cocu.benchmarks.definitions"}


@pytest.mark.parametrize("module", list(MODULES))
def test_a_module_is_short(module: str) -> None:
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) <= LONGEST
