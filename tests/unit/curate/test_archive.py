from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cocu.concepts import captions
from cocu.config import Config
from cocu.curate import archive
from cocu.device import CPU
from cocu.errors import ConfigError, DataError, NumericsError
from cocu.io import file_sha256, read_json, write_json
from cocu.pairs.tables import read_archive, read_table
from cocu.search import pool as pool_module
from cocu.search.engine import make_engine
from cocu.search.pool import Part
from tests.unit.curate import plain
from tests.unit.curate.conftest import NAMES, SHARDS, Folders, curated, make_config


@pytest.mark.parametrize("exclude_self", [True, False])
def test_equals_the_plain_loop(tmp_path: Path, exclude_self: bool) -> None:
    config = make_config(search={"neighbours": 5, "exclude_self": exclude_self})
    folders = curated(tmp_path, config, list(SHARDS))
    world = plain.make_world()
    # ids are by count, so the oracle's ties (concepts 3 and 7 are equal) are put in the order of the written ids
    written = (folders.captions / "vocabulary.txt").read_text().split()
    number = {NAMES.index(name): c for c, name in enumerate(written)}
    world = plain.World(
        world.images,
        world.vocabulary[[NAMES.index(name) for name in written]],
        [[number[c] for c in caption] for caption in world.captions],
    )
    found = read_archive(folders.archive, folders.captions)
    assert len(found) == len(world.images)
    sizes = set()
    for i in range(len(found)):
        concepts, scores, clusters = found.row(i)
        expected = plain.ranking(world, i, plain.neighbours(world, i, 5, exclude_self))
        assert concepts.tolist() == [c for c, _ in expected], i
        np.testing.assert_allclose(scores, [s for _, s in expected], rtol=0, atol=2e-6)
        n = len(concepts)
        assert len(set(clusters.tolist())) == ((n + 1) // 2 if n > 2 else min(n, 1))
        sizes.add(n)
    assert {1, 2} & sizes and max(sizes) > 5


def test_the_released_counting_equals_its_plain_loop() -> None:
    world = plain.make_world()
    words = ["man", "woman", "car", "carpet", "pet", "scar"]
    names = [words[c] if c < 6 else f"{words[c % 6]} {c}" for c in range(30)]
    settings = make_config(compat="released", search={"neighbours": 6, "exclude_self": False}).curate
    indptr, ids = world.csr()
    parts = [
        Part(stem, None, indptr[a : b + 1] - indptr[a], ids[indptr[a] : indptr[b]], world.images[a:b].astype("f2"))
        for stem, a, b in (("0", 0, 50), ("1", 50, 120))
    ]
    engine = make_engine([part.embeddings for part in parts], settings.search, CPU, 1)
    pool = archive.make_pool(parts, names, world.vocabulary, engine, settings)
    found = archive.curate(pool, world.images, np.arange(120), settings)
    for i in range(120):
        expected = plain.released(world, names, i, plain.neighbours(world, i, 6, False))
        concepts, scores, _ = found.row(i)
        assert concepts.tolist() == [c for c, _ in expected], i
        np.testing.assert_allclose(scores, [s for _, s in expected], rtol=1e-5, atol=2e-6)


def test_anchors_outside_the_pool_are_none_of_its_images(tmp_path: Path) -> None:
    """Another corpus whose shards have the pool's names; each of its images is one of the pool's, slightly moved."""
    pool = curated(tmp_path / "pool", make_config(), list(SHARDS))
    world, rng = plain.make_world(), np.random.default_rng(6)
    moved = plain.unit(world.images[::-1] + 0.05 * rng.normal(size=world.images.shape)).astype(np.float16)
    config, own = make_config(pool=str(pool.root), search={"neighbours": 5}), Folders(tmp_path / "own")
    own.write_corpus(["a picture"] * 119 + [NAMES[0]], list(SHARDS))
    captions.run(config, corpus=own.corpus, out=own.captions)
    own.write_embeddings(plain.World(moved, world.vocabulary, world.captions))
    own.curate(config)
    written = (own.captions / "vocabulary.txt").read_text().split()
    both = plain.World(
        np.concatenate([world.images, moved.astype(np.float32)]),
        world.vocabulary[[NAMES.index(name) for name in written]],
        [sorted(written.index(NAMES[c]) for c in caption) for caption in world.captions] + [[]] * 120,
    )
    found = read_archive(own.archive, own.captions)
    for i in range(120):
        near = plain.neighbours(both, 120 + i, 5, False, 120)
        assert near[0] == 119 - i or 119 - i in (11, 60, 110)  # these equal image 10
        expected = plain.ranking(both, 120 + i, near)
        concepts, scores, _ = found.row(i)
        assert concepts.tolist() == [c for c, _ in expected], i
        np.testing.assert_allclose(scores, [s for _, s in expected], rtol=0, atol=2e-6)


def archive_bytes(folders: Folders) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folders.archive.glob("*.parquet")}


def test_the_same_input_gives_the_same_bytes_in_any_order_of_shards(tmp_path: Path) -> None:
    config = make_config(search={"neighbours": 2})  # of three equal images in three shards, two are taken
    first = archive_bytes(curated(tmp_path / "a", config, list(SHARDS)))
    assert sorted(first) == [f"{stem}.parquet" for stem in SHARDS]
    assert archive_bytes(curated(tmp_path / "b", config, list(SHARDS))) == first
    assert archive_bytes(curated(tmp_path / "c", config, list(SHARDS)[::-1])) == first


def test_the_manifest_names_its_inputs(folders: Folders) -> None:
    described = read_json(folders.archive / "manifest.json")
    assert described["pool"] == {"corpus": "tiny", "images": 120}
    assert (described["settings"]["search"]["neighbours"], described["search"]) == (8, {"index": "exact"})
    assert described["inputs"]["embeddings"]["00002"] == file_sha256(folders.embeddings / "00002.npy")
    assert described["inputs"]["captions"]["00001"] == file_sha256(folders.captions / "00001.parquet")
    assert described["counts"]["images"] == 120


def test_images_whose_neighbours_have_no_concept_have_empty_rows(tmp_path: Path) -> None:
    folders, world = Folders(tmp_path), plain.make_world()
    folders.write_corpus([NAMES[0]] + ["nothing here"] * 119, list(SHARDS))
    (tmp_path / "words.txt").write_text(f"{NAMES[0]}\n")
    config = make_config(vocabulary={"file": str(tmp_path / "words.txt")}, search={"neighbours": 1})
    captions.run(config, corpus=folders.corpus, out=folders.captions)
    folders.write_embeddings(world)
    folders.curate(config)
    near = [plain.neighbours(world, i, 1, True) for i in range(120)]
    found = read_archive(folders.archive, folders.captions)
    assert np.diff(found.indptr).tolist() == [int(n == [0]) for n in near]
    assert read_json(folders.archive / "manifest.json")["counts"]["images_without_concepts"] >= 100


def spoil_nan(folders: Folders) -> None:
    rewrite(folders, "00001", lambda rows: rows.__setitem__((7, 2), np.nan))


def spoil_zero(folders: Folders) -> None:
    rewrite(folders, "00001", lambda rows: rows.__setitem__(7, 0))


def rewrite(folders: Folders, stem: str, change: Callable[[np.ndarray], object]) -> None:
    """Change a shard's embeddings and let its block manifest say so."""
    path = folders.embeddings / f"{stem}.npy"
    rows = np.load(path)
    replaced = change(rows)
    np.save(path, rows if replaced is None else replaced)
    for block in folders.embeddings.glob("*.json"):
        value = read_json(block)
        for shard in value["shards"]:
            if shard["stem"] == stem:
                shard["sha256"] = file_sha256(path)
        write_json(block, value)


@pytest.mark.parametrize("spoil", [spoil_nan, spoil_zero])
def test_bad_vectors_name_the_sample(folders: Folders, spoil: Callable[[Folders], None]) -> None:
    spoil(folders)
    with pytest.raises(NumericsError, match=r"00001\.npy.*'tiny/00001/0000057'"):
        folders.curate(make_config())


def test_the_sample_is_named_in_whichever_block_of_rows(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "CHECK_ROWS", 4)
    test_bad_vectors_name_the_sample(folders, spoil_nan)


@pytest.mark.parametrize("length", [1.02, 0.98])
def test_rows_that_are_no_unit_vectors_are_refused(folders: Folders, length: float) -> None:
    rewrite(folders, "00001", lambda rows: rows.__setitem__(7, rows[7].astype(np.float32) * length))
    with pytest.raises(NumericsError, match=rf"'tiny/00001/0000057' has the length {length}"):
        folders.curate(make_config())


def test_a_concept_that_is_no_unit_vector_is_named(folders: Folders) -> None:
    path = folders.embeddings / "vocabulary.npy"
    rows = np.load(path)
    rows[4] *= 1.02
    np.save(path, rows)
    write_json(path.with_suffix(".made"), read_json(path.with_suffix(".made")) | {"sha256": file_sha256(path)})
    name = (folders.captions / "vocabulary.txt").read_text().split()[4]
    with pytest.raises(NumericsError, match=rf"vocabulary\.npy: the embedding of '{name}' has the length 1\.02"):
        folders.curate(make_config())


def test_missing_rows_and_other_widths(folders: Folders) -> None:
    rewrite(folders, "00002", lambda rows: rows[:-1])
    with pytest.raises(NumericsError, match=r"00002\.npy has the shape \(29, 24\), and shard 00002 has 30 captions"):
        folders.curate(make_config())


def test_vocabulary_of_another_length_or_width(folders: Folders) -> None:
    path = folders.embeddings / "vocabulary.npy"
    rows = np.load(path)
    for wrong in (rows[1:], rows[:, 1:]):
        np.save(path, wrong)
        with pytest.raises(DataError, match=r"vocabulary\.npy was not made from .*, or has changed since"):
            folders.curate(make_config())
        made = read_json(path.with_suffix(".made"))
        write_json(path.with_suffix(".made"), made | {"sha256": file_sha256(path)})
        with pytest.raises(NumericsError, match=r"vocabulary\.npy has the shape"):
            folders.curate(make_config())


def test_a_vocabulary_embedded_for_other_captions_is_refused(folders: Folders) -> None:
    made = folders.embeddings / "vocabulary.made"
    write_json(made, read_json(made) | {"vocabulary_sha256": "0" * 64})
    with pytest.raises(DataError, match=r"vocabulary\.npy was not made from"):
        folders.curate(make_config())


def test_a_finished_shard_is_kept_and_a_damaged_one_is_made_again(folders: Folders) -> None:
    files = {path: path.stat().st_mtime_ns for path in folders.archive.glob("*.parquet")}
    before = archive_bytes(folders)
    (folders.archive / "00001.parquet").write_bytes(b"cut")  # not what its .made describes
    (folders.archive / "99999.parquet").write_bytes(b"of an earlier corpus")
    folders.curate(make_config())
    kept = {path.stem for path, time in files.items() if path.stat().st_mtime_ns == time}
    assert kept == {"00000", "00002"}
    assert not (folders.archive / "99999.parquet").exists()
    assert archive_bytes(folders) == before


def remade(folders: Folders, config: Config) -> set[str]:
    """The shards whose archives another run writes again."""
    files = {path: path.stat().st_mtime_ns for path in folders.archive.glob("*.parquet")}
    folders.curate(config)
    return {path.stem for path, time in files.items() if path.stat().st_mtime_ns != time}


def test_other_settings_make_every_shard_again(folders: Folders) -> None:
    assert remade(folders, make_config(threads=2)) == set()  # a setting that decides no number
    alone = {"search": {"exclude_self": False}}
    for settings in ({"search": {"neighbours": 3}}, alone, alone | {"compat": "released"}):
        assert remade(folders, make_config(**settings)) == set(SHARDS)
        assert remade(folders, make_config(**settings)) == set()


def test_other_code_makes_every_shard_again(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "code_fingerprint", lambda module: f"another {module}")
    assert remade(folders, make_config()) == set(SHARDS)


def test_another_shards_embeddings_make_every_shard_again(folders: Folders) -> None:
    rewrite(folders, "00002", lambda rows: rows[::-1])
    assert remade(folders, make_config()) == set(SHARDS)


def test_outside_the_pool_its_own_embeddings_make_a_shard_again(tmp_path: Path) -> None:
    pool = curated(tmp_path / "pool", make_config(), list(SHARDS))
    config = make_config(pool=str(pool.root))
    own = curated(tmp_path / "own", config, list(SHARDS))
    rewrite(own, "00001", lambda rows: rows[::-1])
    assert remade(own, config) == {"00001"}
    rewrite(pool, "00001", lambda rows: rows[::-1])
    assert remade(own, config) == set(SHARDS)


def test_blocks_are_jobs_and_the_whole_takes_them_over(tmp_path: Path) -> None:
    config = make_config(shards_per_job=2)
    whole = curated(tmp_path / "whole", config, list(SHARDS))
    blocks = curated(tmp_path / "blocks", config, list(SHARDS))
    shutil.rmtree(blocks.archive)
    for block in (1, 0):
        archive.run(
            config, corpus=blocks.corpus, captions=blocks.captions, embeddings=blocks.embeddings,
            out=blocks.archive, block=block,
        )  # fmt: skip
    assert not (blocks.archive / "manifest.json").exists()
    made = {path: path.stat().st_mtime_ns for path in blocks.archive.glob("*.parquet")}
    blocks.curate(config)
    assert made == {path: path.stat().st_mtime_ns for path in blocks.archive.glob("*.parquet")}
    for path in whole.archive.glob("*.parquet"):
        assert path.read_bytes() == (blocks.archive / path.name).read_bytes()
    with pytest.raises(ConfigError, match="has no block 2"):
        archive.run(
            config, corpus=blocks.corpus, captions=blocks.captions, embeddings=blocks.embeddings,
            out=blocks.archive, block=2,
        )  # fmt: skip


def test_the_released_counting_gives_another_archive(tmp_path: Path, folders: Folders) -> None:
    paper = read_archive(folders.archive, folders.captions)
    folders.curate(make_config(compat="released", search={"exclude_self": False}))
    released = read_archive(folders.archive, folders.captions)
    assert len(released.concepts) != len(paper.concepts)


def test_shards_of_different_widths(folders: Folders) -> None:
    rewrite(folders, "00002", lambda rows: plain.unit(rows[:, 1:].astype(np.float32)).astype(np.float16))
    with pytest.raises(NumericsError, match="24 dimensions and the images in 23"):
        folders.curate(make_config())


def test_rows_of_other_samples(folders: Folders) -> None:
    value = read_json(folders.embeddings / "1.json")
    value["shards"][0]["keys_sha256"] = "0" * 64
    write_json(folders.embeddings / "1.json", value)
    with pytest.raises(NumericsError, match="their keys differ"):
        folders.curate(make_config())


def test_embeddings_that_changed_after_their_manifest(folders: Folders) -> None:
    path = folders.embeddings / "00000.npy"
    np.save(path, np.load(path)[::-1])
    with pytest.raises(DataError, match=r"00000\.npy is not the file that its block manifest describes"):
        folders.curate(make_config())


def test_embeddings_that_are_not_there(folders: Folders) -> None:
    (folders.embeddings / "1.json").unlink()
    with pytest.raises(DataError, match="names shard 00002"):
        folders.curate(make_config())


def test_blocks_that_contradict_each_other(folders: Folders) -> None:
    value = read_json(folders.embeddings / "0.json")
    value["shards"][0]["sha256"] = "0" * 64
    write_json(folders.embeddings / "7.json", value | {"block": 7})
    with pytest.raises(DataError, match="both describe shard 00000, differently"):
        folders.curate(make_config())


def test_captions_of_another_corpus(folders: Folders) -> None:
    value = read_json(folders.corpus / "manifest.json")
    value["shards"][1]["sha256"] = "0" * 64
    write_json(folders.corpus / "manifest.json", value)
    with pytest.raises(DataError, match="shard 00001 differs"):
        folders.curate(make_config())


def test_captions_of_a_corpus_of_another_name(folders: Folders) -> None:
    value = read_json(folders.corpus / "manifest.json")
    write_json(folders.corpus / "manifest.json", value | {"corpus": "huge"})
    with pytest.raises(DataError, match="were not made from the shards of"):
        folders.curate(make_config())


def test_a_vocabulary_that_changed_after_its_manifest(folders: Folders) -> None:
    path = folders.captions / "vocabulary.txt"
    words = path.read_text().split()
    path.write_text("".join(f"{word}\n" for word in [words[1], words[0], *words[2:]]))
    with pytest.raises(DataError, match=r"vocabulary\.txt has changed since its manifest"):
        folders.curate(make_config())


def test_captions_that_changed_after_their_manifest(folders: Folders) -> None:
    (folders.captions / "00001.parquet").write_bytes((folders.captions / "00000.parquet").read_bytes())
    with pytest.raises(DataError, match=r"00001\.parquet has changed"):
        folders.curate(make_config())


def test_more_neighbours_than_images(folders: Folders) -> None:
    before = archive_bytes(folders)
    with pytest.raises(DataError, match="120 neighbours"):
        folders.curate(make_config(search={"neighbours": 120}))
    assert archive_bytes(folders) == before


def test_an_archive_of_other_keys_is_refused(folders: Folders) -> None:
    (folders.archive / "00001.parquet").write_bytes((folders.archive / "00000.parquet").read_bytes())
    with pytest.raises(DataError, match=r"00001\.parquet is not the archive"):
        read_archive(folders.archive, folders.captions)
    (folders.archive / "00001.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"Cannot read .*00001\.parquet"):
        read_archive(folders.archive, folders.captions)


def test_an_archive_of_a_larger_vocabulary_is_refused(folders: Folders) -> None:
    described, largest = read_json(folders.captions / "manifest.json"), 29
    assert int(read_archive(folders.archive, folders.captions).concepts.max()) == largest
    for size in (5, largest):
        described["vocabulary"]["concepts"] = size
        write_json(folders.captions / "manifest.json", described)
        with pytest.raises(DataError, match=f"holds concept {largest}, .* ends at {size - 1}"):
            read_archive(folders.archive, folders.captions)


def test_rows_of_the_archive_are_sorted(folders: Folders) -> None:
    table = read_table(folders.archive / "00000.parquet", ["concepts", "scores"])
    for concepts, scores in zip(table["concepts"].to_pylist(), table["scores"].to_pylist(), strict=True):
        assert list(zip(scores, concepts, strict=True)) == sorted(
            zip(scores, concepts, strict=True), key=lambda pair: (-pair[0], pair[1])
        )
