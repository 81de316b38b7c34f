"""Tests and intervals for one look, against scipy, published examples and counts by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.exact_tests import (
    Table,
    holm,
    newcombe_interval,
    normal_tail,
    p_below,
    sign_flip,
    stratified_fisher,
    tango_interval,
    tango_z,
)


@given(st.integers(0, 60), st.integers(0, 60))
def test_single_pairs_make_mcnemars_exact_test(worse, better):
    p_worse, p_better = sign_flip([1] * worse + [0, 0] + [-1] * better)
    n = worse + better
    assert p_worse == pytest.approx(stats.binom.sf(worse - 1, n, 0.5), abs=1e-12)
    assert p_better == pytest.approx(stats.binom.cdf(worse, n, 0.5), abs=1e-12)


@given(st.lists(st.integers(-4, 4), max_size=8))
def test_clusters_are_flipped_whole(sums):
    totals = [sum(s * f for s, f in zip(sums, flips, strict=True)) for flips in itertools.product((1, -1), repeat=len(sums))]  # fmt: skip
    seen = sum(sums)
    p_worse, p_better = sign_flip(sums)
    assert p_worse == pytest.approx(np.mean([t >= seen for t in totals]))
    assert p_better == pytest.approx(np.mean([t <= seen for t in totals]))


tables = st.tuples(*[st.integers(0, 20)] * 4).map(
    lambda x: Table(min(x[0], x[1]), max(x[0], x[1]), min(x[2], x[3]), max(x[2], x[3]))
)


@given(tables)
def test_one_table_makes_fishers_exact_test(t):
    cells = [[t.failures_b, t.n_b - t.failures_b], [t.failures_a, t.n_a - t.failures_a]]
    p_worse, p_better = stratified_fisher([t])
    assert p_worse == pytest.approx(stats.fisher_exact(cells, "greater").pvalue)
    assert p_better == pytest.approx(stats.fisher_exact(cells, "less").pvalue)


def test_strata_do_not_fall_for_simpson():
    """B is better under both conditions, and looks worse when they are poured together."""
    easy, hard = Table(10, 100, 1, 20), Table(14, 20, 55, 100)
    together = Table(24, 120, 56, 120)
    assert stratified_fisher([together])[0] < 0.001
    assert stratified_fisher([easy, hard])[0] > 0.9
    assert newcombe_interval([easy, hard])[0] < 0 < newcombe_interval([together])[0]


def test_two_strata_by_hand():
    """Each table: one failure among one rollout of A and one of B, so B's share is a fair coin: two of two has 1/4."""
    one = Table(0, 1, 1, 1)
    assert stratified_fisher([one, one]) == (pytest.approx(0.25), 1.0)
    assert stratified_fisher([one, Table(1, 1, 1, 1)])[0] == pytest.approx(0.5)


pairs = st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 30))


@settings(max_examples=60)
@given(pairs, st.floats(-0.9, 0.9))
def test_tangos_statistic_maximises_the_likelihood(some, difference):
    worse, better, tied = some
    n = worse + better + tied

    def unlikely(q):
        p = ((worse, q + difference), (better, q), (tied, 1 - 2 * q - difference))
        return -sum(k * math.log(max(x, 1e-300)) for k, x in p if k)

    ends = (max(0.0, -difference) + 1e-12, (1 - difference) / 2 - 1e-12)
    q = optimize.minimize_scalar(
        unlikely, bounds=ends, method="bounded", options={"xatol": 1e-11}
    ).x
    wanted = (worse - better - n * difference) / math.sqrt(
        n * (2 * q + difference * (1 - difference))
    )
    assert tango_z(worse, better, n, difference) == pytest.approx(wanted, abs=1e-4, rel=1e-3)


@given(pairs)
def test_tangos_interval_is_where_its_statistic_says(some):
    worse, better, tied = some
    n = worse + better + tied
    low, high = tango_interval(worse, better, n)
    assert -1 <= low <= (worse - better) / n <= high <= 1
    if low > -0.99:
        assert tango_z(worse, better, n, low) == pytest.approx(1.959964, abs=1e-4)


def test_pairs_that_all_agree_leave_wilsons_doubt():
    """Nothing in n pairs: z^2 / (n + z^2) either way, though both failed in half of them."""
    low, high = tango_interval(0, 0, 24, 0.9)
    z2 = stats.norm.ppf(0.95) ** 2
    assert (low, high) == pytest.approx((-z2 / (24 + z2), z2 / (24 + z2)))


def test_newcombes_published_examples():
    """Newcombe 1998, table II, method 10: 56/70 - 48/80 and 9/10 - 3/10; 0/10 - 0/20."""
    for table, wanted in (
        (Table(48, 80, 56, 70), (0.0524, 0.3339)),
        (Table(3, 10, 9, 10), (0.1705, 0.8090)),
        (Table(0, 20, 0, 10), (-0.1611, 0.2775)),
    ):
        assert newcombe_interval([table])[1:] == pytest.approx(wanted, abs=1e-4)


def test_without_rollouts_nothing_is_known():
    difference, low, high = newcombe_interval([Table(0, 0, 1, 2)])
    assert math.isnan(difference)
    assert (low, high) == (-1.0, 1.0)
    assert tango_interval(0, 0, 0) == (-1.0, 1.0)
    assert sign_flip([]) == (1.0, 1.0)
    assert stratified_fisher([]) == (1.0, 1.0)
    with pytest.raises(InvalidArgumentError, match="failures"):
        Table(3, 2, 0, 0)


def test_the_level_at_which_a_limit_passes_a_margin():
    one = [Table(0, 50, 0, 50)]
    p = p_below(lambda c: newcombe_interval(one, c)[2], 0.1)
    assert newcombe_interval(one, 1 - 2 * p)[2] == pytest.approx(0.1, abs=1e-6)
    assert p_below(lambda c: 0.5 + c, 0.1) == 1.0
    assert normal_tail(math.inf) == 1.0


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]).shape == (0,)
    for bad in ([0.1, math.nan], [1.5], [[0.1]]):
        with pytest.raises(InvalidArgumentError, match="p-values"):
            holm(bad)


def test_holm_keeps_the_familywise_error_however_tests_depend():
    """22 tests of which 15 nulls are true, alike as conditions on one scene are, and 7 false."""
    rng, n, alpha = np.random.default_rng(5), 2000, 0.05
    z = np.sqrt(0.5) * rng.normal(size=(n, 22)) + np.sqrt(0.5) * rng.normal(size=(n, 1))
    z[:, 15:] += 3.0
    p = stats.norm.sf(z)
    rejected = np.array([holm(some) <= alpha for some in p])
    most = stats.binom.isf(1e-6, n, alpha)
    assert rejected[:, :15].any(axis=1).sum() <= most
    assert (p[:, :15] <= alpha).any(axis=1).sum() > most  # uncorrected
    assert rejected[:, 15:].mean() > 0.3
