# What the rules share: where the files of the experiment lie, which corpora, shards and arms it has, and what a job needs.

import fcntl
import os

from braceexpand import braceexpand

from cocu.benchmarks.definitions import read_benchmark, showcase

R = f"results/{CFG.experiment}"
CONFIG = f"{R}/config.yaml"
MINI = CFG.corpus.kind == "mini"
STAND_IN = CFG.clip.model == "stand-in"
ENV = "../envs/cocu.yaml"


wildcard_constraints:
    corpus=r"web|train\d+" if MINI else CFG.corpus.name,
    arm="|".join(CFG.arms),
    reference="|".join(CFG.references) or "none",
    seed=r"\d+",
    block=r"\d+",
    split="val|test",
    benchmark="|".join(CFG.evaluate.benchmarks),


def protocol(benchmark):
    """The hash of how a benchmark is scored: results change with it."""
    try:
        return read_benchmark(benchmark).protocol_hash()
    except CocuError as error:
        raise WorkflowError(str(error))


PROTOCOLS = {benchmark: protocol(benchmark) for benchmark in CFG.evaluate.benchmarks}


def check_all():
    """Refuse a CLIP that does not exist and an arm that cannot be trained: it imports torch, too slow for every job."""
    from cocu.clip.check import check_clips
    from cocu.train.check import check_arms

    try:
        check_clips(CFG)
        check_arms(CFG)
    except CocuError as error:
        raise WorkflowError(str(error))


LOCK = Path(R) / ".lock"


def hold_lock():
    """Lock the experiment until this process ends, however it ends: Snakemake's own lock would outlive a kill -9."""
    try:
        LOCK.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(LOCK, os.O_CREAT | os.O_WRONLY)  # never closed: the lock goes with the process
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise WorkflowError(f"Another workflow is at work on {R} (it holds {LOCK}): wait for it, or end it.")
    except OSError as error:
        raise WorkflowError(f"{R} cannot be written ({error.strerror}): check the folder's owner and mount.")


SIZES = {"web_pairs", "train_pairs", "val_images", "test_images"}
WORLD = [f"corpus.mini.{key}" for key in type(CFG.corpus.mini).model_fields if key not in SIZES]


def draw(size):
    """The fingerprint of one draw from the mini world: the world and the draw's own size, not the other draws'."""
    return CFG.fingerprint(*WORLD, f"corpus.mini.{size}")


def corpus_of(seed):
    """The corpus that a seed trains on: its own in the mini experiment, the one there is otherwise."""
    return f"train{seed}" if MINI else CFG.corpus.name


CORPORA = sorted({corpus_of(seed) for seed in CFG.seeds})


def number_of_shards():
    """Shards of a corpus that is trained on."""
    if MINI:
        return -(-CFG.corpus.mini.train_pairs // CFG.corpus.mini.pairs_per_shard)
    return sum(1 for _ in braceexpand(CFG.corpus.shards))


# The numbers of the blocks of embeddings, each the work of one job.
EMBED_BLOCKS = range(-(-number_of_shards() // CFG.clip.shards_per_job))
# The same of the archives; none where one job does them all.
ARCHIVE_BLOCKS = range(-(-number_of_shards() // CFG.curate.shards_per_job))
ARCHIVE_BLOCKS = ARCHIVE_BLOCKS if len(ARCHIVE_BLOCKS) > 1 else []
ARCHIVE_SETTINGS = CFG.fingerprint("curate.search", "curate.compat", "curate.pool")


def options(**paths):
    """Options of a verb; what is empty is left out."""
    return " ".join(f"--{name} {path}" for name, path in paths.items() if path)


def memory(mini, full):
    """Megabytes: one size for the mini experiment, one for millions of pairs; each further attempt gets more."""
    return lambda wildcards, attempt: attempt * (mini if MINI else full)


def minutes(mini, full):
    """Run time that a scheduler reserves; each further attempt gets more."""
    return lambda wildcards, attempt: attempt * (mini if MINI else full)


def gpus(number):
    """GPUs that a job takes, by what it computes: none where the configuration keeps all of it on the CPU."""
    return 0 if CFG.device == "cpu" else number


# Where the prompts of an arm come from, beside the captions: a folder of the curation.
PROMPT_FOLDERS = {"caption": None, "archive": "archive", "truth": "oracle"}


def prompt_folder(wildcards):
    """The folder that an arm's prompts are read from; None for the captions alone."""
    folder = PROMPT_FOLDERS[CFG.arm(wildcards.arm).train.prompts.source]
    return f"{R}/curation/{corpus_of(wildcards.seed)}/{folder}" if folder else None


def prompt_manifest(wildcards):
    """The same as an input: an arm that reads no archive does not wait for one."""
    folder = prompt_folder(wildcards)
    return f"{folder}/manifest.json" if folder else []


def checkpoint(file):
    """A file of the checkpoint behind a result; the row one_label shows the treatment's."""

    def path(wildcards):
        arm = CFG.report.treatment if wildcards.arm == settings.ONE_LABEL else wildcards.arm
        return file.format(arm=arm, seed=wildcards.seed)

    return path


# Where the model folders of the references lie that are no CLIP: the user's own, or what a rule imports.
REFERENCE_FOLDERS = {
    name: reference.checkpoint or f"{R}/references/{name}"
    for name, reference in CFG.references.items()
    if not reference.clip
}


def reference_files(wildcards):
    """What a reference is evaluated from: its model folder's files, or the stand-in's manifest."""
    folder = REFERENCE_FOLDERS.get(wildcards.reference)
    if folder:
        return [f"{folder}/model.safetensors", f"{folder}/model.json"]
    return f"{R}/clip/manifest.json" if CFG.references[wildcards.reference].clip == "stand-in" else []


def reference_option(wildcards):
    """The same as options of the verb."""
    folder = REFERENCE_FOLDERS.get(wildcards.reference)
    if folder:
        return options(checkpoint=folder)
    stand_in = CFG.references[wildcards.reference].clip == "stand-in"
    return options(reference=wildcards.reference, clip=f"{R}/clip" if stand_in else None)


def table(name):
    """A table's files; the CSV goes into the HTML report."""
    csv = report(f"{R}/tables/{name}.csv", caption=f"../report/{name}.rst", category="Tables", labels={"table": name})
    return [csv, f"{R}/tables/{name}.md"]


def figure(name):
    """A figure's files; the SVG goes into the HTML report."""
    svg = report(
        f"{R}/figures/{name}.svg", caption=f"../report/{name}.rst", category="Figures", labels={"figure": name}
    )
    return [svg, f"{R}/figures/{name}.png"]
