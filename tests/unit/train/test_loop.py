from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from cocu.config import Config, Corpus, MiniWorld
from cocu.errors import NumericsError
from cocu.evaluate import score
from cocu.io import file_sha256, write_json, write_text
from cocu.layout import side_car
from cocu.mini import benchmarks
from cocu.model.groupvit import GroupViT
from cocu.stamp import stamp
from cocu.train import loop
from cocu.train.checkpoint import METRICS
from cocu.train.optim import adamw, learning_rate
from tests.unit.train.corpus import Files, make_files, tiny_config


def train(config: Config, files: Files, out: Path, state: Path, seed: int = 1) -> dict[str, torch.Tensor]:
    loop.run(
        config,
        arm="cocu",
        seed=seed,
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
loop.run(tiny_config().arm("cocu"), arm="cocu", seed=1, corpus=root / "manifest.json", captions=root / "captions",
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
    assert not list(state.glob("*/state*"))


def test_training_lowers_the_loss_and_another_seed_or_rate_gives_other_weights(tmp_path: Path) -> None:
    files = make_files(tmp_path)
    first = train(tiny_config(steps=30), files, tmp_path / "a" / "1", tmp_path / "a_state")
    lines = metrics(tmp_path / "a_state")
    total = [line["info_nce"] + line["multi_label"] for line in lines]
    assert sum(total[-5:]) < sum(total[:5])
    other = train(tiny_config(steps=30, lr=2e-3), files, tmp_path / "b" / "1", tmp_path / "a_state")
    assert not torch.equal(first["logit_scale"], other["logit_scale"])
    assert len(list((tmp_path / "a_state").iterdir())) == 2  # each has a state folder of its own


@pytest.mark.parametrize("part", ["shards", "captions", "vocabulary", "archive", "seed", "model", "train"])
def test_whatever_decides_the_weights_is_in_the_key_of_the_state(tmp_path: Path, part: str) -> None:
    files, config, seed = make_files(tmp_path), tiny_config(steps=1).arm("cocu"), 1
    before = loop.inputs(files.corpus, files.captions, files.archive)
    train(config, files, tmp_path / "out" / "1", tmp_path / "state")
    changed = {
        "shards": files.corpus,
        "captions": side_car(files.captions, "toy/00001"),
        "vocabulary": files.captions / "vocabulary.txt",
        "archive": side_car(files.archive, "toy/00001"),
    }
    if part in ("seed", "model", "train"):
        seed = 1 + (part == "seed")
        update = {"model": {"temperature": 0.2}, "train": {"weight_decay": 0.2}}.get(part, {})
        config = config.model_copy(update={part: getattr(config, part).model_copy(update=update)} if update else {})
    elif part == "shards":
        manifest = json.loads(files.corpus.read_text())
        manifest["shards"][1]["sha256"] = "another"
        write_json(files.corpus, manifest)
    elif part == "vocabulary":
        write_text(changed[part], "dog\ncat\ngravel\n")
        write_json(files.archive / "manifest.json", {"vocabulary_sha256": file_sha256(changed[part])})
    else:  # the same rows, other bytes
        pq.write_table(pq.read_table(changed[part]), changed[part], compression="none")
    after = loop.inputs(files.corpus, files.captions, files.archive)
    assert {name for name in before if before[name] != after[name]} == {part} & before.keys()
    train(config, files, tmp_path / "out" / "1", tmp_path / "state", seed)
    assert len(list((tmp_path / "state").iterdir())) == 2


def test_the_model_says_what_it_was_made_from(tmp_path: Path) -> None:
    files, config = make_files(tmp_path), tiny_config(steps=2, weight_decay=0.3).arm("cocu")
    train(config, files, tmp_path / "checkpoints" / "cocu" / "7", tmp_path / "state", 7)
    said = json.loads((tmp_path / "checkpoints" / "cocu" / "7" / "model.json").read_text())
    assert (said["arm"], said["seed"], said["steps"], said["pairs"]) == ("cocu", 7, 2, 24)
    assert said["train"]["weight_decay"] == 0.3 and said["train"]["prompts"]["source"] == "archive"
    assert said["model"] == config.model.model_dump(mode="json")
    made_from = {"seed": 7, **loop.inputs(files.corpus, files.captions, files.archive)}
    assert said["stamp"] == stamp("train", config, made_from)
    assert said["stamp"]["inputs"]["vocabulary"] == file_sha256(files.captions / "vocabulary.txt")
    assert said["card"]["stage"] == "train" and torch.__version__.startswith(said["card"]["versions"]["torch"])


@pytest.mark.parametrize("steps", [1, 3], ids=["in the last step", "before a checkpoint"])
def test_weights_that_are_not_finite_are_never_kept(tmp_path: Path, steps: int) -> None:
    files = make_files(tmp_path)
    config = tiny_config(steps=steps, lr=1e38, lr_warmup=1e38, checkpoint_every=1, warmup_fraction=0.0)
    out = tmp_path / "out" / "1"
    with pytest.raises(
        NumericsError, match=r"After step 1, \d+ of the model's \d+ tensors are not finite, the first is "
    ):
        train(config, files, out, tmp_path / "state")
    assert not (out / "model.json").exists() and not (out / "model.safetensors").exists()
    assert not list((tmp_path / "state").rglob("state*.pt"))


def test_epochs_count_where_steps_do_not(tmp_path: Path) -> None:
    files = make_files(tmp_path)
    train(tiny_config(steps=0, epochs=2, batch_size=7), files, tmp_path / "out" / "1", tmp_path / "state")
    assert [line["step"] for line in metrics(tmp_path / "state")] == [1, 2, 3, 4, 5, 6]  # 24 pairs: 3 batches an epoch


def test_metrics_are_written_every_so_many_steps_and_at_the_end(tmp_path: Path) -> None:
    files = make_files(tmp_path)
    train(tiny_config(steps=7, log_every=3), files, tmp_path / "out" / "1", tmp_path / "state")
    assert [line["step"] for line in metrics(tmp_path / "state")] == [3, 6, 7]


def make_val(config: Config, images: int, out: Path) -> Path:
    world = Corpus(mini=MiniWorld(image_size=32, val_images=images))
    benchmarks.run(config.model_copy(update={"corpus": world}), split="val", out=out)
    return out


@pytest.mark.parametrize(("images", "steps", "curve"), [(4, 5, [2, 4, 5]), (203, 2, [2])])
def test_the_curve_is_over_two_hundred_images_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: int, steps: int, curve: list[int]
) -> None:
    files, config = make_files(tmp_path), tiny_config(steps=steps, validate_every=2)
    val = make_val(config, images, tmp_path / "val")
    looked: list[int] = []
    confusion = score.confusion

    def counted(*arguments: Any) -> Any:
        looked.append(len(arguments))
        return confusion(*arguments)

    monkeypatch.setattr(score, "confusion", counted)
    where = {"corpus": files.corpus, "captions": files.captions, "archive": None, "val": val}
    loop.run(config, arm="cocu", seed=1, **where, out=tmp_path / "out" / "1", state=tmp_path / "state")
    lines = (tmp_path / "out" / "1" / "curve.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", *map(str, curve)]
    assert len(looked) == len(curve) * min(images, 200)


def test_a_resumed_run_goes_on_with_batches_and_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, config = make_files(tmp_path), tiny_config(steps=6, validate_every=2, checkpoint_every=4)
    where = {"corpus": files.corpus, "captions": files.captions, "archive": None}
    where["val"] = make_val(config, 4, tmp_path / "val")
    append, results = loop.append_metrics, []

    def stop(folder: Path, line: dict[str, Any]) -> None:
        if line["step"] == 5:
            raise KeyboardInterrupt
        append(folder, line)

    for name in ("whole", "stopped"):
        out, state = tmp_path / name / "1", tmp_path / f"{name}_state"
        if name == "stopped":
            monkeypatch.setattr(loop, "append_metrics", stop)
            with pytest.raises(KeyboardInterrupt):
                loop.run(config, arm="cocu", seed=1, **where, out=out, state=state)
            monkeypatch.undo()
        loop.run(config, arm="cocu", seed=1, **where, out=out, state=state)
        results.append([(out / file).read_bytes() for file in ("curve.csv", "model.safetensors")])
    assert results[0] == results[1] and results[0][0].count(b"\n") == 4


def test_infonce_that_stays_at_chance_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    def said(loss: float, batch_size: int = 64, steps: int = 1000) -> str:
        watch = loop.ChanceWatch(batch_size, steps)
        for step in range(1, steps + 1):
            watch.see(step, 9.9 if step <= 60 else loss)  # what begins badly may learn
        return capsys.readouterr().err

    chance = math.log(64)
    assert said(0.97 * chance) == ""
    assert (
        said(0.99 * chance).count("Warning: after 200 steps InfoNCE is 4.117, and chance is 4.159 with 64 pairs") == 1
    )
    assert said(0.99 * chance, batch_size=128) == ""
    assert said(0.99 * chance, steps=40) == ""  # too few to say


def test_learning_rate_by_hand() -> None:
    train = tiny_config(lr=1.0, lr_warmup=0.0, lr_min=0.2, warmup_fraction=0.2).train
    rates = [learning_rate(step, 10, train) for step in (0, 1, 2, 6, 10)]
    assert rates == pytest.approx([0.0, 0.5, 1.0, 0.6, 0.2])


def test_weight_decay_spares_norms_biases_positions_tokens_and_the_temperature() -> None:
    model = GroupViT(tiny_config().model)
    decayed, free = adamw(model, tiny_config(weight_decay=0.3).train).param_groups
    names = {id(p): n for n, p in model.named_parameters()}
    spared = {names[id(p)] for p in free["params"]}
    matrices = {"logit_scale", "image.positions", "text.positions", "text.tokens.weight", "image.stages.0.group_tokens"}
    assert spared == matrices | {n for n, p in model.named_parameters() if p.ndim == 1}
    assert {names[id(p)] for p in decayed["params"]} == set(names.values()) - spared
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.3, 0.0)
