"""What demonstrations do to failures, as far as fine-tunings that were measured tell.

A condition that fails with probability p before fails afterwards with

    q = p * left + (1 - p) * harm,    left = base * (1 + own)^-a * (1 + kin)^-b

where `own` demonstrations were made under it, and `kin` under other values of the same factor. `base` is what a fine-tuning
without any demonstration here leaves; `harm` is the price: successes that become failures. The five numbers (with `strength`,
how far single conditions scatter) are fitted by the beta-binomial likelihood of the counts after fine-tuning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from robomd_ros.core.errors import InvalidArgumentError, NotReadyError

Floats = NDArray[np.float64]

MIN_MEASURED = 20
"""Conditions below which nothing is fitted: one fine-tuning over the catalogue has more."""


@dataclass(frozen=True)
class Measured:
    """One condition of one fine-tuning.

    Attributes:
        before, before_n: failures and rollouts of the old policy.
        after, after_n: of the new one.
        own: demonstrations made under this condition.
        kin: under other values of its factor.
    """

    before: int
    before_n: int
    after: int
    after_n: int
    own: int
    kin: int


@dataclass(frozen=True)
class Effect:
    """The law above.

    Attributes:
        base, a, b, harm: of the law.
        strength: of the beta distribution around q [rollouts]; small = conditions scatter widely.
        source: the fine-tunings behind it, in words.
    """

    base: float
    a: float
    b: float
    harm: float
    strength: float
    source: str

    def __post_init__(self) -> None:
        numbers = (self.base, self.a, self.b, self.harm, self.strength)
        known = all(isinstance(x, int | float) and math.isfinite(x) for x in numbers)
        if not known or min(numbers) < 0 or self.harm > 1 or self.strength <= 0:
            raise InvalidArgumentError(
                f"{self}: want numbers from 0 on, harm at most 1, strength above 0."
            )

    def after(self, p: ArrayLike, own: ArrayLike, kin: ArrayLike) -> Floats:
        """Expected P(failure) afterwards; arguments broadcast.

        Args:
            p: before.
            own: demonstrations under the condition.
            kin: under other values of its factor.
        """
        left = self.base * (1.0 + np.asarray(own)) ** -self.a * (1.0 + np.asarray(kin)) ** -self.b
        chance = np.asarray(p, np.float64)
        return chance * np.minimum(left, 1.0) + (1.0 - chance) * self.harm

    def draw(self, q: Floats, rng: np.random.Generator) -> Floats:
        """Failure rates that single conditions of expected rates q may really come to."""
        mean = np.clip(q, 1e-4, 1.0 - 1e-4)
        return rng.beta(self.strength * mean, self.strength * (1.0 - mean))

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def fit_effect(measured: Sequence[Measured], source: str) -> Effect:
    """The most likely law.

    Raises:
        NotReadyError: too few conditions.
    """
    if len(measured) < MIN_MEASURED:
        raise NotReadyError(
            f"{len(measured)} measured conditions: the effect of demonstrations wants at least {MIN_MEASURED}."
        )
    columns = np.array([tuple(asdict(m).values()) for m in measured], np.float64).T
    before, before_n, after, after_n, own, kin = columns
    p = (before + 0.5) / (before_n + 1.0)

    def unlikely(x: Floats) -> float:
        law = _law(x, source)
        q = np.clip(law.after(p, own, kin), 1e-4, 1 - 1e-4)
        alpha, beta = law.strength * q, law.strength * (1 - q)
        together = special.betaln(after + alpha, after_n - after + beta)
        # a faint pull to the start: one fine-tuning does not tell everything
        return float(
            np.sum(special.betaln(alpha, beta) - together) + 0.02 * np.sum((x - start) ** 2)
        )

    start = np.log([0.7, 0.5, 0.1, 0.02, 8.0])
    found = optimize.minimize(unlikely, start, method="Nelder-Mead", options={"maxiter": 4000})
    return _law(found.x, source)


def expected_rate(
    law: Effect, run: Sequence[Measured], rng: np.random.Generator, confidence: float = 0.90
) -> tuple[float, float, float]:
    """Failure rate over all conditions of a fine-tuning that is to come: mean, and the ends of its interval.

    Args:
        law: of other fine-tunings.
        run: counts before, demonstrations, and how many rollouts there will be after; `after` is not looked at.
        rng: of the draws.
        confidence: of the interval.
    """
    columns = np.array([tuple(asdict(m).values()) for m in run], np.float64).T
    before, before_n, _, after_n, own, kin = columns
    draws = 2000
    now = rng.beta(before + 0.5, before_n - before + 0.5, (draws, len(run)))
    then = law.draw(law.after(now, own, kin), rng)
    rates = rng.binomial(after_n.astype(int), then).sum(axis=1) / after_n.sum()
    tail = (1 - confidence) / 2
    low, high = np.quantile(rates, (tail, 1 - tail))
    return float(rates.mean()), float(low), float(high)


def _law(x: Floats, source: str) -> Effect:
    base, a, b, harm, strength = (float(v) for v in np.exp(np.clip(x, -7.0, 4.0)))
    return Effect(min(base, 1.0), min(a, 4.0), min(b, 4.0), min(harm, 0.5), strength, source)


ASSUMED = Effect(
    base=0.7,
    a=0.5,
    b=0.1,
    harm=0.02,
    strength=8.0,
    source="an assumption: one fine-tuning of a prototype (75 demonstrations under three variations of Lift took the failures "
    "over 21 from 0.30 to 0.11)",
)
"""Before anything was measured: the fine-tunings of the evaluation were planned with it."""

SHIPPED = Effect(
    base=0.70,
    a=0.40,
    b=0.09,
    harm=0.06,
    strength=2.2,
    source="ten fine-tunings of the shipped policy on Lift (docs/RESULTS.md)",
)
"""What `robomd evaluate finetuning` measured, fitted: expected wherever nothing of one's own was measured."""
