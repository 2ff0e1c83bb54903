"""One model on several benchmarks, in one process: what a job of the workflow does.

Takes a source, the rows of the tables that it stands behind and the benchmarks; gives a result a row and benchmark. A
finished result is also kept beside, with a stamp of all that decided it: where a benchmark fails, or its protocol
changes, the job is run again as a whole, and the others' results are taken from there.
"""

from __future__ import annotations

from collections.abc import Sequence

from cocu.benchmarks.definitions import read_benchmark
from cocu.config import ONE_LABEL, Config
from cocu.errors import CocuError
from cocu.evaluate.stage import everywhere, inputs, pick_source, scored
from cocu.io import write_json
from cocu.layout import Experiment
from cocu.log import say
from cocu.stamp import Store


def run(config: Config, *, arms: Sequence[str], seed: int, benchmarks: Sequence[str]) -> None:
    """Write the results of `arms`, rows of the tables that one model stands behind, on the benchmarks.

    Raises `ConfigError`, `DataError`, `EnvironmentFault` and `NumericsError` of the first benchmark that failed, when
    the others are done.
    """
    at = Experiment(config)
    checkpoint = at.evaluated(arms[0], seed)
    source = pick_source(config, checkpoint, None if checkpoint else arms[0], None if checkpoint else at.clip)
    weights = source.weights_sha256()
    failed: list[CocuError] = []
    for name in benchmarks:
        for arm in arms:
            row, said = {"arm": arm, "seed": seed, "weights_sha256": weights}, f"{arm}, seed {seed}"
            store, out = Store(at.kept("evaluate", arm) / str(seed)), at.result(arm, seed, name)
            try:
                definition = read_benchmark(name)
                made_from = inputs(config, definition, at.val, at.test, row)
                if store.give(out.name, out, made_from) is None:
                    one_label = arm == ONE_LABEL
                    found = scored(config, source, definition, at.val, at.test, one_label=one_label, row=said)
                    write_json(out, {**row, **found, "stamp": everywhere(made_from)})
                    store.keep(out.name, out, made_from, {})
            except CocuError as error:
                failed.append(error)
                say(f"{name} failed ({said}): {error}")
    if failed:
        raise failed[0]
