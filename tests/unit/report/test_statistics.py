import math

import numpy as np
import pytest
from scipy import stats

from cocu.errors import DataError
from cocu.report.statistics import Summary, paired_difference, summarise


def test_summary_by_hand() -> None:
    assert summarise([1.0, 2.0, 6.0]) == Summary(3.0, pytest.approx(math.sqrt(7.0)), 3)  # (4 + 1 + 9) / 2


def test_one_value_has_no_spread() -> None:
    assert summarise([4.0]).mean == 4.0
    assert math.isnan(summarise([4.0]).sd)


def test_interval_by_hand() -> None:
    """Differences 1, 2, 3: mean 2, sd 1, and t is 4.302653 at 97.5 % with 2 degrees of freedom."""
    d = paired_difference({3: 13.0, 1: 2.0, 2: 7.0}, {1: 1.0, 2: 5.0, 3: 10.0}, name="cocu", confidence=0.95)
    half = 4.302653 / math.sqrt(3)
    assert (d.mean, d.low, d.high) == pytest.approx((2.0, 2.0 - half, 2.0 + half), abs=1e-6)


def test_interval_is_the_paired_t_tests() -> None:
    arm, baseline = [31.0, 38.2, 29.9, 35.0], [28.0, 22.4, 30.1, 26.5]
    d = paired_difference(dict(enumerate(arm)), dict(enumerate(baseline)), name="cocu", confidence=0.9)
    expected = stats.ttest_rel(arm, baseline).confidence_interval(0.9)
    assert (d.low, d.high) == pytest.approx((expected.low, expected.high), rel=1e-12)


@pytest.mark.parametrize("count", [2, 3, 6, 40])
@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95, 0.999])
def test_interval_is_the_formula_s(count: int, confidence: float) -> None:
    rng = np.random.default_rng(count)
    arm, baseline = rng.uniform(0, 100, count), rng.uniform(0, 100, count)
    d = paired_difference(dict(enumerate(arm)), dict(enumerate(baseline)), name="cocu", confidence=confidence)
    mean, sd = (arm - baseline).mean(), (arm - baseline).std(ddof=1)
    half = stats.t.ppf((1 + confidence) / 2, count - 1) * sd / math.sqrt(count)
    assert (d.mean, d.low, d.high) == pytest.approx((mean, mean - half, mean + half), abs=1e-12, rel=1e-12)


def test_equal_differences_have_an_interval_of_no_width() -> None:
    d = paired_difference({1: 5.0, 2: 7.0}, {1: 3.0, 2: 5.0}, name="cocu", confidence=0.95)
    assert (d.mean, d.low, d.high) == (2.0, 2.0, 2.0)


def test_one_pair_has_no_interval() -> None:
    d = paired_difference({1: 5.0}, {1: 3.0}, name="cocu", confidence=0.95)
    assert d.mean == 2.0
    assert math.isnan(d.low)
    assert math.isnan(d.high)


@pytest.mark.parametrize(
    ("arm", "baseline", "where"),
    [({1: 1.0, 7: 2.0}, {1: 1.0}, "the baseline"), ({1: 1.0}, {1: 1.0, 7: 2.0}, "arm 'cocu'")],
)
def test_other_seeds_are_not_paired(arm: dict[int, float], baseline: dict[int, float], where: str) -> None:
    with pytest.raises(DataError, match=f"'cocu'.*seed 7 is missing in {where}"):
        paired_difference(arm, baseline, name="cocu", confidence=0.95)
