import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.statistics import (
    beta_interval,
    bootstrap_auc_interval,
    clopper_pearson,
    few_groups,
    probability_above,
    rollouts_to_settle,
    wilson,
)

counts = st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts, st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_binomial_intervals_equal_scipy(kn, confidence):
    k, n = kn
    for ours, method in ((wilson, "wilson"), (clopper_pearson, "exact")):
        theirs = stats.binomtest(k, n).proportion_ci(confidence, method)
        assert ours(k, n, confidence) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_no_trials_say_nothing():
    assert wilson(0, 0) == (0.0, 1.0)
    assert clopper_pearson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("k", "n"), [(3, 2), (-1, 5), (math.nan, 5), (0, math.inf)])
def test_impossible_counts_are_refused(k, n):
    with pytest.raises(InvalidArgumentError, match="trials"):
        wilson(k, n)


@given(st.floats(0.2, 1e3), st.floats(0.2, 1e3))  # below, the ends run into 1 - 1e-16
def test_beta_interval_holds_its_mean_and_its_share(a, b):
    low, high = beta_interval(a, b, 0.9)
    mean = a / (a + b)
    assert 0 <= low <= mean <= high <= 1
    assert stats.beta.cdf(high, a, b) - stats.beta.cdf(low, a, b) >= 0.9 - 1e-6


def test_beta_interval_refuses_nonsense():
    with pytest.raises(InvalidArgumentError, match="above 0"):
        beta_interval([1.0, 0.0], [1.0, 1.0])


def test_probability_above_is_the_beta_tail():
    assert probability_above(3, 3, 0.5) == pytest.approx(1 - 0.5**4)
    assert probability_above(2, 7, 0.3) == pytest.approx(stats.beta.sf(0.3, 3, 6))


def test_bootstrap_interval_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    truth = stats.norm.cdf(1 / np.sqrt(2))  # AUC of two unit normals one apart
    hits = 0
    for _ in range(100):
        failed = np.arange(80) < 40
        low, high = bootstrap_auc_interval(
            rng.normal(failed.astype(float), 1.0), failed, rng, 0.9, samples=300
        )
        hits += low <= truth <= high
    assert 80 <= hits <= 98


def test_bootstrap_interval_of_one_class_is_unknown():
    low, high = bootstrap_auc_interval([0.1, 0.2], [True, True], np.random.default_rng(0))
    assert math.isnan(low)
    assert math.isnan(high)


@given(counts)
def test_rollouts_to_settle_is_the_first_count_that_does(kn):
    k, n = kn
    more = rollouts_to_settle(k, n)
    if more is None:
        assert 2 * k == n
        return

    def settled(added):
        low, high = wilson(k / n * (n + added), n + added, 0.90)
        return low > 0.5 or high < 0.5

    assert settled(more)
    assert more == 0 or not settled(more - 1)


def test_nothing_tried_settles_nothing():
    assert rollouts_to_settle(0, 0) is None
    assert rollouts_to_settle(5, 10) is None
    assert rollouts_to_settle(1, 1) == 2


def test_few_groups_widen_as_student_says():
    assert few_groups(1) == math.inf
    assert few_groups(12, 0.9) == pytest.approx(
        (stats.t.ppf(0.95, 11) / stats.norm.ppf(0.95)) ** 2 * 12 / 11
    )
    assert few_groups(100_000) == pytest.approx(1.0, abs=1e-4)
