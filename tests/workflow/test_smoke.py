"""The whole workflow for real, with toy sizes: it ends, it repeats itself, and it survives kill -9."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from cocu.config import load
from cocu.io import file_sha256
from cocu.train.checkpoint import STATE
from tests.workflow.conftest import Checkout, make_checkout

pytestmark = pytest.mark.slow
RUN = ("--cores", "2", "--resources", "gpu=8", "--configfile", "config/smoke.yaml")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    checkout = make_checkout(tmp_path_factory.mktemp("smoke"))
    checkout.snakemake(*RUN)
    return checkout


def result(checkout: Checkout, path: str) -> Path:
    return checkout.root / "results/smoke" / path


def metrics(checkout: Checkout, arm: str) -> Any:
    data = json.loads(result(checkout, f"metrics/{arm}/0/mini_context.json").read_text())
    return {key: value for key, value in data.items() if key != "card"}


def test_the_table_has_a_row_an_arm_and_benchmark(finished: Checkout) -> None:
    config = load([finished.root / "config/config.yaml", finished.root / "config/smoke.yaml"])
    with result(finished, "tables/main.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {(row["arm"], row["benchmark"]) for row in rows} == {
        (arm, column)
        for arm in [*config.arms, "one_label", *config.references]
        for column in [*config.evaluate.benchmarks, "mean"]
    }
    assert all(row["seeds"] == ("1" if row["arm"] == "clip" else "2") for row in rows)
    assert all(0 <= float(row["miou_mean"]) <= 100 for row in rows)
    with result(finished, "tables/results.csv").open() as stream:
        results = {(row["arm"], row["seed"], f"{row['benchmark']}.json") for row in csv.DictReader(stream)}
    assert results == {path.parts[-3:] for path in result(finished, "metrics").rglob("*.json")}


STAGES = {
    "corpus", "web", "benchmarks", "clip", "captions", "embed", "embed_0", "embed_1", "embed_vocabulary", "archive",
    "oracle", "quality", "train", "evaluate", "evaluate_treatment", "tables", "figures", "panel",
}  # fmt: skip
# What is no output: how a job went, what it resumes from, and what holds for the whole run.
BESIDE = ("logs", "times", "state", "config.yaml", ".lock")


@pytest.fixture(scope="module")
def declared(finished: Checkout) -> dict[str, set[Path]]:
    """Rule -> the files of its jobs' outputs, as Snakemake lists them; all files of a declared folder."""
    outputs: dict[str, set[Path]] = {}
    for line in finished.snakemake(*RUN, "--summary").splitlines():
        if line.startswith("results/"):
            path, _, rule, *_ = line.split("\t")
            at = finished.root / path
            outputs.setdefault(rule, set()).update(filter(Path.is_file, at.rglob("*")) if at.is_dir() else {at})
    return outputs


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_what_a_rule_declares_is_written(declared: dict[str, set[Path]], stage: str) -> None:
    assert declared[stage] and all(path.is_file() for path in declared[stage])


def test_what_a_stage_writes_is_declared(finished: Checkout, declared: dict[str, set[Path]]) -> None:
    assert set(declared) == STAGES
    root = finished.root / "results/smoke"
    written = {p for p in root.rglob("*") if p.is_file() and p.relative_to(root).parts[0] not in BESIDE}
    assert written == set().union(*declared.values())


def test_a_result_says_of_which_weights_it_is(finished: Checkout) -> None:
    found = {
        path.parts[-3:-1]: json.loads(path.read_text()) for path in result(finished, "metrics").rglob("mini_voc.json")
    }
    for (arm, seed), metrics_of in found.items():
        if arm != "clip":
            trained = "cocu" if arm == "one_label" else arm
            weights = result(finished, f"checkpoints/{trained}/{seed}/model.safetensors")
            assert metrics_of["weights_sha256"] == file_sha256(weights)
    assert len({f["weights_sha256"] for f in found.values()}) == 7  # three arms of two seeds, and the stand-in
    assert all(f["images"] == 16 for f in found.values())


def test_run_again_it_has_nothing_to_do(finished: Checkout) -> None:
    assert "Nothing to be done" in finished.snakemake(*RUN)


def test_no_result_names_a_place_on_this_machine(finished: Checkout) -> None:
    files = [file for file in result(finished, "").rglob("*.json") if "logs" not in file.parts]
    assert len(files) > 20
    assert not [file for file in files if str(finished.root) in file.read_text()]


def test_killed_in_training_the_same_command_ends_with_the_same_bytes(finished: Checkout, checkout: Checkout) -> None:
    overlay = {"seeds": [0], "run_arms": ["groupvit", "cocu"]}
    (checkout.root / "config/less.yaml").write_text(yaml.safe_dump(overlay))
    command = (*RUN, "config/less.yaml")

    process = checkout.start(*command)
    deadline = time.monotonic() + 300
    while not list(result(checkout, "state/train").rglob(STATE)):  # the first checkpoint of any training
        assert process.poll() is None, "the workflow ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()

    checkout.snakemake(*command)
    logs = [log.read_text() for log in result(checkout, "logs/train").rglob("*.log")]
    assert any("Resuming at step" in log for log in logs)
    same = ["curation/train0/archive/train0/00000.parquet", "curation/train0/captions/vocabulary.txt"]
    for arm in ("groupvit", "cocu"):
        same += [f"checkpoints/{arm}/0/model.safetensors", f"checkpoints/{arm}/0/curve.csv"]
    for path in same:
        assert result(checkout, path).read_bytes() == result(finished, path).read_bytes(), path
    for arm in ("groupvit", "cocu", "one_label"):
        assert metrics(checkout, arm) == metrics(finished, arm)
