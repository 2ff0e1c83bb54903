"""What Snakemake would run: after which change, for which configuration, and what it says about a wrong one.

No stage runs: a finished experiment is faked with empty files, whose fingerprints `--touch` records.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cocu.io import write_text
from tests.workflow.conftest import Checkout, make_checkout, parse_stats

SMOKE = ("--configfile", "config/smoke.yaml")
ARCHIVED = 1  # arms of the smoke experiment whose prompts come from the archive
ARMS, SEEDS, BENCHMARKS = 3, 2, 2
OTHERS = ARMS - 1  # than the treatment, whose job has a row more
SHARDS = 2  # of a seed's corpus
PAPER = ("--configfile", "config/paper.yaml")
REPORTS = {"tables": 1, "figures": 1, "panel": 1}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    checkout = make_checkout(tmp_path_factory.mktemp("dag"))
    finish(checkout, *SMOKE)
    return checkout


def finish(checkout: Checkout, *files: str) -> None:
    """Empty files in place of all outputs."""
    for line in checkout.snakemake("--summary", *files).splitlines():
        if line.startswith("results/"):
            file = checkout.root / line.split("\t")[0]
            if "/benchmarks/" in file.as_posix():
                file.mkdir(parents=True, exist_ok=True)
            else:
                write_text(file, "")
    checkout.snakemake("--touch", "--forceall", "--cores", "1", *files)


@pytest.fixture
def done(finished: Checkout) -> Iterator[Checkout]:
    """The finished experiment; what a test changes in its code and configuration is put back."""
    files = [p for part in ("cocu", "config", "workflow") for p in (finished.root / part).rglob("*") if p.is_file()]
    before = {file: (file.read_bytes(), file.stat()) for file in files if "__pycache__" not in file.parts}
    yield finished
    for file, (content, stat) in before.items():
        if file.read_bytes() != content:
            file.write_bytes(content)
            os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def overlay(checkout: Checkout, data: object) -> tuple[str, ...]:
    """Arguments that lay `data` over the smoke experiment."""
    (checkout.root / "config/over.yaml").write_text(yaml.safe_dump(data))
    return (*SMOKE, "config/over.yaml")


def test_a_finished_experiment_has_nothing_to_do(done: Checkout) -> None:
    assert done.planned(*SMOKE) == {}


def test_documents_run_nothing(done: Checkout) -> None:
    (done.root / "README.md").write_text("Changed.")
    done.append("workflow/report/main.rst", "\nChanged.\n")
    done.append("config/config.yaml", "# Changed.\n")
    assert done.planned(*SMOKE) == {}


def test_an_edit_in_curation_runs_curation_and_what_follows(done: Checkout) -> None:
    done.append("cocu/curate/rank.py", "\nCHANGED = 1\n")
    assert done.planned(*SMOKE) == {
        "archive": SEEDS,
        "quality": SEEDS,
        "train": ARCHIVED * SEEDS,
        "evaluate_treatment": ARCHIVED * SEEDS,
        **REPORTS,
    }


def test_an_edit_of_the_matcher_runs_all_of_curation_but_no_corpus_and_no_clip(done: Checkout) -> None:
    done.append("cocu/concepts/matcher.py", "\nCHANGED = 1\n")
    planned = done.planned(*SMOKE)
    assert planned["captions"] == planned["embed_vocabulary"] == planned["archive"] == SEEDS
    assert planned["train"] == ARMS * SEEDS
    assert not {"corpus", "web", "benchmarks", "clip", "embed", "embed_0"} & set(planned)


def test_an_edit_of_the_tables_runs_the_reports_alone(done: Checkout) -> None:
    done.append("cocu/report/tables.py", "\nCHANGED = 1\n")
    assert done.planned(*SMOKE) == REPORTS


def test_a_seed_more_runs_that_seed_and_the_comparison(done: Checkout) -> None:
    assert done.planned(*overlay(done, {"seeds": [0, 1, 2]})) == {
        "corpus": 1,
        "captions": 1,
        "embed_0": 1,
        "embed_1": 1,
        "embed": 1,
        "embed_vocabulary": 1,
        "archive": 1,
        "oracle": 1,
        "quality": 1,
        "train": ARMS,
        "evaluate": OTHERS,
        "evaluate_treatment": 1,
        "tables": 1,
        "figures": 1,
    }


def test_archives_of_many_shards_are_made_block_by_block(done: Checkout) -> None:
    planned = done.planned(*overlay(done, {"curate": {"shards_per_job": 1}}))
    assert [planned[f"archive_{block}"] for block in range(SHARDS)] == [SEEDS] * SHARDS
    assert not {"captions", "embed", "archive_2"} & set(planned)


def test_an_arm_that_curates_adds_its_archives_and_embeds_nothing(done: Checkout) -> None:
    four = {"curate": {"search": {"neighbours": 4}}, "train": {"prompts": {"source": "archive"}}}
    over = {"run_arms": ["groupvit", "cocu", "oracle", "four"], "arms": {"four": four}}
    alone = {"train": SEEDS, "evaluate": SEEDS, "tables": 1, "figures": 1}
    assert done.planned(*overlay(done, over)) == {"archive": SEEDS, **alone}
    twice = {**over, "run_arms": [*over["run_arms"], "same"], "arms": {"four": four, "same": four}}
    assert done.planned(*overlay(done, twice))["archive"] == SEEDS
    words = {"curate": {"vocabulary": {"min_count": 4}}}
    planned = done.planned(*overlay(done, {**over, "arms": {"four": words}}))  # of captions' nouns: no archive
    assert planned == {"captions": SEEDS, **alone}


@pytest.mark.parametrize(
    "over",
    [
        {"train": {"workers": 2, "threads": 2, "log_every": 7, "checkpoint_every": 7}},
        {"clip": {"threads": 2}, "curate": {"threads": 2}, "evaluate": {"threads": 2}},
    ],
)
def test_how_jobs_run_decides_nothing(done: Checkout, over: dict[str, object]) -> None:
    assert done.planned(*overlay(done, over)) == {}


def test_a_docstring_runs_nothing_and_a_line_of_the_search_the_archives(done: Checkout) -> None:
    file = done.root / "cocu/search/exact.py"
    file.write_text(file.read_text().replace('"""', '"""Said otherwise. ', 1) + "\n# a comment\n")
    done.append("cocu/train/step.py", "\n# a comment\n")
    assert done.planned(*SMOKE) == {}
    done.append("cocu/search/exact.py", "\nCHANGED = 1\n")
    planned = done.planned(*SMOKE)
    assert (planned["archive"], planned["train"]) == (SEEDS, ARCHIVED * SEEDS)
    assert not {"captions", "embed", "corpus"} & set(planned)


def test_a_learning_rate_runs_training_and_what_follows(done: Checkout) -> None:
    assert done.planned(*overlay(done, {"train": {"lr": 0.5}})) == {
        "train": ARMS * SEEDS,
        "evaluate": OTHERS * SEEDS,
        "evaluate_treatment": SEEDS,
        **REPORTS,
    }


def test_an_override_runs_its_arm_alone(done: Checkout) -> None:
    over = {"arms": {"oracle": {"train": {"lr": 0.5}}}}
    assert done.planned(*overlay(done, over)) == {
        "train": SEEDS,
        "evaluate": SEEDS,
        "tables": 1,
        "figures": 1,
    }


def test_a_new_arm_runs_alone(done: Checkout) -> None:
    over = {
        "run_arms": ["groupvit", "cocu", "oracle", "uniform"],
        "arms": {"uniform": {"train": {"prompts": {"source": "archive", "sampling": "uniform"}}}},
    }
    assert done.planned(*overlay(done, over)) == {
        "train": SEEDS,
        "evaluate": SEEDS,
        "tables": 1,
        "figures": 1,
    }


def test_a_reference_more_is_evaluated_alone(done: Checkout) -> None:
    over = {"references": {"published": {"hf": "nvidia/groupvit-gcc-yfcc"}, "other": {"checkpoint": "config"}}}
    for name in ("model.safetensors", "model.json"):
        (done.root / "config" / name).touch()
    assert done.planned(*overlay(done, over)) == {
        "import_checkpoint": 1,
        "evaluate": 2,
        "tables": 1,
        "figures": 1,
    }


def test_more_test_images_run_the_evaluation_but_no_training(done: Checkout) -> None:
    assert done.planned(*overlay(done, {"corpus": {"mini": {"test_images": 17}}})) == {
        "benchmarks": 1,
        "evaluate": OTHERS * SEEDS + 1,  # and the reference
        "evaluate_treatment": SEEDS,
        **REPORTS,
    }


def test_another_protocol_runs_that_benchmark_alone(done: Checkout) -> None:
    file = done.root / "cocu/benchmarks/shipped/mini_voc.yaml"
    file.write_text(file.read_text().replace("stride: 24", "stride: 48"))
    # a job of all benchmarks is run again, and takes the others' results from where it kept them
    assert done.planned(*SMOKE) == {"evaluate": OTHERS * SEEDS + 1, "evaluate_treatment": SEEDS, **REPORTS}


def test_a_benchmark_can_be_a_job_of_its_own(done: Checkout) -> None:
    each = {"evaluate": {"job": "benchmark"}}
    file = done.root / "cocu/benchmarks/shipped/mini_voc.yaml"
    file.write_text(file.read_text().replace("stride: 24", "stride: 48"))
    said = done.snakemake("-n", *overlay(done, each), "--forcerun", "evaluate", "evaluate_treatment")
    assert parse_stats(said)["evaluate"] == (OTHERS * SEEDS + 1) * BENCHMARKS
    assert parse_stats(said)["evaluate_treatment"] == SEEDS * BENCHMARKS


@pytest.mark.parametrize(
    ("name", "blocks", "arms"),
    [("cc3m", 11, 3), ("full", 95, 3)],  # 332 shards, and 3,027 of three data sets; 32 a job
)
def test_the_dag_is_visible_without_the_data(done: Checkout, name: str, blocks: int, arms: int) -> None:
    assert done.planned(*PAPER, f"config/{name}.yaml") == {
        "corpus": 1,
        "captions": 1,
        **{f"embed_{block}": 1 for block in range(blocks)},
        "embed": 1,
        "embed_vocabulary": 1,
        **{f"archive_{block}": 1 for block in range(blocks)},
        "archive": 1,
        "train": arms * 3,
        "evaluate": ((arms - 1) * 3 + 3) * 8,
        "evaluate_treatment": 3 * 8,
        "import_checkpoint": 2,  # the published ones; CLIP is the third
        **REPORTS,
    }


def reserved(checkout: Checkout, *arguments: str) -> dict[str, int]:
    """The rules whose jobs ask for GPUs, and how many; a file that includes the Snakefile reads them from its rules."""
    lines = (
        'include: "Snakefile"\nfor r in workflow.rules:\n    print("GPUS", r.name, r.resources.get("gpu").value or 0)\n'
    )
    (checkout.root / "gpus.smk").write_text(lines)
    said = checkout.snakemake("-n", "--snakefile", "gpus.smk", *arguments)
    counts = {line.split()[1]: int(line.split()[2]) for line in said.splitlines() if line.startswith("GPUS ")}
    assert {"corpus", "embed", "train", "evaluate", "panel"} <= set(counts)
    return {rule: count for rule, count in counts.items() if count}


def test_a_job_asks_for_the_gpus_that_it_uses(done: Checkout) -> None:
    """The stand-in CLIP and what it embeds stay on the CPU, as does the panel."""
    trained = {"train": 1, "evaluate": 1, "evaluate_treatment": 1}
    searched = {"archive": 1}
    assert reserved(done, *SMOKE) == trained | searched
    over = {"curate": {"search": {"index": "lists"}}, "evaluate": {"processes": 4}}
    assert reserved(done, *overlay(done, over)) == trained | {"evaluate": 4, "evaluate_treatment": 4}
    # where blocks make embeddings and archive, the last job only lists them
    blocks = {f"{stage}_{block}": 1 for stage in ("embed", "archive") for block in range(11)}
    assert reserved(done, *PAPER, "config/cc3m.yaml") == trained | blocks | {"embed_vocabulary": 1}


@pytest.mark.parametrize("files", [SMOKE, (*PAPER, "config/cc3m.yaml")])
def test_on_the_cpu_no_job_asks_for_a_gpu(done: Checkout, files: tuple[str, ...]) -> None:
    (done.root / "config/over.yaml").write_text("device: cpu\nevaluate: {processes: 2}\n")
    assert reserved(done, *files, "config/over.yaml") == {}


def test_without_the_data_the_corpus_says_what_is_missing(checkout: Checkout) -> None:
    said = checkout.snakemake("--cores", "1", *PAPER, "config/cc3m.yaml", code=1)
    assert "cocu: 332 of 332 shards of corpus.sets are missing" in said


def test_a_wrong_key_is_a_sentence(done: Checkout) -> None:
    said = done.snakemake("-n", *overlay(done, {"train": {"lrr": 1}}), code=1)
    assert "Unknown key train.lrr; did you mean 'lr'? Correct or remove it." in said
    assert "Traceback" not in said


def test_what_does_not_fit_is_refused_by_a_dry_run(done: Checkout) -> None:
    over = {"arms": {"cocu": {"model": {"heads": 5}}, "oracle": {"train": {"prompts": {"temperature": 0.5}}}}}
    said = done.snakemake("-n", *overlay(done, over), code=1)
    assert "arm 'cocu': model.width 128 is not a multiple of model.heads 5: change one of them." in said
    assert "arm 'oracle': train.prompts.temperature is 0.5 and has no effect, since" in said
    assert "Traceback" not in said


def test_what_only_making_it_shows_is_refused_before_the_first_job(checkout: Checkout) -> None:
    over = {"arms": {"cocu": {"train": {"augment": {"rand_augment": "rand-n16-tweights"}}}}}
    said = checkout.snakemake("--cores", "1", *overlay(checkout, over), code=1)
    assert "arm 'cocu' cannot be trained with its train.augment (Cannot take a larger sample than" in said
    assert "Traceback" not in said
    assert not (checkout.root / "results").exists()


def test_a_key_given_twice_is_refused(done: Checkout) -> None:
    (done.root / "config/over.yaml").write_text("seeds: [0]\nseeds: [1]\n")
    assert "key 'seeds' is given twice" in done.snakemake("-n", *SMOKE, "config/over.yaml", code=1)


def test_names_that_are_held_out_run_the_captions_when_their_file_changes(done: Checkout) -> None:
    (done.root / "held.smk").write_text('include: "Snakefile"\nprint("HELD", rules.captions.params.held_out)\n')
    chosen = overlay(done, {"curate": {"vocabulary": {"exclude_benchmarks": ["mini_voc"]}}})

    def held(*arguments: str) -> str:
        said = done.snakemake("-n", "--snakefile", "held.smk", *arguments)
        return next(line for line in said.splitlines() if line.startswith("HELD "))

    before = held(*chosen)
    file = done.root / "cocu/benchmarks/shipped/mini_voc.yaml"
    file.write_text(file.read_text().replace("tv]", "telly]"))
    assert len({held(*SMOKE), before, held(*chosen)}) == 3


@pytest.mark.parametrize(
    "over",
    [
        {"evaluate": {"benchmarks": ["mini_vok"]}},
        {"curate": {"vocabulary": {"exclude_benchmarks": ["mini_vok"]}}},
    ],
)
def test_a_benchmark_that_is_not_there_is_named(done: Checkout, over: object) -> None:
    said = done.snakemake("-n", *overlay(done, over), code=1)
    assert "No benchmark 'mini_vok'" in said
    assert "did you mean 'mini_voc'" in said


def test_a_dry_run_writes_nothing(checkout: Checkout) -> None:
    checkout.planned(*SMOKE)
    assert not (checkout.root / "results").exists()


def test_two_workflows_do_not_share_an_experiment(checkout: Checkout) -> None:
    import fcntl

    lock = checkout.root / "results/smoke/.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        said = checkout.snakemake("--cores", "1", *SMOKE, code=1)
    assert "Another workflow is at work on results/smoke" in said
    assert not Path(checkout.root, "results/smoke/config.yaml").exists()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkout, dict[str, object]]:
    """A finished experiment on two data sets whose shards have the same names; nothing is in the files."""
    checkout = make_checkout(tmp_path_factory.mktemp("own"))
    for name in ("one", "other"):
        write_text(checkout.root / f"data/{name}/00000.tar", "")
    data: dict[str, object] = {
        "run_arms": ["groupvit", "cocu"],
        "corpus": {"kind": "shards", "sets": [{"name": n, "shards": f"data/{n}/00000.tar"} for n in ("one", "other")]},
        "clip": {"model": "ViT-B-16", "pretrained": "openai"},
        "evaluate": {"backgrounds": []},
        "references": {"clip": {"clip": "ViT-B-16", "pretrained": "openai"}},
        "train": {"validate_every": 0},
    }
    files = overlay(checkout, {**data, "evaluate": {"backgrounds": [], "benchmarks": ["voc"]}})
    finish(checkout, *files)
    return checkout, {**data, "evaluate": {"backgrounds": [], "benchmarks": ["voc"]}}


def test_the_side_cars_of_two_data_sets_lie_apart(own: tuple[Checkout, dict[str, object]]) -> None:
    checkout, data = own
    assert checkout.planned(*overlay(checkout, data)) == {}
    folder = checkout.root / "results/smoke/curation/mini/captions"
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet")} == {
        "one/00000.parquet",
        "other/00000.parquet",
    }


@pytest.mark.parametrize("corpus", [{"max_bad": 0.5}, {"lenient": True}])
def test_how_a_corpus_is_read_runs_it_again(own: tuple[Checkout, dict[str, object]], corpus: dict[str, object]) -> None:
    checkout, data = own
    planned = checkout.planned(*overlay(checkout, {**data, "corpus": {**data["corpus"], **corpus}}))  # type: ignore[dict-item]
    assert planned["corpus"] == planned["captions"] == planned["embed_0"] == planned["archive"] == 1


def test_another_shard_in_its_place_runs_the_corpus_again(own: tuple[Checkout, dict[str, object]]) -> None:
    checkout, data = own
    shard = checkout.root / "data/other/00000.tar"
    before = shard.stat().st_mtime_ns
    os.utime(shard, ns=(0, before + 10**9))
    assert checkout.planned(*overlay(checkout, data))["corpus"] == 1
    os.utime(shard, ns=(0, before))
    assert checkout.planned(*overlay(checkout, data)) == {}
