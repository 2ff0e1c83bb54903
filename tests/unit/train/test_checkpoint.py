"""The training state: bit for bit, two of them, and only damage is taken for damage."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from cocu.device import CPU
from cocu.errors import DataError, NumericsError
from cocu.model.groupvit import GroupViT
from cocu.train import checkpoint
from cocu.train.checkpoint import EARLIER, METRICS, STATE, Progress, append_metrics, locked, restore, save
from cocu.train.optim import adamw
from tests.unit.train.corpus import tiny_config

Pair = tuple[GroupViT, torch.optim.Optimizer]


def fresh(seed: int = 0, **model: Any) -> Pair:
    config = tiny_config()
    torch.manual_seed(seed)
    made = GroupViT(config.model.model_copy(update=model))
    return made, adamw(made, config.train)


def moved(pair: Pair) -> None:
    """A step of the optimiser with random gradients."""
    for parameter in pair[0].parameters():
        parameter.grad = torch.randn_like(parameter)
    pair[1].step()


def two_states(folder: Path) -> tuple[Pair, Pair]:
    """What was saved at steps 4 and 8."""
    pairs = fresh(1), fresh(2)
    for pair, step in zip(pairs, (4, 8), strict=True):
        moved(pair)
        save(folder, *pair, Progress(step, ((step, 10.0 + step),)))
    return pairs


def same(one: Pair, other: Pair) -> bool:
    models = zip(one[0].state_dict().values(), other[0].state_dict().values(), strict=True)
    states = [o.state_dict()["state"].values() for _, o in (one, other)]
    moments = zip(*([v for s in state for v in s.values()] for state in states), strict=True)
    return all(torch.equal(a, b) for pairs in (models, moments) for a, b in pairs)


def test_the_last_state_comes_back_whole_with_the_random_numbers_that_follow(tmp_path: Path) -> None:
    assert restore(tmp_path, *fresh(), CPU) == Progress()
    _, latest = two_states(tmp_path)
    expected = torch.rand(3)
    loaded = fresh()
    assert restore(tmp_path, *loaded, CPU) == Progress(8, ((8, 18.0),))
    assert torch.equal(torch.rand(3), expected)
    assert same(loaded, latest)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def hide_code(path: Path) -> None:
    torch.save({"model": Path("/")}, path)


@pytest.mark.parametrize("damage", [flip, cut, empty, hide_code])
def test_a_damaged_state_is_put_aside_and_the_earlier_one_serves(
    tmp_path: Path, damage: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier, _ = two_states(tmp_path)
    damage(tmp_path / STATE)
    content, loaded = (tmp_path / STATE).read_bytes(), fresh()
    assert restore(tmp_path, *loaded, CPU) == Progress(4, ((4, 14.0),))
    assert same(loaded, earlier)
    assert (tmp_path / "state.damaged").read_bytes() == content
    said = capsys.readouterr().err
    assert f"{tmp_path / STATE} is damaged" in said and f"Resuming at step 4 from {tmp_path / EARLIER}" in said


def test_without_a_whole_state_training_starts_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two_states(tmp_path)
    cut(tmp_path / STATE), cut(tmp_path / EARLIER)
    assert restore(tmp_path, *fresh(), CPU) == Progress()
    assert capsys.readouterr().err.count("is damaged") == 2


def test_a_kill_between_the_two_renames_leaves_the_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = fresh(1), fresh(2)
    save(tmp_path, *pairs[0], Progress(4))
    replace, done = os.replace, []

    def killed(source: Any, target: Any) -> None:
        if done:
            raise KeyboardInterrupt
        replace(source, target)
        done.append(target)

    monkeypatch.setattr(os, "replace", killed)
    monkeypatch.setattr(Path, "replace", lambda self, target: killed(self, target))
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, *pairs[1], Progress(8))
    monkeypatch.undo()
    assert [path.name for path in done] == [EARLIER]
    loaded = fresh()
    assert restore(tmp_path, *loaded, CPU) == Progress(4) and same(loaded, pairs[0])


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory"),
        OSError(116, "Stale file handle"),
        MemoryError(),
    ],
)
@pytest.mark.parametrize("where", ["reading", "loading"])
def test_an_error_that_is_no_damage_leaves_both_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, where: str
) -> None:
    two_states(tmp_path)
    contents = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(
        torch if where == "reading" else GroupViT, "load" if where == "reading" else "load_state_dict", fail
    )
    with pytest.raises(type(error)) as caught:
        restore(tmp_path, *fresh(), CPU)
    assert caught.value is error
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == contents


def test_a_state_of_another_model_is_refused_with_the_shapes(tmp_path: Path) -> None:
    two_states(tmp_path)
    with pytest.raises(DataError, match=r"(?s)is of another model \(.*size mismatch for image\.positions"):
        restore(tmp_path, *fresh(image_size=64), CPU)
    assert (tmp_path / STATE).exists()


def test_a_state_says_nothing_of_the_number_of_devices(tmp_path: Path) -> None:
    two_states(tmp_path)
    state = torch.load(tmp_path / STATE, weights_only=True)
    assert state["device_rng"] is None  # of the one device that trains: none beside the CPU here
    state["device_rng"] = torch.zeros(16, dtype=torch.uint8)  # saved on a GPU, restored where there is none
    torch.save(state, tmp_path / STATE)
    assert restore(tmp_path, *fresh(), CPU).step == 8


@pytest.mark.parametrize("name", ["logit_scale", "image.stem.1.running_var"], ids=["weight", "buffer"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_saved(tmp_path: Path, name: str, value: float) -> None:
    pair = fresh()
    save(tmp_path, *pair, Progress(4))
    before = (tmp_path / STATE).read_bytes()
    with torch.no_grad():
        pair[0].state_dict()[name].fill_(value)
    with pytest.raises(NumericsError, match=rf"After step 8, 1 of the model's \d+ tensors .* the first is {name}\."):
        save(tmp_path, *pair, Progress(8))
    assert (tmp_path / STATE).read_bytes() == before and not (tmp_path / EARLIER).exists()


def test_metrics_of_steps_that_run_again_are_dropped(tmp_path: Path) -> None:
    two_states(tmp_path)
    for step in (7, 8, 9, 10):
        append_metrics(tmp_path, {"step": step})
    with (tmp_path / METRICS).open("a") as stream:
        stream.write('{"step": 1')
    restore(tmp_path, *fresh(), CPU)
    assert (tmp_path / METRICS).read_text() == '{"step": 7}\n{"step": 8}\n'


def test_a_second_process_on_the_same_state_is_refused(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(DataError, match="Another process is training"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_no_code_is_run_by_reading_a_state(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "trap",)

    torch.save({"model": Trap()}, tmp_path / STATE, pickle_module=pickle)
    assert checkpoint.restore(tmp_path, *fresh(), CPU) == Progress()
    assert not (tmp_path / "trap").exists()
