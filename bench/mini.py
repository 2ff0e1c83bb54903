"""Where the time of a finished experiment went: `python -m bench.mini [results/NAME]`.

Takes the files that Snakemake wrote of each job (results/NAME/times); prints a line a stage with its jobs, the seconds
of processor and clock that they took and their share, then what bounds the whole: the longest chain of jobs that wait
for each other, and all processor time divided by the cores.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

CORES = 2
# What each stage waits for, among the stages of one seed and those that all seeds share.
AFTER = {
    "corpus": (),
    "benchmarks": (),
    "clip": ("web",),
    "web": (),
    "captions": ("corpus",),
    "embed": ("clip", "corpus"),
    "embed_vocabulary": ("clip", "captions"),
    "archive": ("embed", "embed_vocabulary"),
    "oracle": ("captions",),
    "quality": ("archive",),
    "train": ("archive", "oracle", "captions"),
    "import_checkpoint": (),
    "evaluate": ("train", "benchmarks", "clip", "import_checkpoint"),
    "tables": ("evaluate", "quality"),
    "figures": ("evaluate", "quality"),
    "panel": ("evaluate",),
}


@dataclass(frozen=True)
class Job:
    """One job: its stage, and the seconds that it took of the clock and of processors."""

    stage: str
    wall: float
    cpu: float


def read_jobs(times: Path) -> list[Job]:
    """The jobs below a folder of Snakemake's benchmark files, whose path there begins with the stage."""
    jobs = []
    for path in sorted(times.rglob("*.tsv")):
        with path.open(newline="") as stream:
            for line in csv.DictReader(stream, delimiter="\t"):
                stage = path.relative_to(times).with_suffix("").parts[0]
                jobs.append(Job(stage, float(line["s"]), float(line["cpu_time"])))
    return jobs


def longest_chain(jobs: Iterable[Job], after: Mapping[str, tuple[str, ...]] = AFTER) -> tuple[float, list[str]]:
    """Seconds of the clock and stages of the longest chain, the slowest job of each stage standing for it."""
    slowest: dict[str, float] = {}
    for job in jobs:
        slowest[job.stage] = max(slowest.get(job.stage, 0.0), job.wall)

    def until(stage: str) -> tuple[float, list[str]]:
        before, chain = max((until(earlier) for earlier in after.get(stage, ())), default=(0.0, []))
        return before + slowest.get(stage, 0.0), [*chain, stage] if stage in slowest else chain

    return max((until(stage) for stage in slowest), default=(0.0, []))


def summary(jobs: Iterable[Job], cores: int = CORES) -> str:
    """The table by falling processor time, and the two bounds."""
    jobs = list(jobs)
    total = sum(job.cpu for job in jobs)
    lines = [f"{'stage':20}{'jobs':>6}{'CPU s':>9}{'wall s':>9}{'share':>8}"]
    of = {stage: [job for job in jobs if job.stage == stage] for stage in {job.stage for job in jobs}}
    for stage, its in sorted(of.items(), key=lambda item: (-sum(job.cpu for job in item[1]), item[0])):
        cpu, wall = sum(job.cpu for job in its), sum(job.wall for job in its)
        lines.append(f"{stage:20}{len(its):6}{cpu:9.1f}{wall:9.1f}{cpu / total if total else 0:8.1%}")
    wall = sum(job.wall for job in jobs)
    seconds, chain = longest_chain(jobs)
    each = total / cores
    return "\n".join(
        [
            *lines,
            f"{'all':20}{len(jobs):6}{total:9.1f}{wall:9.1f}{1:8.1%}",
            f"longest chain: {seconds:.1f} s of the clock ({', '.join(chain)})",
            f"on {cores} cores, no faster than {max(seconds, each):.1f} s: {each:.1f} s of processor each",
        ]
    )


def main(folder: Path) -> None:
    """Print the summary of an experiment's folder; end with 1 where it has no times."""
    jobs = read_jobs(folder / "times")
    if not jobs:
        sys.exit(f"{folder / 'times'} holds no times: run the experiment first, or give its folder.")
    print(summary(jobs))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "results/mini"))
