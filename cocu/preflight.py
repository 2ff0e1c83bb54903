"""What is asked of a whole configuration before its first job runs, besides the checks that need no library.

Takes the configuration; gives nothing, or a sentence: `cocu config` and the workflow's start ask here.
"""

from __future__ import annotations

from cocu.benchmarks.definitions import read_benchmark
from cocu.clip.check import check_clips
from cocu.concepts.benchmark_names import held_out_names
from cocu.config import Config
from cocu.train.check import check_arms


def check(config: Config) -> None:
    """Raise `ConfigError` for a benchmark, a CLIP or an arm that cannot be made."""
    for name in config.evaluate.benchmarks:
        read_benchmark(name)
    for own in map(config.arm, config.arms):
        held_out_names(own.curate.vocabulary.exclude_benchmarks)
    check_clips(config)
    check_arms(config)
