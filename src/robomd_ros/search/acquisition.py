"""Which conditions to roll out next, from points, what was tried there and what is predicted: no catalogue, no model.

A search is worth what its failures tell: a failure among others that were found already tells little, one that is far from
them, or near to much that will probably fail, tells more. So a candidate's score is P(failure) times the worth of a failure
there; a batch is chosen greedily, each choice counted as done.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.search.known import NearestIndex

Points = NDArray[np.float32]
_REACHED_BY, _REACHED_SHARE = 25, 0.5
_STEEPNESS = 8.0
_SURE = 0.02
APART = 0.05
"""Conditions nearer than this are the same scene to the eye: never two of them in one choice."""
BY_CHANCE = 0.25
"""Part of what is rolled out to learn that is left to chance."""
_FAR = 1e3  # stands for "nothing was tried": no distance in a space of -1..1 comes near


@dataclass(frozen=True)
class Board:
    """What is known when a choice is made.

    Attributes:
        points: (N, D) candidates, equally far = equally different.
        p_failure: (N,) predicted.
        tried: (M, D) what was rolled out or is planned; M may be 0.
        failed: (M,) whether it was seen failing.
        radius: conditions nearer than this are variants of one failure.
    """

    points: Points
    p_failure: NDArray[np.float64]
    tried: Points
    failed: NDArray[np.bool_]
    radius: float

    def __post_init__(self) -> None:
        if len(self.p_failure) != len(self.points) or len(self.failed) != len(self.tried):
            raise InvalidArgumentError(
                f"{len(self.points)} points with {len(self.p_failure)} predictions and {len(self.tried)} tried with "
                f"{len(self.failed)} outcomes: want as many."
            )

    def novelty(self) -> NDArray[np.float64]:
        """(N,) distance to everything tried."""
        return _distance_to(self.tried, self.points)


@dataclass(frozen=True)
class Worth:
    """What a failure at a candidate is worth: a sum of three parts, each 0 to about 1.

    Attributes:
        distinct: of being farther than the radius from every failure found.
        reach: of the predicted failures within the radius that no found failure is near to.
        novelty: of the distance to everything tried, in radii, at most 1.5.
        caution: exponent of P(failure): above 1 = rather the sure ones.
    """

    distinct: float = 1.3
    reach: float = 0.5
    novelty: float = 0.75
    caution: float = 1.5


def radius_of(points: Points, rng: np.random.Generator) -> float:
    """The radius within which half of random conditions have one of 25 others: a scale that no outcome decides.

    Args:
        points: (N, D) random conditions; one alone has no scale: 1.
        rng: of the 25.
    """
    if len(points) < 2:
        return 1.0
    order = rng.permutation(len(points))
    some = min(_REACHED_BY, max(1, len(points) // 2))
    _, nearest = NearestIndex(points[order[:some]]).nearest(points[order[some:]])
    return float(np.quantile(nearest, _REACHED_SHARE))


def hunt(board: Board, count: int, worth: Worth | None = None) -> list[tuple[int, float]]:
    """Choose candidates that probably fail and would tell most: (index, score), best first."""
    w = worth or Worth()
    risk = np.clip(board.p_failure, 0.0, 1.0)
    alike = _alike(NearestIndex(board.points).distances(board.points), board.radius)
    away = _distance_to(board.tried[board.failed], board.points)
    unreached = _unreached(board)
    pick = _Pick(board, count)
    while pick.open:
        reach = alike @ (risk * unreached)
        value = (
            w.distinct * (1.0 - _alike(away, board.radius))
            + w.reach * float(risk.max()) * reach / max(float(reach.max()), 1e-12)
            + w.novelty * np.minimum(pick.novelty / board.radius, 1.5)
        )
        best, gap = pick.take(risk**w.caution * value)
        unreached *= 1.0 - risk[best] * alike[best]
        # It will fail with P = risk, and only a failure makes those around it less distinct.
        away = np.minimum(away, np.maximum(gap, 2.0 * board.radius * (1.0 - risk[best])))
    return pick.chosen


def teach(
    board: Board,
    covariance: NDArray[np.float64],
    count: int,
    rng: np.random.Generator,
    by_chance: float = BY_CHANCE,
) -> list[tuple[int, float]]:
    """Choose candidates whose outcomes tell most about all of them: (index, variance they take away), best first.

    Bayesian experimental design: the variance of P(failure), summed over the candidates, that one more outcome takes away.
    That of P(failure) is (p (1 - p))^2 times that of the latent risk, to the first order: what is nearly sure to fail need
    not be known any better. An outcome at risk p is worth as much as a measurement of the latent risk with variance
    1 / (p (1 - p)) (Laplace's approximation): it teaches little, too. A part is left to chance: length-scales that are learnt
    from nothing but chosen rollouts are one-sided.

    Args:
        board: what is known.
        covariance: (N, N) of the candidates' latent risk (logit of P(failure)) given all outcomes so far.
        count: how many.
        rng: of chance.
        by_chance: part of the choices that chance makes; their variance is given as 0.
    """
    left = np.array(covariance, np.float64)
    p = np.clip(board.p_failure, _SURE, 1.0 - _SURE)
    slope = p * (1.0 - p)
    noise = 1.0 / slope
    pick = _Pick(board, count)
    while pick.open:
        taken = np.square(left) @ np.square(slope) / (left.diagonal() + noise)
        chance = rng.random() < by_chance
        best, _ = pick.take(
            rng.random(len(taken)) if chance else taken, worth=0.0 if chance else None
        )
        left -= np.outer(left[:, best], left[best]) / (left[best, best] + noise[best])
    return sorted(pick.chosen, key=lambda choice: -choice[1])


def risk_times_novelty(board: Board, count: int) -> list[tuple[int, float]]:
    """The plain rule that `hunt` has to beat: P(failure) times the distance to everything tried."""
    return greedy(board, board.p_failure, count)


def greedy(
    board: Board, value: NDArray[np.float64], count: int, saturate: float = math.inf
) -> list[tuple[int, float]]:
    """Largest value x novelty, where novelty is the distance to all tried and all chosen, at most `saturate` radii."""
    pick, most = _Pick(board, count), min(saturate * board.radius, _FAR)
    while pick.open:
        pick.take(value * np.minimum(pick.novelty, most))
    return pick.chosen


class _Pick:
    """One choice after the other; none that is nearly alike to another or, while there are others, to what was tried."""

    def __init__(self, board: Board, count: int) -> None:
        self.novelty = board.novelty()
        self.chosen: list[tuple[int, float]] = []
        self._points, self._count = board.points, count
        self._free = self.novelty > APART
        if self._free.sum() < count:
            self._free[:] = True

    @property
    def open(self) -> bool:
        """More are wanted, and there are some."""
        return len(self.chosen) < self._count and bool(self._free.any())

    def take(
        self, score: NDArray[np.float64], worth: float | None = None
    ) -> tuple[int, NDArray[np.float64]]:
        """Take the free one of the largest score and note its score, or `worth`; its index and all distances to it, (N,)."""
        best = int(np.argmax(np.where(self._free, score, -math.inf)))
        self.chosen.append((best, float(score[best]) if worth is None else worth))
        gap = np.linalg.norm(self._points - self._points[best], axis=1).astype(np.float64)
        self.novelty = np.minimum(self.novelty, gap)
        self._free &= gap > APART
        return best, gap


def without(board: Board, keep: NDArray[np.bool_]) -> Board:
    """The board with some of its candidates only."""
    return replace(board, points=board.points[keep], p_failure=board.p_failure[keep])


def _unreached(board: Board) -> NDArray[np.float64]:
    """(N,) how little a found failure is near to each candidate: 1 = none."""
    left = np.ones(len(board.points))
    for failure in board.tried[board.failed]:
        left *= 1.0 - _alike(np.linalg.norm(board.points - failure, axis=1), board.radius)
    return left


def _alike(distance: NDArray, radius: float) -> NDArray[np.float64]:
    """1 nearby, 1/2 at the radius, 0 far away."""
    scaled = np.asarray(distance, np.float64) / max(radius, 1e-9)
    return np.asarray(1.0 / (1.0 + scaled**_STEEPNESS))


def _distance_to(places: Points, points: Points) -> NDArray[np.float64]:
    if not len(places):
        return np.full(len(points), _FAR)
    return NearestIndex(places).nearest(points)[1].astype(np.float64)
