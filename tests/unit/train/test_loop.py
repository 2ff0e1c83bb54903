from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cocu.config import Config
from cocu.errors import DataError, NumericsError
from cocu.model.groupvit import GroupViT
from cocu.train import loop
from cocu.train.checkpoint import METRICS, STATE, locked
from cocu.train.data import load_pairs, loader
from cocu.train.optim import adamw, learning_rate
from tests.unit.train.corpus import Files, make_files, tiny_config


def train(config: Config, files: Files, out: Path, state: Path) -> dict[str, torch.Tensor]:
    loop.run(
        config,
        seed=1,
        corpus=files.corpus,
        captions=files.captions,
        archive=files.archive,
        val=None,
        out=out,
        state=state,
    )
    return load_file(out / "model.safetensors")


def metrics(state: Path) -> list[dict[str, float]]:
    (path,) = state.glob(f"*/{METRICS}")
    return [json.loads(line) for line in path.read_text().splitlines()]


KILLED = """
import os, signal, sys
from pathlib import Path
from cocu.train import loop
from tests.unit.train.corpus import Files, tiny_config
root, out, state = map(Path, sys.argv[1:])
append = loop.append_metrics
def kill_at_five(folder, line):
    append(folder, line)
    if line["step"] == 5:
        os.kill(os.getpid(), signal.SIGKILL)
loop.append_metrics = kill_at_five
loop.run(tiny_config().arm("cocu"), seed=1, corpus=root / "manifest.json", captions=root / "captions",
         archive=root / "archive", val=None, out=out, state=state)
"""


def test_a_killed_run_goes_on_and_ends_with_the_same_bits(tmp_path: Path) -> None:
    files, config = make_files(tmp_path), tiny_config().arm("cocu")
    whole = train(config, files, tmp_path / "whole" / "1", tmp_path / "state_whole")
    out, state = tmp_path / "killed" / "1", tmp_path / "state_killed"
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(out), str(state)]
    ended = subprocess.run(command, capture_output=True, cwd=os.getcwd(), check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert not (out / "model.safetensors").exists()
    assert [line["step"] for line in metrics(state)] == [1, 2, 3, 4, 5]
    resumed = train(config, files, out, state)
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
    assert metrics(state) == metrics(tmp_path / "state_whole")
    assert not list(state.glob(f"*/{STATE}"))


def test_training_lowers_the_loss_and_another_seed_or_rate_gives_other_weights(tmp_path: Path) -> None:
    files = make_files(tmp_path)
    first = train(tiny_config(steps=30), files, tmp_path / "a" / "1", tmp_path / "a_state")
    lines = metrics(tmp_path / "a_state")
    total = [line["info_nce"] + line["multi_label"] for line in lines]
    assert sum(total[-5:]) < sum(total[:5])
    other = train(tiny_config(steps=30, lr=2e-3), files, tmp_path / "b" / "1", tmp_path / "a_state")
    assert not torch.equal(first["logit_scale"], other["logit_scale"])
    assert len(list((tmp_path / "a_state").iterdir())) == 2  # each has a state folder of its own


def test_a_loss_that_is_not_finite_names_the_samples_and_spares_the_weights(tmp_path: Path) -> None:
    files, config = make_files(tmp_path), tiny_config()
    pairs = load_pairs(config, 1, files.corpus, files.captions, None)
    model = GroupViT(config.model).train()
    batch = next(iter(loader(pairs, config, 0, 1)))
    batch.images[0, 0, 0, 0] = float("nan")
    before = {name: value.clone() for name, value in model.named_parameters()}
    with pytest.raises(NumericsError, match=r"a batch that begins with toy/0000[01]/0"):
        loop.update(model, adamw(model, config.train), batch, config.train, pairs)
    assert all(torch.equal(before[name], value) for name, value in model.named_parameters())


def test_a_second_process_on_the_same_state_is_refused(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(DataError, match="Another process is training"), locked(tmp_path):
        pass


def test_damaged_state_is_put_aside_and_said(tmp_path: Path) -> None:
    files, config = make_files(tmp_path), tiny_config().arm("cocu")
    out, state = tmp_path / "out" / "1", tmp_path / "state"
    train(config, files, out, state)
    (folder,) = state.iterdir()
    (folder / STATE).write_bytes(b"not a checkpoint")
    with pytest.raises(DataError, match="moved to"):
        train(config, files, out, state)
    assert train(config, files, out, state)


def test_learning_rate_by_hand() -> None:
    train = tiny_config(lr=1.0, lr_warmup=0.0, lr_min=0.2, warmup_fraction=0.2).train
    rates = [learning_rate(step, 10, train) for step in (0, 1, 2, 6, 10)]
    assert rates == pytest.approx([0.0, 0.5, 1.0, 0.6, 0.2])


def test_weight_decay_spares_norms_biases_positions_and_the_temperature() -> None:
    model = GroupViT(tiny_config().model)
    decayed, free = adamw(model, tiny_config().train).param_groups
    names = {id(p): n for n, p in model.named_parameters()}
    assert {"logit_scale", "image.positions", "text.positions", "text.tokens.weight"} <= {
        names[id(p)] for p in free["params"]
    }
    assert all(p.ndim >= 2 for p in decayed["params"])
    assert len(decayed["params"]) + len(free["params"]) == len(names)
