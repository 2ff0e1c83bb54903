# What the rules share: the layout of the experiment, which corpora, shards and arms it has, and what a job needs.

import fcntl
import os

from braceexpand import braceexpand

from cocu import layout
from cocu.benchmarks.definitions import read_benchmark, showcase

AT = layout.Experiment(CFG)
CONFIG = AT.resolved
MINI = AT.mini
STAND_IN = AT.stand_in
ENV = "../envs/cocu.yaml"


wildcard_constraints:
    corpus=r"web|train\d+" if MINI else CFG.corpus.name,
    arm="|".join([*CFG.arms, settings.ONE_LABEL, *CFG.references]),
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


def hold_lock():
    """Lock the experiment until this process ends, however it ends: Snakemake's own lock would outlive a kill -9."""
    try:
        AT.lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(AT.lock, os.O_CREAT | os.O_WRONLY)  # never closed: the lock goes with the process
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise WorkflowError(f"Another workflow is at work on {AT.root} (it holds {AT.lock}): wait for it, or end it.")
    except OSError as error:
        raise WorkflowError(f"{AT.root} cannot be written ({error.strerror}): check the folder's owner and mount.")


SIZES = {"web_pairs", "train_pairs", "val_images", "test_images"}
WORLD = [f"corpus.mini.{key}" for key in type(CFG.corpus.mini).model_fields if key not in SIZES]


def draw(size):
    """The fingerprint of one draw from the mini world: the world and the draw's own size, not the other draws'."""
    return CFG.fingerprint(*WORLD, f"corpus.mini.{size}")


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


def memory(mini, full):
    """Megabytes: one size for the mini experiment, one for millions of pairs; each further attempt gets more."""
    return lambda wildcards, attempt: attempt * (mini if MINI else full)


def minutes(mini, full):
    """Run time that a scheduler reserves; each further attempt gets more."""
    return lambda wildcards, attempt: attempt * (mini if MINI else full)


def gpus(number):
    """GPUs that a job takes, by what it computes: none where the configuration keeps all of it on the CPU."""
    return 0 if CFG.device == "cpu" else number


def prompts(wildcards):
    """What an arm's prompts are drawn from; an arm that reads no archive does not wait for one."""
    folder = AT.prompts(wildcards.arm, wildcards.seed)
    return folder / layout.MANIFEST if folder else []


def model(arm, seed):
    """The files of the model behind a row of the tables; of a CLIP, the stand-in's manifest or nothing."""
    folder = AT.evaluated(arm, seed)
    if folder:
        return layout.model_files(folder)
    return stand_in() if CFG.references[arm].clip == "stand-in" else []


def stand_in():
    """The CLIP that is trained here, where there is one."""
    return [AT.clip / layout.MANIFEST] if STAND_IN else []


def table(name):
    """A table's files; the CSV goes into the HTML report."""
    csv = report(AT.tables / f"{name}.csv", caption=f"../report/{name}.rst", category="Tables", labels={"table": name})
    return [csv, AT.tables / f"{name}.md"]


def figure(name):
    """A figure's files; the SVG goes into the HTML report."""
    svg = report(
        AT.figures / f"{name}.svg", caption=f"../report/{name}.rst", category="Figures", labels={"figure": name}
    )
    return [svg, AT.figures / f"{name}.png"]
