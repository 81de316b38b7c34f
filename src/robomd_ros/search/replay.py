"""A search replayed over a pool of rollouts whose outcomes are known: what would each way of choosing have found?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.search.known import NearestIndex


@dataclass(frozen=True)
class Pool:
    """Conditions with the outcome of one rollout each.

    Attributes:
        points: (N, D) where distances mean difference.
        features: (N, F) what a model of the risk sees.
        failed: (N,).
    """

    points: NDArray[np.float32]
    features: NDArray[np.float32]
    failed: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if not len(self.points) == len(self.features) == len(self.failed):
            raise InvalidArgumentError("points, features and outcomes of a pool: want as many.")

    def __len__(self) -> int:
        return len(self.failed)

    def subset(self, rows: NDArray) -> Pool:
        """Some of the rollouts."""
        return Pool(self.points[rows], self.features[rows], self.failed[rows])


Choose = Callable[
    [Pool, NDArray[np.intp], NDArray[np.intp], int, np.random.Generator], Sequence[int]
]
"""(pool, rows rolled out so far, rows still free, count, rng) -> places in the free rows; outcomes of free rows are not to be looked at."""


def replay(
    pool: Pool,
    choose: Choose,
    budget: int,
    rng: np.random.Generator,
    *,
    initial: Choose | None = None,
    start: int = 10,
    batch: int = 5,
) -> NDArray[np.intp]:
    """Roll out `start` conditions, then `batch` at a time with all earlier outcomes known; the rows in their order.

    Args:
        pool: at least `budget` conditions.
        choose: asked for each batch.
        budget: rollouts in all.
        rng: of the choices.
        initial: of the first ones; None = at random.
        start: how many of them.
        batch: rollouts between two choices.
    """
    if budget > len(pool):
        raise InvalidArgumentError(f"a budget of {budget} in a pool of {len(pool)} rollouts.")
    done = np.zeros(0, np.intp)
    while len(done) < budget:
        free = np.setdiff1d(np.arange(len(pool)), done)
        first = len(done) < start
        wanted = min((start if first else len(done) + batch), budget) - len(done)
        asked = (initial or at_random) if first else choose
        done = np.append(done, free[np.asarray(asked(pool, done, free, wanted, rng), np.intp)])
    return done


def at_random(
    pool: Pool,
    done: NDArray[np.intp],
    free: NDArray[np.intp],
    count: int,
    rng: np.random.Generator,
) -> Sequence[int]:
    """Any of them."""
    return rng.choice(len(free), count, replace=False).tolist()


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        failures: rollouts that failed.
        distinct: of them, farther than the radius from every earlier failure.
        coverage: share of the held-out failing conditions with a found failure within the radius.
    """

    failures: int
    distinct: int
    coverage: float


def found(
    points: NDArray[np.float32], failed: NDArray[np.bool_], heldout: Pool, radius: float
) -> Found:
    """Figures of a search.

    Args:
        points: (M, D) what was rolled out, in that order.
        failed: (M,) outcomes.
        heldout: conditions that the search could not choose.
        radius: conditions nearer than this are variants of one failure.
    """
    failures = points[failed]
    distinct = [
        i
        for i in range(len(failures))
        if not i or NearestIndex(failures[:i]).nearest(failures[i : i + 1])[1][0] > radius
    ]
    failing = heldout.points[heldout.failed]
    covered = 0.0
    if len(failures) and len(failing):
        covered = float((NearestIndex(failures).nearest(failing)[1] <= radius).mean())
    return Found(len(failures), len(distinct), covered)
