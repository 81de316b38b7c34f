"""Tests that may be looked at after every rollout and stopped at any time: betting against a mean.

An e-value is the wealth of a gambler who starts with 1 and bets, at odds that are fair or worse if the null is true, that
it is false. By Ville's inequality that wealth ever reaches 1/alpha with probability alpha at most, however often one looks
and whenever one stops. Here the bets are on the mean of outcomes with few values: 0 and 1 (a failure), or -1, 0 and 1 (what
B's failure less A's is on the same scene; without a margin that is a sequential McNemar test).

Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS-B 86 (2024); for outcomes
paired like this also Turner, Ly and Grünwald, "Generic E-variables for exact sequential k-sample tests", JSPI 230 (2024).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robomd_ros.core.errors import InvalidArgumentError

FAILED = (0.0, 1.0)
"""Values of one rollout."""
DIFFERENCE = (-1.0, 0.0, 1.0)
"""Values of a pair: only A failed, both or neither did, only B failed."""

_STAKES = np.arange(1, 65) / 64
"""Shares of the largest stake at which no outcome costs more than everything; the gambler splits the 1 evenly over them."""
_STEPS = 30  # of bisection: below 1e-8
_NOTHING = 1e-300  # what a lost stake of everything leaves: its logarithm, 0 times, is 0


def log_evidence(counts: ArrayLike, values: tuple[float, ...], mean: float) -> NDArray[np.float64]:
    """Log e-value against "the mean is at most `mean`".

    A stake s wins or loses s * (x - mean): fair or worse if the null is true, whatever came before. The wealth of every
    stake is a product over the outcomes, so it depends on how many there were of each value and not on their order.

    Args:
        counts: (..., V) how often each value came.
        values: V possible ones, ascending.
        mean: of the null, from values[0] on and below values[-1].

    Returns:
        (...) natural logarithm of the wealth; reject at level alpha where it reaches log(1 / alpha).
    """
    n = _counts(counts, values)
    if not values[0] <= mean < values[-1]:
        raise InvalidArgumentError(f"mean {mean}: want {values[0]:g} <= mean < {values[-1]:g}.")
    return _log_wealth(n, values, mean)


def log_evidence_below(
    counts: ArrayLike, values: tuple[float, ...], mean: float
) -> NDArray[np.float64]:
    """Log e-value against "the mean is at least `mean`"; as `log_evidence`, mirrored."""
    mirrored = tuple(-v for v in reversed(values))
    return log_evidence(np.flip(np.asarray(counts), axis=-1), mirrored, -mean)


def p_value(log_evidence: float) -> float:
    """Anytime-valid p-value, 1 / e, at most 1."""
    return math.exp(-max(0.0, log_evidence))


def confidence_sequence(
    counts: ArrayLike, values: tuple[float, ...], confidence: float = 0.95
) -> tuple[float, float]:
    """Interval of the mean that holds it at all times at once with the given confidence.

    It holds the means that neither side's gambler has refuted at (1 - confidence) / 2; the whole range without outcomes.
    """
    if not 0 < confidence < 1:
        raise InvalidArgumentError(f"confidence {confidence}: want a number between 0 and 1.")
    n = _counts(counts, values)
    if not n.sum():
        return values[0], values[-1]
    mirrored = tuple(-v for v in reversed(values))
    low = _lowest(n, values, confidence)
    return low, -_lowest(n[::-1], mirrored, confidence)


def _log_wealth(
    n: NDArray[np.float64], values: tuple[float, ...], mean: float
) -> NDArray[np.float64]:
    # At mean = values[0] any stake is safe: take it so large that one win is decisive.
    stakes = _STAKES / max(mean - values[0], 1e-12)
    wealth = np.zeros((*n.shape[:-1], len(stakes)))
    for k, value in enumerate(values):
        left = 1.0 + (value - mean) * stakes
        wealth += n[..., k, None] * np.log(np.maximum(left, _NOTHING))
    top = wealth.max(axis=-1)
    return top + np.log(np.exp(wealth - top[..., None]).mean(axis=-1))


def _lowest(n: NDArray[np.float64], values: tuple[float, ...], confidence: float) -> float:
    """Smallest mean that is not refuted from below; the evidence falls with the mean."""
    wanted = math.log(2.0 / (1.0 - confidence))
    low, high = values[0], float(n @ np.asarray(values) / n.sum())
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if middle < high and float(_log_wealth(n, values, middle)) >= wanted:
            low = middle
        else:
            high = middle
    return low


def _counts(counts: ArrayLike, values: tuple[float, ...]) -> NDArray[np.float64]:
    n = np.asarray(counts, np.float64)
    if n.shape[-1:] != (len(values),) or not np.all(np.isfinite(n)) or np.any(n < 0):
        raise InvalidArgumentError(
            f"counts of shape {n.shape}: want {len(values)} finite numbers from 0 up, one a value {values}."
        )
    return n
