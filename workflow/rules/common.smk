# What the rules share: the layout of the experiment, which corpora, shards and arms it has, and what a job needs.

import fcntl
import os
import re
from functools import cache

from cocu import layout, stamp, variants
from cocu.benchmarks.definitions import read_benchmark, showcase
from cocu.concepts.benchmark_names import held_out_names

AT = layout.Experiment(CFG)
CONFIG = AT.resolved
MINI = AT.mini
STAND_IN = AT.stand_in
ENV = "../envs/cocu.yaml"


# A curation is called after its corpus, and, where an arm asks for another one, by what differs in it.
wildcard_constraints:
    corpus=r"train\d+" if MINI else CFG.corpus.name,
    variant=f"(?:{'|'.join(map(re.escape, variants.variants(CFG)))})",
    arm="|".join([*CFG.arms, settings.ONE_LABEL, *CFG.references]),
    seed=r"\d+",
    split="val|test",
    benchmark="|".join(CFG.evaluate.benchmarks),


def protocol(benchmark):
    """The hash of how a benchmark is scored: results change with it."""
    try:
        return read_benchmark(benchmark).protocol_hash()
    except CocuError as error:
        raise WorkflowError(str(error))


def held_out(wildcards):
    """The hash of the class names that no vocabulary may hold: files say them, and no value of the configuration."""
    try:
        return stamp.digest(held_out_names(curated(wildcards)[1].curate.vocabulary.exclude_benchmarks))
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


def made(stage, *more, arm=None):
    """What decides a stage's result besides its inputs, for the arm that a job is of, or that is given."""

    def recipe(wildcards):
        name = arm or getattr(wildcards, "arm", None)
        config = CFG.arm(name) if name in CFG.arms else CFG
        return stamp.digest(stamp.recipe(stage, config, *more))

    return recipe


def made_here(stage, *more):
    """The same of a curation, for the variant that a job is of."""
    return lambda wildcards: stamp.digest(stamp.recipe(stage, curated(wildcards)[1], *more))


def needs(memory, minutes, **more):
    """What a scheduler reserves: (mini, full) megabytes and minutes; each further attempt gets more of both."""
    size = 0 if MINI else 1
    return {
        "mem_mb": lambda wildcards, attempt: attempt * memory[size],
        "runtime": lambda wildcards, attempt: attempt * minutes[size],
        **more,
    }


def gpus(number):
    """GPUs that a job takes, by what it computes: none where the configuration keeps all of it on the CPU."""
    return 0 if CFG.device == "cpu" else number


def files(where, folder, shards):
    """A stage's file of each shard in its folder."""
    return [where(folder, shard) for shard in shards]


def curated(wildcards):
    """The curation that a job is of: its places, and the configuration that makes it."""
    return curation_called(wildcards.corpus + wildcards.variant)


@cache
def curation_called(name):
    corpus, config = variants.split(CFG, name)
    return AT.curation(corpus, config), config


def captions(wildcards):
    return curated(wildcards)[0].captions / layout.MANIFEST


def embeddings(wildcards):
    return curated(wildcards)[0].embeddings / layout.MANIFEST


def vectors(wildcards):
    return layout.vectors_manifest(curated(wildcards)[0].vectors)


def several(blocks):
    """The blocks, where there is more than one: one alone is the whole."""
    return blocks if len(blocks) > 1 else []


def embedded_blocks(wildcards):
    folder = curated(wildcards)[0].embeddings
    return [layout.block(folder, number) for number, _ in enumerate(several(EMBED_BLOCKS))]


def archived_blocks(wildcards):
    folder = curated(wildcards)[0].archive
    return [layout.block(folder, number) for number, _ in enumerate(several(ARCHIVE_BLOCKS))]


def clip_weights():
    """The stand-in, or the file of weights that is named: what is embedded with another one is embedded anew."""
    named = Path(CFG.clip.pretrained)
    return stand_in() or ([named] if named.is_file() else [])


def stand_in():
    """The CLIP that is trained here, where there is one."""
    return [AT.clip / layout.MANIFEST] if STAND_IN else []


def trained_on(wildcards):
    """The captions that an arm is trained on."""
    own = CFG.arm(wildcards.arm)
    return AT.curation(AT.corpus_of(wildcards.seed), own).captions / layout.MANIFEST


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


def table(name):
    """A table's files; the CSV goes into the HTML report."""
    csv = report(AT.tables / f"{name}.csv", caption=f"../report/{name}.rst", category="Tables", labels={"table": name})
    return [csv, AT.tables / f"{name}.md", AT.tables / f"{name}.tex"]


def figure(name):
    """A figure's files; the SVG goes into the HTML report."""
    svg = report(
        AT.figures / f"{name}.svg", caption=f"../report/{name}.rst", category="Figures", labels={"figure": name}
    )
    return [svg, AT.figures / f"{name}.png"]


# The shards of a corpus that is trained on, SET/SHARD each, and those that one job embeds, or gives their archives.
SHARDS = AT.shards("{corpus}")
EMBED_BLOCKS = AT.blocks("{corpus}", CFG.clip.shards_per_job)
ARCHIVE_BLOCKS = AT.blocks("{corpus}", CFG.curate.shards_per_job)
