"""Virtual rollouts: the MDP of the paper's Sec. 3.3 over the frozen known embeddings, many at once.

State: an embedding. Action: a point of the same space. The known embedding nearest to the point gives the outcome and is
the next state. An episode ends at a failure. No robot and no simulator takes part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.search.config import SearchConfig
from robomd_ros.search.known import Floats, KnownSet, NearestIndex, Projection

_NEIGHBOURS = 10


@dataclass(frozen=True)
class Landscape:
    """What the virtual rollouts move over, in the unit of the search space.

    Attributes:
        index: the known points, (M, d).
        failed: (M,) bool.
        start: (d,) first state of every episode.
        p_failure: (M,) how likely each known point fails, for the potential and the uncertainty.
    """

    index: NearestIndex
    failed: NDArray[np.bool_]
    start: Floats
    p_failure: NDArray[np.float64]

    @property
    def dim(self) -> int:
        """Dimensions of a state and of an action."""
        return self.index.points.shape[1]

    @classmethod
    def from_known(
        cls, known: KnownSet, projection: Projection, logits: NDArray | None = None
    ) -> Landscape:
        """Project the known set.

        Args:
            known: rollouts and their outcomes.
            projection: to the space of the search.
            logits: (M,) failure logits of the embedding's head; without them the classes' distances decide.
        """
        index = NearestIndex(projection.apply(known.embeddings))
        if logits is None:
            p_failure = _nearness_to_failures(index, known.failed)
        elif np.shape(logits) != known.failed.shape:
            raise InvalidArgumentError(
                f"{np.shape(logits)} logits for {len(known)} known rollouts."
            )
        else:
            p_failure = expit(np.asarray(logits, np.float64))
        return cls(index, known.failed, projection.apply(known.start()[None])[0], p_failure)


class VirtualRollouts:
    """N virtual rollouts stepped together with one nearest-neighbour call."""

    def __init__(self, landscape: Landscape, config: SearchConfig, count: int) -> None:
        self.landscape, self.config, self.count = landscape, config, count
        # phi is high where the policy fails, so that gamma*phi(s') - phi(s) draws the search there.
        self._potential = landscape.p_failure.astype(np.float32)
        self._entropy = binary_entropy(landscape.p_failure).astype(np.float32)
        nearest_start, _ = landscape.index.nearest(landscape.start[None])
        self._start_potential = float(self._potential[nearest_start[0]])
        self._last = np.full(count, -1)  # index of the current known point, -1 = at the start
        self._repeats = np.zeros(count, np.float32)
        self._length = np.zeros(count, np.int64)

    def reset(self, which: NDArray[np.bool_] | slice = slice(None)) -> Floats:
        """Begin new episodes and return all states, (N, d)."""
        self._last[which] = -1
        self._repeats[which] = 0
        self._length[which] = 0
        return self.states()

    def states(self) -> Floats:
        """Current states, (N, d)."""
        points = self.landscape.index.points
        return np.where(self._last[:, None] < 0, self.landscape.start, points[self._last])

    def step(self, actions: NDArray) -> tuple[Floats, Floats, NDArray[np.bool_], NDArray[np.bool_]]:
        """One virtual step of every rollout; finished ones stay where they ended until `reset`.

        Args:
            actions: (N, d) points of the search space.

        Returns:
            states (N, d), rewards (N,), failed (N,), truncated (N,).
        """
        nearest, distance = self.landscape.index.nearest(actions)
        failed = self.landscape.failed[nearest]
        self._repeats = np.where(nearest == self._last, self._repeats + 1, 0).astype(np.float32)
        reward = self._reward(distance, failed)
        if self.config.shaping:
            reward += self._shaping(nearest, failed)
        if self.config.uncertainty_bonus:
            reward += self.config.uncertainty_bonus * self._entropy[nearest]
        self._last = nearest
        self._length += 1
        truncated = ~failed & (self._length >= self.config.max_episode)
        return self.states(), reward, failed, truncated

    def _reward(self, distance: Floats, failed: NDArray[np.bool_]) -> Floats:
        """Eq. (2): C_failure / (p + 1) - k N(a) on a failure, -C_success / (T (p + 1)) - k N(a) on a success.

        N(a) counts the hits of the same known point in a row before this one.
        """
        c = self.config
        p = c.distance_weight * distance
        on_failure = c.failure_reward / (p + 1.0)
        on_success = -c.success_penalty / (c.horizon * (p + 1.0))
        reward = np.where(failed, on_failure, on_success) - c.repeat_penalty * self._repeats
        return reward.astype(np.float32)

    def _shaping(self, nearest: NDArray[np.intp], failed: NDArray[np.bool_]) -> Floats:
        """F(s, s') = gamma phi(s') - phi(s) with phi = 0 at the end of an episode (Ng et al. 1999)."""
        here = np.where(self._last < 0, self._start_potential, self._potential[self._last])
        there = np.where(failed, 0.0, self._potential[nearest])
        return (self.config.gamma * there - here).astype(np.float32)


def _nearness_to_failures(index: NearestIndex, failed: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(M,) share of failures among the nearest other known points."""
    neighbours = min(_NEIGHBOURS, len(failed) - 1)
    if neighbours < 1:
        return failed.astype(np.float64)
    distances = index.distances(index.points)
    np.fill_diagonal(distances, np.inf)
    nearest = np.argpartition(distances, neighbours - 1, axis=1)[:, :neighbours]
    return failed[nearest].mean(axis=1)


def binary_entropy(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """H(p) [nat]."""
    q = np.clip(p, 1e-12, 1 - 1e-12)
    return -(q * np.log(q) + (1 - q) * np.log(1 - q))
