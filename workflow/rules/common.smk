# What the rules share: where the files of the experiment lie, which corpora, shards and arms it has, and what a job needs.

from braceexpand import braceexpand

from cocu.segment.benchmarks import read_benchmark

R = f"results/{CFG.experiment}"
CONFIG = f"{R}/config.yaml"
MINI = CFG.corpus.kind == "mini"
STAND_IN = CFG.clip.model == "stand-in"
ENV = "../envs/cocu.yaml"


wildcard_constraints:
    corpus=r"web|train\d+" if MINI else CFG.corpus.name,
    arm="|".join(CFG.arms),
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


def corpus_of(seed):
    """The corpus that a seed trains on: its own in the mini experiment, the one there is otherwise."""
    return f"train{seed}" if MINI else CFG.corpus.name


CORPORA = sorted({corpus_of(seed) for seed in CFG.seeds})


def blocks(corpus):
    """The names of a corpus's blocks of embeddings, each the work of one job."""
    if MINI:
        shards = -(-CFG.corpus.mini.train_pairs // CFG.corpus.mini.pairs_per_shard)
    else:
        shards = sum(1 for _ in braceexpand(CFG.corpus.shards))
    return range(-(-shards // CFG.clip.shards_per_job))


def options(**paths):
    """Options of a verb; what is empty is left out."""
    return " ".join(f"--{name} {path}" for name, path in paths.items() if path)


def memory(mini, full):
    """Megabytes: one size for the mini experiment, one for millions of pairs; each further attempt gets more."""
    return lambda wildcards, attempt: attempt * (mini if MINI else full)


def minutes(mini, full):
    """Run time that a scheduler reserves; each further attempt gets more."""
    return lambda wildcards, attempt: attempt * (mini if MINI else full)
