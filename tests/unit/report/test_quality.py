"""Two images by hand. Truth: dog, cat and sky in the first, sky and brick wall in the second; `photo` is no name."""

import json
from pathlib import Path

import numpy as np
import pytest

from cocu.config import Config
from cocu.corpus.truth import Truth, write_truth
from cocu.curate.tables import CAPTIONS, Archive, keys_sha256, write_archive, write_table
from cocu.errors import DataError
from cocu.report.quality import join_truth, measure, measure_sources, run

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
    result = measure_sources(truth, CAPTION, ARCHIVE, count=2, temperature=1.0, seed=0)
    top = {
        "precision": 2 / 3,
        "recall": 2 / 5,
        "recall_missing": 1 / 3,
        "concepts": 1.5,
    }  # dog, brick wall | brick wall
    assert result["sources"]["top"] == pytest.approx(top)
    assert result["sources"]["uniform"]["concepts"] == 1.5  # two different ones, and the one that there is
    assert result["sources"]["cluster"]["concepts"] in (1.0, 1.5)
    assert (result["archive_size"], result["mentioned"]) == (2.0, 2 / 5)


def _write(folder: Path, truth_keys: tuple[str, ...]) -> dict[str, Path]:
    keys = ("train1/00000/0000000", "train1/00000/0000001")
    paths = {"truth": folder / "train1", "captions": folder / "captions", "archive": folder / "archive"}
    masks = np.zeros((2, 4, 4), np.uint8)
    write_truth(paths["truth"] / "00000.npz", Truth(truth_keys or keys, masks, NAMES, VISIBLE))
    concepts = [[1, 0], [3]]
    rows = {"key": list(keys), "caption": ["a photo of a dog", "the sky"], "concepts": concepts}
    write_table(paths["captions"] / "00000.parquet", CAPTIONS, rows)
    (paths["captions"] / "vocabulary.txt").write_text("".join(f"{c}\n" for c in VOCABULARY))
    shards = [{"stem": "00000", "keys_sha256": keys_sha256(keys)}]
    manifest = {"vocabulary": {"concepts": len(VOCABULARY)}, "shards": shards}
    (paths["captions"] / "manifest.json").write_text(json.dumps(manifest))
    write_archive(paths["archive"] / "00000.parquet", list(keys), ARCHIVE)
    return paths


def test_run_joins_the_files(config: Config, tmp_path: Path) -> None:
    run(config, **_write(tmp_path, ()), out=tmp_path / "quality.json")
    result = json.loads((tmp_path / "quality.json").read_text())
    assert (result["corpus"], result["pairs"]) == ("train1", 2)
    assert result["sources"]["caption"]["precision"] == pytest.approx(2 / 3)
    assert result["sources"]["archive"]["recall_missing"] == pytest.approx(2 / 3)
    assert result["sources"]["top"]["concepts"] == 1.5  # the treatment draws two


def test_other_pairs_are_refused(config: Config, tmp_path: Path) -> None:
    paths = _write(tmp_path, ("train2/00000/0000000", "train2/00000/0000001"))
    with pytest.raises(DataError, match=r"00000\.parquet holds other pairs than"):
        run(config, **paths, out=tmp_path / "quality.json")
    assert not (tmp_path / "quality.json").exists()
