"""Intervals: no rate without its n and how far it can be trusted."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.metrics import pair_wins


def wilson(k: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of k events in n trials; (0, 1) when n is 0 (Wilson 1927)."""
    _check_counts(k, n, confidence)
    if n == 0:
        return 0.0, 1.0
    z = float(special.ndtri(0.5 + confidence / 2))
    rate = k / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    low = 0.0 if k == 0 else max(0.0, centre - half)
    high = 1.0 if k == n else min(1.0, centre + half)
    return low, high


def rollouts_to_settle(
    k: float, n: float, rate: float = 0.5, confidence: float = 0.90
) -> int | None:
    """Trials to add to k events in n until the Wilson interval leaves `rate` out, if the share of events stays.

    Wilson's interval inverts the score test: `rate` is outside as soon as n > z^2 rate (1 - rate) / (k/n - rate)^2.

    Returns:
        0 = it is settled; None = nothing was tried, or the share is `rate` itself and never will be.
    """
    _check_counts(k, n, confidence)
    if n == 0 or k / n == rate:
        return None
    z = float(special.ndtri(0.5 + confidence / 2))
    wanted = z * z * rate * (1 - rate) / (k / n - rate) ** 2
    return max(0, math.floor(wanted) + 1 - math.floor(n))


def clopper_pearson(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact binomial interval of k events in n trials; (0, 1) when n is 0 (Clopper and Pearson 1934)."""
    _check_counts(k, n, confidence)
    tail = (1 - confidence) / 2
    low = 0.0 if k == 0 else float(special.betaincinv(k, n - k + 1, tail))
    high = 1.0 if k == n else float(special.betaincinv(k + 1, n - k, 1 - tail))
    return low, high


def beta_interval(
    alpha: ArrayLike, beta: ArrayLike, confidence: float = 0.90
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Equal-tailed intervals of Beta(alpha, beta), element by element, widened to hold the mean.

    Equal tails leave the mean outside when alpha or beta is far below 1; an answer whose interval excludes its own
    estimate helps nobody.
    """
    a, b = np.asarray(alpha, np.float64), np.asarray(beta, np.float64)
    if not (np.all(np.isfinite(a)) and np.all(np.isfinite(b)) and np.all(a > 0) and np.all(b > 0)):
        raise InvalidArgumentError("beta_interval wants finite alpha and beta above 0.")
    tail = (1 - confidence) / 2
    mean = a / (a + b)
    low = np.minimum(special.betaincinv(a, b, tail), mean)
    high = np.maximum(special.betaincinv(a, b, 1 - tail), mean)
    return low, high


def few_groups(groups: int, confidence: float = 0.95) -> float:
    """How much wider a squared interval has to be when its variance comes from so few groups; inf for one.

    Student's quantile for the normal one, squared, times n / (n - 1).
    """
    if groups < 2:
        return math.inf
    t = float(special.stdtrit(groups - 1, 0.5 + confidence / 2))
    z = float(special.ndtri(0.5 + confidence / 2))
    return (t / z) ** 2 * groups / (groups - 1)


def probability_above(k: int, n: int, rate: float) -> float:
    """P(true rate > `rate`) after k events in n trials, uniform prior: the upper tail of Beta(k + 1, n - k + 1)."""
    _check_counts(k, n, 0.5)
    return float(special.betaincc(k + 1, n - k + 1, rate))


def bootstrap_auc_interval(
    scores: ArrayLike,
    failed: ArrayLike,
    rng: np.random.Generator,
    confidence: float = 0.95,
    samples: int = 1000,
) -> tuple[float, float]:
    """Percentile bootstrap of the AUC, failures and successes resampled apart; NaN when one of them is missing.

    Args:
        scores: (N,) larger = riskier.
        failed: (N,) bool.
        rng: of the resampling.
        confidence: of the interval.
        samples: number of resamplings.
    """
    wins = pair_wins(scores, failed)
    failures, successes = wins.shape
    if not failures or not successes:
        return float("nan"), float("nan")
    aucs = resampled_means(wins, rng, samples)
    tail = (1 - confidence) / 2
    low, high = np.quantile(aucs, (tail, 1 - tail))
    return float(low), float(high)


def resampled_means(
    matrix: NDArray[np.float64], rng: np.random.Generator, samples: int = 1000
) -> NDArray[np.float64]:
    """(samples,) means of a (rows, columns) matrix whose rows and columns are drawn anew, with replacement."""
    rows, columns = matrix.shape
    r = rng.multinomial(rows, np.full(rows, 1 / rows), samples)
    c = rng.multinomial(columns, np.full(columns, 1 / columns), samples)
    return np.asarray(np.einsum("bi,bi->b", r @ matrix, c) / matrix.size)


def _check_counts(k: float, n: float, confidence: float) -> None:
    if not 0 <= k <= n or not math.isfinite(n):
        raise InvalidArgumentError(f"{k} events in {n} trials: want 0 <= k <= n.")
    if not 0 < confidence < 1:
        raise InvalidArgumentError(f"confidence {confidence}: want a number between 0 and 1.")
