"""The truth: it comes back as written, becomes the oracle's archive by key, and nothing that learns can reach it."""

import ast
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import cocu
from cocu.config import Config
from cocu.errors import DataError
from cocu.io import read_json, write_json
from cocu.mini.truth import Truth, read_truth, run_oracle, write_truth
from cocu.pairs.tables import ARCHIVE

TRUTH = Truth(
    keys=("t/0/a", "t/0/b"),
    masks=np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4),
    names=("cat", "sky", "dog"),
    visible=np.array([[1, 1, 0], [0, 1, 1]], bool),
)


def lay_out(folder: Path, keys: list[str], vocabulary: list[str]) -> dict[str, Path]:
    paths = {"truth": folder / "t", "captions": folder / "captions", "out": folder / "oracle"}
    write_truth(paths["truth"] / "t/0.npz", TRUTH)
    (paths["captions"] / "t").mkdir(parents=True)
    (paths["captions"] / "vocabulary.txt").write_text("\n".join(vocabulary) + "\n")
    pq.write_table(pa.table({"key": keys}), paths["captions"] / "t/0.parquet")
    write_json(paths["captions"] / "manifest.json", {"shards": [{"shard": "t/0"}]})
    return paths


def test_round_trip_and_same_bytes(tmp_path: Path) -> None:
    write_truth(tmp_path / "a.npz", TRUTH)
    write_truth(tmp_path / "b.npz", TRUTH)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    read = read_truth(tmp_path / "a.npz")
    assert (read.keys, read.names) == (TRUTH.keys, TRUTH.names)
    assert np.array_equal(read.masks, TRUTH.masks) and np.array_equal(read.visible, TRUTH.visible)


def test_damaged_truth_is_named(tmp_path: Path) -> None:
    write_truth(tmp_path / "a.npz", TRUTH)
    whole = (tmp_path / "a.npz").read_bytes()
    for data in (b"", whole[:100], whole[:-30]):
        (tmp_path / "a.npz").write_bytes(data)
        with pytest.raises(DataError, match=r"a\.npz"):
            read_truth(tmp_path / "a.npz")
    with pytest.raises(DataError, match=r"visible of shape \(1, 3\)"):
        Truth(TRUTH.keys, TRUTH.masks, TRUTH.names, TRUTH.visible[:1])


def test_oracle_rows_follow_the_captions_and_hold_what_is_visible(config: Config, tmp_path: Path) -> None:
    paths = lay_out(tmp_path, ["t/0/b", "t/0/a"], ["photo", "dog", "sky"])
    run_oracle(config, corpus="t", **paths)
    table = pq.read_table(paths["out"] / "t/0.parquet")
    assert table.schema.equals(ARCHIVE)
    assert table.to_pylist() == [
        {"key": "t/0/b", "concepts": [1, 2], "scores": [1.0, 1.0], "clusters": [0, 1]},
        {"key": "t/0/a", "concepts": [2], "scores": [1.0], "clusters": [0]},
    ]
    manifest = read_json(paths["out"] / "manifest.json")
    assert manifest["not_in_vocabulary"] == ["cat"] and manifest["counts"]["pairs"] == 2
    before = (paths["out"] / "t/0.parquet").read_bytes()
    run_oracle(config, corpus="t", **paths)
    assert (paths["out"] / "t/0.parquet").read_bytes() == before


def test_oracle_refuses_captions_of_other_pairs_and_foreign_vocabularies(config: Config, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1 keys have no truth, the first is t/0/z"):
        run_oracle(config, corpus="t", **lay_out(tmp_path / "1", ["t/0/a", "t/0/z"], ["sky"]))
    with pytest.raises(DataError, match="None of the truth's names"):
        run_oracle(config, corpus="t", **lay_out(tmp_path / "2", ["t/0/a"], ["lamp"]))
    assert not (tmp_path / "2" / "oracle").exists()


def test_nothing_that_curates_or_trains_imports_the_truth() -> None:
    package = Path(cocu.__file__).parent
    forbidden = {"cocu.mini.truth", "cocu.mini.quality"}

    def imports(module: str) -> set[str]:
        base = package.parent.joinpath(*module.split("."))
        path = next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())) if path else ():
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        return {name for name in names if name.startswith("cocu.")}

    assert "cocu.mini.truth" in imports("cocu.mini.build")  # the scan sees imports at all
    todo = [
        f"cocu.{part}.{p.stem}" for part in ("clip", "curate", "model", "train") for p in (package / part).glob("*.py")
    ]
    seen: set[str] = set()
    while todo:
        module = todo.pop()
        if module not in seen:
            seen.add(module)
            assert module not in forbidden, f"{module} is reachable from curation or training"
            todo += imports(module)
