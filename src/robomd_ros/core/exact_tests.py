"""Two policies at a number of rollouts fixed beforehand: exact tests, intervals of the difference, Holm's correction.

Differences are B's failure rate less A's. All of it is for one look at the data; `core.sequential` may be looked at always.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.statistics import wilson

_NORMAL = NormalDist()
_STEPS = 40


@dataclass(frozen=True)
class Table:
    """Failures and rollouts of A and B under one condition."""

    failures_a: int
    n_a: int
    failures_b: int
    n_b: int

    def __post_init__(self) -> None:
        if not (0 <= self.failures_a <= self.n_a and 0 <= self.failures_b <= self.n_b):
            raise InvalidArgumentError(f"{self}: want 0 <= failures <= rollouts.")


def sign_flip(sums: Iterable[int]) -> tuple[float, float]:
    """Exact p-values of pairs that come in independent clusters (same seed), by turning the sign of each cluster.

    If A and B are alike, then within each cluster A's and B's outcomes could as well be swapped. With one pair a cluster
    this is McNemar's exact test.

    Args:
        sums: of each cluster, pairs in which only B failed less pairs in which only A did.

    Returns:
        P(a total at least as large), P(one at most as large).
    """
    steps = [s for s in sums if s]
    size = sum(map(abs, steps))
    p = np.zeros(2 * size + 1)  # of the totals -size .. size
    p[size] = 1.0
    for s in map(abs, steps):
        p = (
            np.roll(p, s) + np.roll(p, -s)
        ) / 2  # nothing wraps: totals reach the ends with the last step
    return _tails(p, size + sum(steps))


def stratified_fisher(tables: Sequence[Table]) -> tuple[float, float]:
    """Exact conditional test of tables that share one direction; Fisher's where there is one (Mantel-Haenszel's exact form).

    Given the margins of each table, B's failures are hypergeometric if A and B are alike; their sum is a convolution.

    Returns:
        P(at least as many failures of B), P(at most as many).
    """
    p, at = np.ones(1), 0
    for t in tables:
        n, failures = t.n_a + t.n_b, t.failures_a + t.failures_b
        least, most = max(0, failures - t.n_a), min(failures, t.n_b)
        ways = [
            math.comb(failures, k) * math.comb(n - failures, t.n_b - k)
            for k in range(least, most + 1)
        ]
        p = np.convolve(p, [w / math.comb(n, t.n_b) for w in ways])
        at += t.failures_b - least
    return _tails(p, at)


def tango_z(worse: float, better: float, n: float, difference: float) -> float:
    """Score statistic of paired outcomes against a difference of failure rates (Tango, Stat. Med. 17, 1998).

    Args:
        worse: pairs in which only B failed.
        better: pairs in which only A failed.
        n: all pairs.
        difference: of the null, between -1 and 1.

    Returns:
        Normal deviate, positive where more than `difference` was seen; 0 without pairs.
    """
    if n <= 0:
        return 0.0
    # q: the most likely P(only A fails) if P(only B fails) = q + difference, root of 2n q^2 - linear q - constant = 0
    linear = (worse + better) * (1 - difference) - 2 * difference * (n - worse)
    constant = better * difference * (1 - difference)
    root = math.sqrt(max(0.0, linear * linear + 8 * n * constant))
    q = max(0.0, -difference, (linear + root) / (4 * n))
    variance = n * (2 * q + difference * (1 - difference))
    gap = worse - better - n * difference
    if variance > 1e-12:
        return gap / math.sqrt(variance)
    return math.copysign(math.inf, gap) if abs(gap) > 1e-9 else 0.0


def tango_interval(
    worse: float, better: float, n: float, confidence: float = 0.95
) -> tuple[float, float]:
    """Score interval of the difference of paired failure rates; (-1, 1) when n is 0."""
    if n <= 0:
        return -1.0, 1.0
    z = _NORMAL.inv_cdf(0.5 + confidence / 2)
    at = (worse - better) / n
    low = _last(lambda d: tango_z(worse, better, n, d) > z, -1.0, at)
    return low, -_last(lambda d: tango_z(better, worse, n, d) > z, -1.0, -at)


def newcombe_interval(
    tables: Sequence[Table], confidence: float = 0.95
) -> tuple[float, float, float]:
    """Difference of the failure rates of independent samples with its interval, (-1, 1) without rollouts.

    Wilson's limits of the two rates, squared and added (Newcombe, Stat. Med. 17, 1998, method 10). Several tables: their
    rates are averaged with Mantel-Haenszel weights, at the number of rollouts that would leave the same variance.

    Returns:
        Difference, low, high.
    """
    used = [t for t in tables if t.n_a and t.n_b]
    if not used:
        return math.nan, -1.0, 1.0
    weights = np.array([t.n_a * t.n_b / (t.n_a + t.n_b) for t in used])
    weights /= weights.sum()
    a, a_low, a_high = _weighted(weights, [(t.failures_a, t.n_a) for t in used], confidence)
    b, b_low, b_high = _weighted(weights, [(t.failures_b, t.n_b) for t in used], confidence)
    low = b - a - math.hypot(b - b_low, a_high - a)
    high = b - a + math.hypot(b_high - b, a - a_low)
    return b - a, low, high


def p_below(upper: Callable[[float], float], margin: float) -> float:
    """Smallest one-sided level at which an upper limit lies below `margin`.

    Args:
        upper: limit of the two-sided interval of a given confidence, rising with it.
        margin: that it has to stay below.
    """
    z = _last(lambda deviate: upper(2 * _NORMAL.cdf(deviate) - 1) < margin, 1e-3, 8.0)
    return 1 - _NORMAL.cdf(z) if z > 2e-3 else 1.0


def normal_tail(z: float) -> float:
    """P(a standard normal lies below z)."""
    return _NORMAL.cdf(z) if math.isfinite(z) else float(z > 0)


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """P-values adjusted for their number: those at most alpha hold together at level alpha (Holm 1979).

    Valid however the tests depend on each other, and for anytime-valid p-values at any time.
    """
    values = np.asarray(p, np.float64)
    if values.ndim != 1 or not np.all((values >= 0) & (values <= 1)):
        raise InvalidArgumentError("p-values: want a vector of numbers in 0..1, no NaN.")
    order = np.argsort(values, kind="stable")
    scaled = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(scaled)) if len(values) else scaled
    return adjusted


def _tails(p: NDArray[np.float64], at: int) -> tuple[float, float]:
    return min(1.0, float(p[at:].sum())), min(1.0, float(p[: at + 1].sum()))


def _weighted(
    weights: NDArray[np.float64], counts: Sequence[tuple[int, int]], confidence: float
) -> tuple[float, float, float]:
    """Weighted rate and its Wilson limits at the effective number of rollouts."""
    n = np.array([n for _, n in counts], np.float64)
    rate = float(weights @ (np.array([k for k, _ in counts]) / n))
    effective = float(1 / (weights**2 @ (1 / n)))
    return rate, *wilson(min(rate * effective, effective), effective, confidence)


def _last(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Largest number from low to high up to which `holds` is true, to 1e-11."""
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
