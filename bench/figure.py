"""What a benchmark prints: both sides measured alternately in one process, their ratio, and whether they agree."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Figure:
    """One comparison: how many times faster (or whatever `note` says), and the check that both sides give the same."""

    bench: str
    ratio: float
    target: float | None
    equal: bool
    max_abs_diff: float | None = None
    note: str = ""

    @property
    def holds(self) -> bool:
        return self.equal and (self.target is None or self.ratio >= self.target)


def alternate(ours: Callable[[], object], theirs: Callable[[], object], repeats: int = 3) -> tuple[float, float]:
    """Median seconds of both, called in turn, after one call of ours that compiles what has to be compiled."""
    ours()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for side, call in zip(times, (ours, theirs), strict=True):
            started = time.perf_counter()
            call()
            side.append(time.perf_counter() - started)
    return median(times[0]), median(times[1])


def report(figures: Iterable[Figure]) -> None:
    """Print a JSON line a figure, then a table; exit with 1 when a target or an equality is missed."""
    shown = []
    for figure in figures:
        facts = {"ratio": round(figure.ratio, 3), "target": figure.target, "equal": figure.equal}
        print(json.dumps({"bench": figure.bench, **facts, "max_abs_diff": figure.max_abs_diff}), flush=True)
        shown.append(figure)
    width = max((len(figure.bench) for figure in shown), default=0)
    print(f"\n{'':{width}}  {'ratio':>8}  {'target':>8}  equal  note")
    for figure in shown:
        target = "" if figure.target is None else f">= {figure.target:g}"
        mark = "yes" if figure.equal else "NO"
        missed = "" if figure.holds else "  MISSED"
        print(f"{figure.bench:{width}}  {figure.ratio:8.2f}  {target:>8}  {mark:5}  {figure.note}{missed}")
    if not all(figure.holds for figure in shown):
        sys.exit(1)
