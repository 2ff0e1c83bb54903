"""Two images by hand, and many alike whose draws have known shares.

Truth of the two: dog, cat and sky in the first, sky and brick wall in the second; `photo` is no name.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from cocu.config import Config, validate
from cocu.errors import DataError
from cocu.mini import quality
from cocu.mini.quality import join_truth, measure, measure_sources, run
from cocu.mini.truth import Truth, write_truth
from cocu.pairs.tables import CAPTIONS, Archive, keys_sha256, write_archive, write_table
from cocu.sections import Prompts
from tests.unit.report.conftest import two_arms

NAMES = ("dog", "cat", "sky", "brick wall")
VOCABULARY = ["photo", "dog", "brick wall", "sky"]  # no cat: it cannot be recalled, and counts
VISIBLE = np.array([[1, 1, 1, 0], [0, 0, 1, 1]], dtype=bool)
CAPTION = (np.array([0, 2, 3]), np.array([1, 0, 3]))  # dog, photo | sky
ARCHIVE = Archive(  # dog, brick wall, sky | brick wall
    np.array([0, 3, 4]),
    np.array([1, 2, 3, 2], np.uint16),
    np.array([2.0, 1.5, 1.0, 1.0], np.float32),
    np.array([0, 1, 1, 0], np.uint16),
)


@pytest.fixture
def config() -> Config:
    """Two arms, of which the treatment draws two concepts."""
    return two_arms()


def test_caption_by_hand() -> None:
    truth = join_truth(VISIBLE, NAMES, VOCABULARY, CAPTION)
    expected = {"precision": 2 / 3, "recall": 2 / 5, "recall_missing": 0.0, "concepts": 1.5}
    assert measure(truth, CAPTION) == pytest.approx(expected)


def test_archive_by_hand() -> None:
    """Right: dog, sky, brick wall, of four given; missing: cat and sky, brick wall, of which two are found."""
    truth = join_truth(VISIBLE, NAMES, VOCABULARY, CAPTION)
    expected = {"precision": 3 / 4, "recall": 3 / 5, "recall_missing": 2 / 3, "concepts": 2.0}
    assert measure(truth, (ARCHIVE.indptr, ARCHIVE.concepts)) == pytest.approx(expected)


def test_repeats_and_empty_draws_count_nothing() -> None:
    truth = join_truth(VISIBLE, NAMES, VOCABULARY, CAPTION)
    drawn = (np.array([0, 3, 6]), np.array([1, 1, 1, -1, -1, -1]))
    expected = {"precision": 1.0, "recall": 1 / 5, "recall_missing": 0.0, "concepts": 0.5}
    assert measure(truth, drawn) == pytest.approx(expected)


def test_draws_come_from_the_archive() -> None:
    truth = join_truth(VISIBLE, NAMES, VOCABULARY, CAPTION)
    result = measure_sources(truth, CAPTION, ARCHIVE, Prompts(count=2), seed=0)
    top = {
        "precision": 2 / 3,
        "recall": 2 / 5,
        "recall_missing": 1 / 3,
        "concepts": 1.5,
    }  # dog, brick wall | brick wall
    assert result["sources"]["top"] == pytest.approx(top)
    assert list(result["sources"]) == ["caption", "archive", "uniform", "softmax", "top", "cluster"]
    assert {result["sources"][s]["concepts"] for s in ("uniform", "softmax", "cluster")} <= {1.0, 1.5}
    assert (result["archive_size"], result["mentioned"]) == (2.0, 2 / 5)


# Of each of many pairs the archive holds one concept that is right and two that are wrong, in a cluster of their own.
# At temperature 1/2 the scores' softmax gives them 6, 3 and 1 in ten; at 1, the roots of these.
SHARES = np.array([6.0, 3.0, 1.0])
MANY = 6000


def many(prompts: Prompts, seed: int = 0) -> dict[str, dict[str, float]]:
    visible = np.tile(np.array([[True, False, False, True]]), (MANY, 1))  # the last is not in the vocabulary
    nothing = (np.zeros(MANY + 1, np.int64), np.zeros(0, np.int64))
    names = ("right", "wrong", "odd", "unheard of")
    scores = np.tile(np.log(SHARES) / 2, MANY).astype(np.float32)
    archive = Archive(
        3 * np.arange(MANY + 1),
        np.tile(np.arange(3), MANY).astype(np.uint16),
        scores,
        np.tile(np.array([0, 1, 1]), MANY).astype(np.uint16),
    )
    truth = join_truth(visible, names, names[:3], nothing)
    sources: dict[str, dict[str, float]] = measure_sources(truth, nothing, archive, prompts, seed=seed)["sources"]
    return sources


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_a_draw_has_the_treatment_s_temperature(temperature: float) -> None:
    weights = SHARES ** (0.5 / temperature)
    wrong = np.sqrt(weights[1] * weights[2])  # a cluster's score is the mean of its concepts'
    expected = {
        "uniform": 1 / 3,
        "softmax": weights[0] / weights.sum(),
        "top": 1.0,
        "cluster": weights[0] / (weights[0] + wrong),
    }
    found = many(Prompts(count=1, temperature=temperature))
    assert {s: found[s]["precision"] for s in expected} == pytest.approx(expected, abs=0.025)
    assert {s: found[s]["recall"] for s in expected} == pytest.approx({s: p / 2 for s, p in expected.items()}, abs=0.02)


def test_a_draw_has_the_treatment_s_replacement_and_count() -> None:
    """Two draws differ with a chance of 1 - sum(p²): 2/3 for equal shares, 0.54 for 6, 3 and 1 in ten."""
    first = 6 / (6 + np.sqrt(3))
    p = np.array([first, 0.75 * (1 - first), 0.25 * (1 - first)])
    expected = {"uniform": 1 + 2 / 3, "softmax": 1.54, "top": 2.0, "cluster": 2 - (p**2).sum()}
    found = many(Prompts(count=2, temperature=0.5, replacement=True))
    assert {s: found[s]["concepts"] for s in expected} == pytest.approx(expected, abs=0.03)
    found = many(Prompts(count=2, temperature=0.5, replacement=False))
    assert {found[s]["concepts"] for s in expected} == {2.0}
    assert {many(Prompts(count=3, replacement=False))[s]["concepts"] for s in expected} == {3.0}


def test_draws_follow_the_seed() -> None:
    one, same, other = (many(Prompts(count=1), seed)["cluster"]["precision"] for seed in (0, 0, 1))
    assert one == same != other


def _write(folder: Path, truth_keys: tuple[str, ...]) -> dict[str, Path]:
    keys = ("train1/00000/0000000", "train1/00000/0000001")
    paths = {"truth": folder / "truth", "captions": folder / "captions", "archive": folder / "archive"}
    masks = np.zeros((2, 4, 4), np.uint8)
    write_truth(paths["truth"] / "train1/00000.npz", Truth(truth_keys or keys, masks, NAMES, VISIBLE))
    concepts = [[1, 0], [3]]
    rows = {"key": list(keys), "caption": ["a photo of a dog", "the sky"], "concepts": concepts}
    write_table(paths["captions"] / "train1/00000.parquet", CAPTIONS, rows)
    (paths["captions"] / "vocabulary.txt").write_text("".join(f"{c}\n" for c in VOCABULARY))
    shards = [{"shard": "train1/00000", "keys_sha256": keys_sha256(keys)}]
    manifest = {"vocabulary": {"concepts": len(VOCABULARY)}, "shards": shards}
    (paths["captions"] / "manifest.json").write_text(json.dumps(manifest))
    write_archive(paths["archive"] / "train1/00000.parquet", list(keys), ARCHIVE)
    return paths


def test_run_joins_the_files(config: Config, tmp_path: Path) -> None:
    run(config, corpus="train1", **_write(tmp_path, ()), out=tmp_path / "quality.json")
    result = json.loads((tmp_path / "quality.json").read_text())
    assert (result["corpus"], result["pairs"]) == ("train1", 2)
    assert result["sources"]["caption"]["precision"] == pytest.approx(2 / 3)
    assert result["sources"]["archive"]["recall_missing"] == pytest.approx(2 / 3)
    assert result["sources"]["top"]["concepts"] == 1.5  # the treatment draws two


def test_other_pairs_are_refused(config: Config, tmp_path: Path) -> None:
    paths = _write(tmp_path, ("train2/00000/0000000", "train2/00000/0000001"))
    with pytest.raises(DataError, match=r"train1/00000\.parquet holds other pairs than"):
        run(config, corpus="train1", **paths, out=tmp_path / "quality.json")
    assert not (tmp_path / "quality.json").exists()


def test_the_draws_are_the_treatment_s(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def record(*arguments: object, seed: int) -> dict[str, object]:
        asked.append((arguments[-1], seed))
        return {}

    monkeypatch.setattr(quality, "measure_sources", record)
    prompts = {"source": "archive", "sampling": "top", "count": 5, "temperature": 0.3, "replacement": False}
    config = validate(
        config.model_dump() | {"arms": {"groupvit": {}, "cocu": {"train": {"prompts": prompts}}}, "report": {"seed": 7}}
    )
    run(config, corpus="train1", **_write(tmp_path, ()), out=tmp_path / "quality.json")
    assert asked == [(Prompts.model_validate(prompts), 7)]
