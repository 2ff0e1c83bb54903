# What the rules share: the configuration, the layout of the experiment, which corpora, shards and arms it has, and what a job needs.

import re
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

from cocu import config as settings
from cocu import layout, stamp, variants
from cocu.benchmarks.definitions import read_benchmark, showcase
from cocu.concepts.benchmark_names import held_out_names
from cocu.errors import CocuError
from cocu.yaml_file import read_yaml


@contextmanager
def told():
    """What cocu refuses ends the workflow with its sentence."""
    try:
        yield
    except CocuError as error:
        raise WorkflowError(str(error))


with told():
    for file in workflow.configfiles:
        read_yaml(Path(file))  # stricter than Snakemake's own reading: no key twice
    CFG = settings.validate(config)

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


def held_out(wildcards):
    """The hash of the class names that no vocabulary may hold: files say them, and no value of the configuration."""
    return stamp.digest(held_out_names(curated(wildcards)[1].curate.vocabulary.exclude_benchmarks))


with told():
    PROTOCOLS = {benchmark: read_benchmark(benchmark).protocol_hash() for benchmark in CFG.evaluate.benchmarks}


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


def jobs(stage, shards_per_job):
    """The jobs that share the shards of a corpus: rule, log, number, shards, and how many others' blocks it joins.

    A block is a job; the last one joins them. Where all shards are one block, that job does it alone.
    """
    blocks, log = AT.blocks("{corpus}", shards_per_job), f"{stage}/{{corpus}}{{variant}}"
    if len(blocks) == 1:
        return [(stage, log, None, blocks[0], 0)]
    each = [(f"{stage}_{number}", f"{log}/{number}", number, shards, 0) for number, shards in enumerate(blocks)]
    return [*each, (stage, log, None, [], len(blocks))]


def finished(folder, number):
    """What says that a job of `jobs` has filled its part of a folder."""
    return folder / layout.MANIFEST if number is None else layout.block(folder, number)


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


def evaluated_arm(wildcards):
    """The arm or reference whose model a job evaluates."""
    return wildcards.get("arm", CFG.report.treatment)


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


# The shards of a corpus that is trained on, SET/SHARD each.
SHARDS = AT.shards("{corpus}")
