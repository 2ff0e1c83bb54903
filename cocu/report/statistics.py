"""Mean, spread and paired differences over seeds.

Takes the mIoU of one arm by seed, gives its mean and sample standard deviation, and the mean of the differences
d_s = arm_s - baseline_s with its Student interval, mean(d) +- t_{(1 + confidence) / 2, n - 1} sd(d) / sqrt(n).
The arms share corpus and order within a seed, so the difference is paired by seed and never taken between means alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from cocu.errors import DataError


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation (n - 1 in the denominator; nan for one value) of `count` values."""

    mean: float
    sd: float
    count: int


@dataclass(frozen=True)
class Difference:
    """Mean of the paired differences and the ends of its interval (nan for one pair)."""

    mean: float
    low: float
    high: float


def summarise(values: Sequence[float]) -> Summary:
    """Mean and spread of at least one value, in the values' own unit."""
    array = np.asarray(values, dtype=np.float64)
    sd = float(array.std(ddof=1)) if array.size > 1 else math.nan
    return Summary(float(array.mean()), sd, int(array.size))


def paired_difference(
    arm: Mapping[int, float], baseline: Mapping[int, float], *, name: str, confidence: float
) -> Difference:
    """Mean of arm - baseline over the seeds, with the two-sided t interval.

    `arm` and `baseline` map seed to value; `name` is the arm's, for the message. Raises `DataError` when a seed is in
    one and not in the other.
    """
    if odd := sorted(set(arm) ^ set(baseline)):
        missing_in = "the baseline" if odd[0] in arm else f"arm '{name}'"
        raise DataError(
            f"Arm '{name}' and the baseline cannot be paired: seed {odd[0]} is missing in {missing_in}. "
            "Run that seed, or take it out of the configuration."
        )
    differences = [arm[seed] - baseline[seed] for seed in sorted(arm)]
    mean = summarise(differences).mean
    if len(differences) == 1:
        return Difference(mean, math.nan, math.nan)
    # Not by ttest_rel: it divides by the spread, and has no interval where all the differences are equal.
    low, high = stats.sem(differences) * np.asarray(stats.t.interval(confidence, len(differences) - 1))
    return Difference(mean, mean + float(low), mean + float(high))
