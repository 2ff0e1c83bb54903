from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from cocu import stamp
from cocu.concepts import captions
from cocu.config import Config
from cocu.curate import archive
from cocu.curate.inspect import stats
from cocu.device import CPU
from cocu.errors import ConfigError, DataError, NumericsError
from cocu.io import file_sha256, read_json, write_json
from cocu.layout import MANIFEST, block, rows, side_car, vectors_manifest
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
    written = folders.curation.words.read_text().split()
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
        Part(shard, None, indptr[a : b + 1] - indptr[a], ids[indptr[a] : indptr[b]], world.images[a:b].astype("f2"))
        for shard, a, b in (("tiny/0", 0, 50), ("tiny/1", 50, 120))
    ]
    engine = make_engine([part.embeddings for part in parts], settings.search, CPU, 1)
    pool = archive.make_pool(parts, names, world.vocabulary, engine, settings)
    near = engine.search(world.images, None)[1]
    found = archive.archives(pool, world.images, np.arange(120), near, settings)
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
    written = own.curation.words.read_text().split()
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
    found = folders.archive.rglob("*.parquet")
    return {p.relative_to(folders.archive).with_suffix("").as_posix(): p.read_bytes() for p in found}


def test_the_same_input_gives_the_same_bytes_in_any_order_of_shards(tmp_path: Path) -> None:
    config = make_config(search={"neighbours": 2})  # of three equal images in three shards, two are taken
    first = archive_bytes(curated(tmp_path / "a", config, list(SHARDS)))
    assert sorted(first) == list(SHARDS)
    assert archive_bytes(curated(tmp_path / "b", config, list(SHARDS))) == first
    assert archive_bytes(curated(tmp_path / "c", config, list(SHARDS)[::-1])) == first


def test_the_manifest_names_its_inputs(folders: Folders) -> None:
    described = read_json(folders.archive / MANIFEST)
    assert described["pool"] == {"corpus": "tiny", "images": 120}
    made_from = described["stamp"]
    assert (made_from["settings"]["curate.search"]["neighbours"], described["search"]) == (8, {"index": "exact"})
    assert described["vocabulary_sha256"] == file_sha256(folders.curation.words)
    expected = [(shard, n, file_sha256(side_car(folders.archive, shard))) for shard, n in SHARDS.items()]
    assert [(s["shard"], s["rows"], s["sha256"]) for s in described["shards"]] == expected
    assert described["counts"]["images"] == 120


@pytest.mark.parametrize("part", ["captions", "embeddings", "vocabulary", "pool"])
def test_the_manifest_s_stamp_follows_its_inputs(folders: Folders, part: str) -> None:
    before, config = read_json(folders.archive / MANIFEST)["stamp"], make_config()
    folders.curate(config)
    assert read_json(folders.archive / MANIFEST)["stamp"] == before
    if part == "captions":  # the same rows, other bytes
        path = side_car(folders.captions, "tiny/00001")
        pq.write_table(pq.read_table(path), path, compression="none")
        described = read_json(folders.captions / MANIFEST)
        described["shards"][1]["sha256"] = file_sha256(path)
        write_json(folders.captions / MANIFEST, described)
    elif part == "embeddings":
        rewrite(folders, "tiny/00001", lambda vectors: vectors[::-1])
    elif part == "vocabulary":
        path = folders.curation.vectors
        np.save(path, np.load(path)[::-1])
        described = read_json(vectors_manifest(path))
        write_json(vectors_manifest(path), described | {"sha256": file_sha256(path)})
    else:
        shutil.copytree(folders.root, folders.root / "copy", ignore=shutil.ignore_patterns("copy"))
        config = make_config(pool=str(folders.root / "copy"))
    folders.curate(config)
    assert read_json(folders.archive / MANIFEST)["stamp"] != before


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
    assert read_json(folders.archive / MANIFEST)["counts"]["images_without_concepts"] >= 100


def spoil_nan(folders: Folders) -> None:
    rewrite(folders, "tiny/00001", lambda vectors: vectors.__setitem__((7, 2), np.nan))


def spoil_zero(folders: Folders) -> None:
    rewrite(folders, "tiny/00001", lambda vectors: vectors.__setitem__(7, 0))


def rewrite(folders: Folders, shard: str, change: Callable[[np.ndarray], object]) -> None:
    """Change a shard's embeddings and let their manifest say so."""
    path = rows(folders.embeddings, shard)
    vectors = np.load(path)
    replaced = change(vectors)
    np.save(path, vectors if replaced is None else replaced)
    described = read_json(folders.embeddings / MANIFEST)
    for one in described["shards"]:
        if one["shard"] == shard:
            one["sha256"] = file_sha256(path)
    write_json(folders.embeddings / MANIFEST, described)


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
    rewrite(folders, "tiny/00001", lambda vectors: vectors.__setitem__(7, vectors[7].astype(np.float32) * length))
    with pytest.raises(NumericsError, match=rf"'tiny/00001/0000057' has the length {length}"):
        folders.curate(make_config())


def test_a_concept_that_is_no_unit_vector_is_named(folders: Folders) -> None:
    path = folders.curation.vectors
    vectors, described = np.load(path), vectors_manifest(path)
    vectors[4] *= 1.02
    np.save(path, vectors)
    write_json(described, read_json(described) | {"sha256": file_sha256(path)})
    name = folders.curation.words.read_text().split()[4]
    with pytest.raises(NumericsError, match=rf"vocabulary\.npy: the embedding of '{name}' has the length 1\.02"):
        folders.curate(make_config())


def test_missing_rows_and_other_widths(folders: Folders) -> None:
    rewrite(folders, "tiny/00002", lambda vectors: vectors[:-1])
    with pytest.raises(NumericsError, match=r"shape \(29, 24\), and shard tiny/00002 has 30 captions"):
        folders.curate(make_config())


def test_vocabulary_of_another_length_or_width(folders: Folders) -> None:
    path = folders.curation.vectors
    vectors, described = np.load(path), vectors_manifest(path)
    for wrong in (vectors[1:], vectors[:, 1:]):
        np.save(path, wrong)
        with pytest.raises(DataError, match=r"vocabulary\.npy was not made from .*, or has changed since"):
            folders.curate(make_config())
        write_json(described, read_json(described) | {"sha256": file_sha256(path)})
        with pytest.raises(NumericsError, match=r"vocabulary\.npy has the shape"):
            folders.curate(make_config())


def test_a_vocabulary_embedded_for_other_captions_is_refused(folders: Folders) -> None:
    made = vectors_manifest(folders.curation.vectors)
    write_json(made, read_json(made) | {"vocabulary_sha256": "0" * 64})
    with pytest.raises(DataError, match=r"vocabulary\.npy was not made from"):
        folders.curate(make_config())


def remade(folders: Folders, config: Config) -> set[str]:
    """The shards whose archives another run makes again; whatever it finds kept is linked, not written."""
    made: set[str] = set()
    write = archive._write

    def watched(*arguments: Any) -> dict[str, Any]:
        made.add(arguments[3]["shard"])
        return write(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "_write", watched)
        folders.curate(config)
    return made


def test_a_finished_shard_is_kept_and_a_damaged_one_is_made_again(folders: Folders) -> None:
    before = archive_bytes(folders)
    kept = folders.store.folder / "tiny/00001.parquet"
    kept.unlink()
    kept.write_bytes(b"cut")  # not what was kept
    (folders.archive / "tiny/00002.parquet").unlink()
    (folders.archive / "tiny/99999.parquet").write_bytes(b"of an earlier corpus")
    (folders.store.folder / "tiny/99999.parquet").write_bytes(b"of an earlier corpus")
    assert remade(folders, make_config()) == {"tiny/00001"}
    assert archive_bytes(folders) == before
    assert not (folders.store.folder / "tiny/99999.parquet").exists()


def test_archives_that_are_deleted_come_back_without_a_search(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = archive_bytes(folders)
    shutil.rmtree(folders.archive)  # as Snakemake does before a job
    monkeypatch.setattr(archive, "make_engine", None)
    folders.curate(make_config())
    assert archive_bytes(folders) == before


def test_other_settings_make_every_shard_again(folders: Folders) -> None:
    assert remade(folders, make_config(threads=2)) == set()  # a setting that decides no number
    alone = {"search": {"exclude_self": False}}
    for settings in ({"search": {"neighbours": 3}}, alone, alone | {"compat": "released"}):
        assert remade(folders, make_config(**settings)) == set(SHARDS)
        assert remade(folders, make_config(**settings)) == set()


def test_other_code_makes_every_shard_again(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamp, "code_fingerprint", lambda module: f"another {module}")
    assert remade(folders, make_config()) == set(SHARDS)


def test_another_shards_embeddings_make_every_shard_again(folders: Folders) -> None:
    rewrite(folders, "tiny/00002", lambda vectors: vectors[::-1])
    assert remade(folders, make_config()) == set(SHARDS)


def test_outside_the_pool_its_own_embeddings_make_a_shard_again(tmp_path: Path) -> None:
    pool = curated(tmp_path / "pool", make_config(), list(SHARDS))
    config = make_config(pool=str(pool.root))
    own = curated(tmp_path / "own", config, list(SHARDS))
    before = read_json(own.archive / MANIFEST)["stamp"]
    rewrite(own, "tiny/00001", lambda vectors: vectors[::-1])
    assert remade(own, config) == {"tiny/00001"}
    assert read_json(own.archive / MANIFEST)["stamp"] != before
    rewrite(pool, "tiny/00001", lambda vectors: vectors[::-1])
    assert remade(own, config) == set(SHARDS)


def test_a_pool_that_equals_the_corpus_is_another_pool_all_the_same(tmp_path: Path) -> None:
    """An image is not among its own neighbours, and is among those of its copy."""
    copy = curated(tmp_path / "copy", make_config(), list(SHARDS))
    own = curated(tmp_path / "own", make_config(), list(SHARDS))
    assert archive_bytes(own) == archive_bytes(copy)
    assert remade(own, make_config(pool=str(copy.root))) == set(SHARDS)
    assert archive_bytes(own) != archive_bytes(copy)


def files(folder: Path) -> dict[str, bytes]:
    """All files of a folder but the blocks' manifests, and its manifest without the card."""
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    described = {key: value for key, value in read_json(folder / MANIFEST).items() if key != "card"}
    others = {name: content for name, content in found.items() if not name.startswith("blocks/")}
    return others | {MANIFEST: json.dumps(described).encode()}


def test_blocks_are_jobs_and_joined_they_are_the_whole(tmp_path: Path) -> None:
    config = make_config(shards_per_job=2)
    whole = curated(tmp_path / "whole", config, list(SHARDS))
    parts = curated(tmp_path / "parts", config, list(SHARDS))
    shutil.rmtree(parts.archive), shutil.rmtree(parts.store.folder)
    (parts.archive / "tiny").mkdir(parents=True)
    (parts.archive / "tiny/99999.parquet").write_bytes(b"of an earlier corpus")
    parts.curate(config, 1)
    assert sorted(archive_bytes(parts)) == ["tiny/00002", "tiny/99999"]
    with pytest.raises(DataError, match=r"Cannot read .*blocks/0\.json"):
        archive.join_blocks(config, corpus=parts.corpus, curation=parts.curation)
    parts.curate(config, 0)
    assert not (parts.archive / MANIFEST).exists()
    archive.join_blocks(config, corpus=parts.corpus, curation=parts.curation)
    assert files(parts.archive) == files(whole.archive)
    assert remade(parts, config) == set()
    for number in (2, -1):
        with pytest.raises(ConfigError, match=f"has no block {number} of 2 shards"):
            parts.curate(config, number)


def test_blocks_of_other_shards_are_refused(tmp_path: Path) -> None:
    config = make_config(shards_per_job=2)
    folders = curated(tmp_path, config, list(SHARDS))
    for number in (0, 1):
        folders.curate(config, number)
    first = block(folders.archive, 0)
    described = read_json(first)
    for entries in (described["entries"][:1], described["entries"][::-1]):
        write_json(first, described | {"entries": entries})
        with pytest.raises(DataError, match="are not of the shards of"):
            archive.join_blocks(config, corpus=folders.corpus, curation=folders.curation)
    write_json(first, described | {"pool": "another"})
    with pytest.raises(DataError, match="were drawn from another pool"):
        archive.join_blocks(config, corpus=folders.corpus, curation=folders.curation)
    write_json(first, described)
    archive.join_blocks(config, corpus=folders.corpus, curation=folders.curation)
    changed = read_json(folders.corpus)
    changed["shards"][0]["sha256"] = "0" * 64
    write_json(folders.corpus, changed)
    with pytest.raises(DataError, match="shard tiny/00000 differs"):
        archive.join_blocks(config, corpus=folders.corpus, curation=folders.curation)


@pytest.mark.parametrize("aside", list(SHARDS))
def test_a_shard_that_is_set_aside_has_an_empty_archive(tmp_path: Path, aside: str) -> None:
    config = make_config()
    folders = curated(tmp_path, config, list(SHARDS), aside=(aside,))
    assert pq.read_table(side_car(folders.archive, aside)).num_rows == 0
    described = read_json(folders.archive / MANIFEST)
    assert {s["shard"]: s["rows"] for s in described["shards"]} == {**SHARDS, aside: 0}
    left = 120 - SHARDS[aside]
    assert described["counts"]["images"] == left == len(read_archive(folders.archive, folders.captions))
    assert described["search"] == {"index": "exact"}
    assert stats(folders.archive, folders.captions)["pairs"] == left
    without = Folders(tmp_path / "without")
    shutil.copytree(folders.root, without.root, ignore=shutil.ignore_patterns("without", "archive", "state"))
    for manifest in (without.corpus, without.captions / MANIFEST, without.embeddings / MANIFEST):
        value = read_json(manifest)
        write_json(manifest, value | {"shards": [s for s in value["shards"] if s["shard"] != aside]})
    without.curate(config)
    here = archive_bytes(folders)
    assert archive_bytes(without) == {name: content for name, content in here.items() if name != aside}


def test_the_released_counting_gives_another_archive(tmp_path: Path, folders: Folders) -> None:
    paper = read_archive(folders.archive, folders.captions)
    folders.curate(make_config(compat="released", search={"exclude_self": False}))
    released = read_archive(folders.archive, folders.captions)
    assert len(released.concepts) != len(paper.concepts)


def test_shards_of_different_widths(folders: Folders) -> None:
    rewrite(folders, "tiny/00002", lambda rows: plain.unit(rows[:, 1:].astype(np.float32)).astype(np.float16))
    with pytest.raises(NumericsError, match="24 dimensions and the images in 23"):
        folders.curate(make_config())


def test_rows_of_other_samples(folders: Folders) -> None:
    value = read_json(folders.embeddings / MANIFEST)
    value["shards"][2]["keys_sha256"] = "0" * 64
    write_json(folders.embeddings / MANIFEST, value)
    with pytest.raises(NumericsError, match="their keys differ"):
        curate_anew(folders)


def curate_anew(folders: Folders) -> None:
    """Without what was kept."""
    shutil.rmtree(folders.store.folder)
    folders.curate(make_config())


def test_embeddings_that_changed_after_their_manifest(folders: Folders) -> None:
    path = rows(folders.embeddings, "tiny/00000")
    np.save(path, np.load(path)[::-1])
    with pytest.raises(DataError, match=r"00000\.npy is not the file that its manifest describes"):
        folders.curate(make_config())


def test_embeddings_that_are_not_there(folders: Folders) -> None:
    value = read_json(folders.embeddings / MANIFEST)
    write_json(folders.embeddings / MANIFEST, value | {"shards": value["shards"][:2]})
    with pytest.raises(DataError, match="does not name the shard tiny/00002"):
        folders.curate(make_config())
    (folders.embeddings / MANIFEST).unlink()
    with pytest.raises(DataError, match=r"Cannot read .*embeddings/manifest\.json"):
        folders.curate(make_config())


def test_captions_of_another_corpus(folders: Folders) -> None:
    value = read_json(folders.corpus)
    value["shards"][1]["sha256"] = "0" * 64
    write_json(folders.corpus, value)
    with pytest.raises(DataError, match="shard tiny/00001 differs"):
        folders.curate(make_config())


def test_captions_of_a_corpus_of_another_name(folders: Folders) -> None:
    value = read_json(folders.corpus)
    write_json(folders.corpus, value | {"corpus": "huge"})
    with pytest.raises(DataError, match="were not made from the shards of"):
        folders.curate(make_config())


def test_a_vocabulary_that_changed_after_its_manifest(folders: Folders) -> None:
    path = folders.curation.words
    words = path.read_text().split()
    path.write_text("".join(f"{word}\n" for word in [words[1], words[0], *words[2:]]))
    with pytest.raises(DataError, match=r"vocabulary\.txt has changed since its manifest"):
        folders.curate(make_config())


def test_captions_that_changed_after_their_manifest(folders: Folders) -> None:
    (folders.captions / "tiny/00001.parquet").write_bytes((folders.captions / "tiny/00000.parquet").read_bytes())
    with pytest.raises(DataError, match=r"00001\.parquet has changed"):
        folders.curate(make_config())


def test_more_neighbours_than_images(folders: Folders) -> None:
    before = archive_bytes(folders)
    with pytest.raises(DataError, match="120 neighbours"):
        folders.curate(make_config(search={"neighbours": 120}))
    assert archive_bytes(folders) == before


def test_an_archive_of_other_keys_is_refused(folders: Folders) -> None:
    other = folders.archive / "tiny/00001.parquet"
    other.unlink()  # a link of what is kept
    other.write_bytes((folders.archive / "tiny/00000.parquet").read_bytes())
    with pytest.raises(DataError, match=r"00001\.parquet is not the archive"):
        read_archive(folders.archive, folders.captions)
    other.write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"Cannot read .*00001\.parquet"):
        read_archive(folders.archive, folders.captions)


def test_an_archive_of_a_larger_vocabulary_is_refused(folders: Folders) -> None:
    described, largest = read_json(folders.captions / MANIFEST), 29
    assert int(read_archive(folders.archive, folders.captions).concepts.max()) == largest
    for size in (5, largest):
        described["vocabulary"]["concepts"] = size
        write_json(folders.captions / MANIFEST, described)
        with pytest.raises(DataError, match=f"holds concept {largest}, .* ends at {size - 1}"):
            read_archive(folders.archive, folders.captions)


def test_rows_of_the_archive_are_sorted(folders: Folders) -> None:
    table = read_table(folders.archive / "tiny/00000.parquet", ["concepts", "scores"])
    for concepts, scores in zip(table["concepts"].to_pylist(), table["scores"].to_pylist(), strict=True):
        assert list(zip(scores, concepts, strict=True)) == sorted(
            zip(scores, concepts, strict=True), key=lambda pair: (-pair[0], pair[1])
        )
