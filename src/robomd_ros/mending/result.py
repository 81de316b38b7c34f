"""What a fine-tuning came to: both policies on the same scenes, and what is left of all failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from robomd_ros.core.comparison import Comparison, compare
from robomd_ros.core.pairing import Pair, match, trials
from robomd_ros.core.records import RolloutRecord
from robomd_ros.mending.effect import Measured

_RESAMPLES = 4000


@dataclass(frozen=True)
class Mended:
    """Before (A) and after (B).

    Attributes:
        comparison: condition by condition and overall, corrected for their number.
        demos: made under each condition, by its id.
        ratio: failure rate after / before: estimate, low and high end of a 95 % interval, scenes resampled; NaN where
            nothing failed before.
    """

    comparison: Comparison
    demos: Mapping[str, int]
    ratio: tuple[float, float, float]


def mended(
    before: Sequence[RolloutRecord], after: Sequence[RolloutRecord], demos: Mapping[str, int]
) -> Mended:
    """Compare.

    Args:
        before: rollouts of the old policy.
        after: of the new one.
        demos: made under each condition, by its id.

    Raises:
        InvalidArgumentError: no condition in common.
    """
    old, new = trials(before), trials(after)
    return Mended(compare(old, new), demos, failures_left(match(old, new)))


def failures_left(pairs: Sequence[Pair]) -> tuple[float, float, float]:
    """B's failures / A's with a 95 % bootstrap interval over scenes: all conditions of a scene stay together."""
    _, scene = np.unique([p.seed for p in pairs], return_inverse=True)
    sums = np.zeros((len(set(scene)), 2))
    np.add.at(sums, scene, np.array([(p.a_failed, p.b_failed) for p in pairs], float))
    total = sums.sum(axis=0)
    if not total[0]:
        return float("nan"), float("nan"), float("nan")
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), _RESAMPLES) @ sums
    low, high = np.quantile(drawn[:, 1] / np.maximum(drawn[:, 0], 1), (0.025, 0.975))
    return float(total[1] / total[0]), float(low), float(high)


def measured(found: Mended, factors: Mapping[str, Sequence[str]]) -> list[Measured]:
    """What demonstrations did to each condition.

    Args:
        found: of one fine-tuning.
        factors: that each condition changes, by its id.
    """
    rows = found.comparison.rows

    def kin(name: str) -> int:
        alike = [r.name for r in rows if r.name != name and factors[r.name] == factors[name] != []]
        return sum(found.demos.get(other, 0) for other in alike)

    return [
        Measured(r.failures_a, r.n_a, r.failures_b, r.n_b, found.demos.get(r.name, 0), kin(r.name))
        for r in rows
    ]
