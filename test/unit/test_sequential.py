"""Betting against a mean: what one may look at always, held to its error rates by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.sequential import (
    DIFFERENCE,
    FAILED,
    confidence_sequence,
    log_evidence,
    log_evidence_below,
    p_value,
)

TRUE_RATES = [(0.05, 0.05), (0.3, 0.3), (0.5, 0.5)]  # (only A fails, only B fails)


def running_counts(rng, only_a, only_b, comparisons, pairs):
    """(comparisons, pairs, 3) counts after each pair."""
    p = [only_a, 1 - only_a - only_b, only_b]
    steps = rng.choice(3, size=(comparisons, pairs), p=p)
    return np.cumsum(steps[..., None] == np.arange(3), axis=1)


def evidence(of, counts, null):
    """`of` for each of the counts, worked out once for each that comes more than once."""
    code = (counts * [1, 1000, 1_000_000]).sum(axis=-1)
    _, first, back = np.unique(code, return_index=True, return_inverse=True)
    return of(counts.reshape(-1, 3)[first], DIFFERENCE, null)[back].reshape(code.shape)


def few(n, alpha):
    """So many or fewer of n happen with all but a probability of 1e-6, if each happens with probability alpha at most."""
    return stats.binom.isf(1e-6, n, alpha)


@pytest.mark.parametrize(("only_a", "only_b"), TRUE_RATES)
def test_peeking_at_every_pair_keeps_the_error_rate(only_a, only_b):
    alpha, n = 0.05, 2000
    counts = running_counts(np.random.default_rng(1), only_a, only_b, n, 150)
    wanted = math.log(2 / alpha)
    worse = evidence(log_evidence, counts, 0.0).max(axis=1) >= wanted
    better = evidence(log_evidence_below, counts, 0.0).max(axis=1) >= wanted
    assert (worse | better).sum() <= few(n, alpha)


def test_the_same_adversary_fools_a_test_for_one_look():
    """So the bound above can be failed."""
    counts = running_counts(np.random.default_rng(1), 0.3, 0.3, 2000, 150)
    once = stats.binom.sf(counts[..., 2] - 1, counts[..., 0] + counts[..., 2], 0.5) <= 0.025
    assert once.any(axis=1).sum() > few(2000, 0.025)


def test_peeking_does_not_prove_no_worse_of_what_is_worse_by_the_margin():
    alpha, n = 0.05, 2000
    counts = running_counts(np.random.default_rng(2), 0.1, 0.2, n, 200)  # worse by exactly 0.1
    proven = evidence(log_evidence_below, counts, 0.1).max(axis=1) >= math.log(1 / alpha)
    assert proven.sum() <= few(n, alpha)


def test_the_confidence_sequence_holds_the_truth_at_all_times():
    alpha, n, truth = 0.1, 2000, 0.15
    counts = running_counts(np.random.default_rng(3), 0.1, 0.25, n, 120)
    wanted = math.log(2 / alpha)
    outside = (evidence(log_evidence, counts, truth) >= wanted) | (
        evidence(log_evidence_below, counts, truth) >= wanted
    )
    assert outside.any(axis=1).sum() <= few(n, alpha)
    low, high = confidence_sequence(counts[0, -1], DIFFERENCE, 1 - alpha)
    assert float(log_evidence(counts[0, -1], DIFFERENCE, low)) == pytest.approx(wanted, abs=1e-6)
    assert float(log_evidence_below(counts[0, -1], DIFFERENCE, high)) == pytest.approx(
        wanted, abs=1e-6
    )


def test_a_clear_difference_is_found_in_few_pairs():
    counts = running_counts(np.random.default_rng(4), 0.05, 0.45, 500, 100)
    found = evidence(log_evidence, counts, 0.0) >= math.log(40)
    assert found.any(axis=1).mean() > 0.99
    assert np.median(found.argmax(axis=1) + 1) <= 30


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_without_a_margin_it_is_mcnemars_test_with_a_uniform_prior(worse, better, tied):
    """Wealth = the integral of the likelihood ratio over P(only B failed | one did) from 1/2 to 1."""
    n = worse + better
    exact = (
        (n + 1) * math.log(2)
        + special.betaln(worse + 1, better + 1)
        + special.log_ndtr(special.ndtri(special.betaincc(worse + 1, better + 1, 0.5)))
    )
    ours = float(log_evidence((better, tied, worse), DIFFERENCE, 0.0))
    assert ours == pytest.approx(exact, abs=0.05 + 0.03 * n)  # 64 stakes in place of all


def test_hand_worked_evidence():
    """One pair that only B failed: every stake s gains s, on average (1/64 + ... + 64/64) / 64 = 65/128."""
    assert math.exp(float(log_evidence((0, 0, 1), DIFFERENCE, 0.0))) == pytest.approx(1 + 65 / 128)
    # tied pairs say nothing about "not worse", and something about "worse by 0.1": (1 + s 0.1 / 0.9) each
    assert float(log_evidence((0, 7, 0), DIFFERENCE, 0.0)) == pytest.approx(0.0)
    gains = 1 + np.arange(1, 65) / 64 / 9
    assert math.exp(float(log_evidence_below((0, 2, 0), DIFFERENCE, 0.1))) == pytest.approx(
        (gains**2).mean()
    )


counts = st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))


@settings(max_examples=30)
@given(counts)
def test_the_interval_holds_what_was_seen_and_mirrors(some):
    low, high = confidence_sequence(some, DIFFERENCE)
    assert -1 <= low <= high <= 1
    if sum(some):
        assert low <= (some[2] - some[0]) / sum(some) <= high
    mirrored = confidence_sequence(some[::-1], DIFFERENCE)
    assert (-mirrored[1], -mirrored[0]) == pytest.approx((low, high))


@settings(max_examples=30)
@given(st.integers(1, 80).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_interval_for_all_times_is_wider_than_one_for_one_look(kn):
    k, n = kn
    low, high = confidence_sequence((n - k, k), FAILED, 0.95)
    once = stats.binomtest(k, n).proportion_ci(0.95, "wilson")
    assert low <= once.low + 0.02
    assert high >= once.high - 0.02


def test_nothing_seen_says_nothing():
    assert confidence_sequence((0, 0, 0), DIFFERENCE) == (-1.0, 1.0)
    assert float(log_evidence((0, 0, 0), DIFFERENCE, 0.0)) == 0.0
    assert p_value(-3.0) == 1.0


@pytest.mark.parametrize("bad", [(1, 2), (1, math.nan, 2), (1, -1, 2), (math.inf, 0, 0)])
def test_nonsense_is_refused(bad):
    with pytest.raises(InvalidArgumentError, match="counts"):
        log_evidence(bad, DIFFERENCE, 0.0)


def test_a_mean_outside_the_values_is_refused():
    for mean in (1.0, -1.1, math.nan):
        with pytest.raises(InvalidArgumentError, match="mean"):
            log_evidence((1, 1, 1), DIFFERENCE, mean)
    with pytest.raises(InvalidArgumentError, match="confidence"):
        confidence_sequence((1, 1, 1), DIFFERENCE, math.nan)
