"""One model on several benchmarks, in one process: what a job of the workflow does.

Takes a source, the rows of the tables that it stands behind and the benchmarks; gives a result a row and benchmark. A
finished result is also kept beside, with a stamp of all that decided it: where a benchmark fails, or its protocol
changes, the job is run again as a whole, and the others' results are taken from there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cocu.benchmarks.definitions import Benchmark, read_benchmark
from cocu.config import ONE_LABEL, Config, digest
from cocu.errors import CocuError
from cocu.evaluate.stage import pick_source, scored
from cocu.io import code_fingerprint, file_sha256, read_json, write_json
from cocu.layout import MANIFEST, Experiment
from cocu.log import say

SETTINGS = ("evaluate.backgrounds", "evaluate.limit")  # that decide a result, beside the protocol


def run(config: Config, *, arms: Sequence[str], seed: int, benchmarks: Sequence[str]) -> None:
    """Write the results of `arms`, rows of the tables that one model stands behind, on the benchmarks.

    Raises `ConfigError`, `DataError`, `EnvironmentFault` and `NumericsError` of the first benchmark that failed, when
    the others are done.
    """
    at = Experiment(config)
    checkpoint = at.evaluated(arms[0], seed)
    source = pick_source(config, checkpoint, None if checkpoint else arms[0], None if checkpoint else at.clip)
    made_by = [source.weights_sha256(), config.fingerprint(*SETTINGS), code_fingerprint(__name__)]
    failed: list[CocuError] = []
    for name in benchmarks:
        for arm in arms:
            row = {"arm": arm, "seed": seed, "weights_sha256": made_by[0]}
            kept, said = at.kept(arm, seed, name), f"{arm}, seed {seed}"
            try:
                definition = read_benchmark(name)
                folders = [folder for folder in (at.val, at.test) if folder]
                stamp = digest([row, definition.protocol_hash(), made_by, files_digest(definition, folders)])
                result = still_valid(kept, stamp)
                if result is None:
                    result = {
                        **row,
                        **scored(config, source, definition, at.val, at.test, one_label=arm == ONE_LABEL, row=said),
                    }
                    write_json(kept, {"stamp": stamp, "result": result})
                write_json(at.result(arm, seed, name), result)
            except CocuError as error:
                failed.append(error)
                say(f"{name} failed ({said}): {error}")
    if failed:
        raise failed[0]


def still_valid(kept: Path, stamp: str) -> dict[str, Any] | None:
    """The result that was kept with this very stamp."""
    if not kept.is_file():
        return None
    found = read_json(kept)
    return found["result"] if found["stamp"] == stamp else None


def files_digest(benchmark: Benchmark, folders: Iterable[Path]) -> str:
    """Of which files a benchmark's data are: places, sizes and times, not their bytes, which would take minutes.

    A folder that a stage composed has a manifest, which is written anew with it and stands for all files.
    """
    facts: list[object] = []
    for folder in folders:
        if (folder / MANIFEST).is_file():
            facts.append((str(folder), file_sha256(folder / MANIFEST)))
            continue
        for place in (benchmark.images, benchmark.masks, benchmark.list_file):
            files = [str(folder / place)] if (folder / place).is_file() else []
            files += [os.path.join(at, name) for at, _, names in os.walk(folder / place) for name in names]
            facts += [(file, stat.st_size, stat.st_mtime_ns) for file in sorted(files) for stat in [os.stat(file)]]
    return digest(facts)
