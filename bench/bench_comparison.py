"""What early stopping costs and saves: pairs until two policies are told apart, beside the exact test of a size fixed before.

For each pair of failure rates, outcomes of A and B on one scene independent of each other (on real shared scenes they agree
more often, which leaves fewer pairs that say anything, and fewer that mislead):

- fixed: the smallest number of pairs at which McNemar's exact test, looked at once, finds the difference with power 0.9;
- sequential: the test of `robomd compare --live`, looked at after every pair, with a budget of 1.5 times that: how often it
  finds the difference, and how many pairs that took on average (the budget where it did not);
- false alarms of both when A and B are alike, and of the exact test when it is looked at after every pair.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from robomd_ros.core.sequential import DIFFERENCE, log_evidence, log_evidence_below

ALPHA = 0.05
RATES = ((0.0, 1.0), (0.1, 0.9), (0.1, 0.5), (0.2, 0.4), (0.3, 0.4), (0.05, 0.15))
COMPARISONS = 2000
MOST = 1500


def run(quick: bool = False) -> dict[str, Any]:
    """Pairs and power of each pair of rates; error rates of alike policies."""
    rng = np.random.default_rng(0)
    n = 200 if quick else COMPARISONS
    figures: dict[str, Any] = {
        "title": f"two-sided at {ALPHA:g}, power 0.9 wanted, {n} comparisons"
    }
    for a, b in RATES:
        name = f"{a:g} against {b:g}"
        fixed = pairs_wanted(a, b)
        first = first_rejection(counts(rng, a, b, n, int(1.5 * fixed) + 1))
        found = np.isfinite(first)
        pairs = np.where(found, first, 1.5 * fixed)
        figures[f"{name}: fixed pairs"] = fixed
        figures[f"{name}: sequential pairs"] = round(float(pairs.mean()), 1)
        figures[f"{name}: sequential power"] = round(float(found.mean()), 3)
    alike = counts(rng, 0.3, 0.3, n, 300)
    figures["alike at 0.3, 300 looks: sequential"] = round(
        float(np.isfinite(first_rejection(alike)).mean()), 4
    )
    figures["alike at 0.3, 300 looks: exact test"] = round(
        float((mcnemar(alike) <= ALPHA).any(axis=1).mean()), 4
    )
    figures["alike at 0.3, 1 look: exact test"] = round(
        float((mcnemar(alike[:, -1:]) <= ALPHA).mean()), 4
    )
    return figures


def counts(rng: np.random.Generator, a: float, b: float, n: int, pairs: int) -> NDArray[np.int64]:
    """(n, pairs, 3) running counts of pairs in which only A failed, both or neither, only B failed."""
    difference = (rng.random((n, pairs)) < b).astype(int) - (rng.random((n, pairs)) < a)
    return np.cumsum(difference[..., None] == np.array([-1, 0, 1]), axis=1)


def first_rejection(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Pairs at which the sequential test first tells A from B; inf = never."""
    code = counts[..., 0] * 10_000 + counts[..., 2]
    _, first, back = np.unique(code, return_index=True, return_inverse=True)
    some = counts.reshape(-1, 3)[first]
    e = np.maximum(log_evidence(some, DIFFERENCE, 0.0), log_evidence_below(some, DIFFERENCE, 0.0))
    rejected = (e >= np.log(2 / ALPHA))[back].reshape(code.shape)
    return np.where(rejected.any(axis=1), rejected.argmax(axis=1) + 1.0, np.inf)


def mcnemar(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Two-sided exact p-value of each of the counts."""
    worse, told = counts[..., 2], counts[..., 0] + counts[..., 2]
    tail = np.minimum(stats.binom.cdf(worse, told, 0.5), stats.binom.sf(worse - 1, told, 0.5))
    return np.minimum(1.0, 2 * tail)


def pairs_wanted(a: float, b: float, power: float = 0.9) -> int:
    """Smallest number of pairs at which the exact test has this power; by bisection, exact sums."""
    low, high = 1, MOST
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if exact_power(a, b, middle) >= power else (middle + 1, high)
    return low


def exact_power(a: float, b: float, n: int) -> float:
    """P(McNemar's exact test rejects) with n pairs."""
    worse, better = b * (1 - a), a * (1 - b)
    told = np.arange(n + 1)
    weight = stats.binom.pmf(told, n, worse + better)
    most = (
        stats.binom.isf(ALPHA / 2, told, 0.5) + 1
    )  # fewest of `told` that reject: P(X >= most) <= alpha / 2
    share = worse / (worse + better)
    reject = stats.binom.sf(most - 1, told, share) + stats.binom.cdf(told - most, told, share)
    return float((weight * np.where(told > 0, reject, 0.0)).sum())
