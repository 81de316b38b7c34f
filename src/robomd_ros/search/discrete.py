"""The special case of known candidates: actions are the finite catalogue, variations accumulate until a failure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robomd_ros.core.baselines import SuccessTable
from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.variations import Perturbation
from robomd_ros.search.config import SearchConfig
from robomd_ros.search.env import BatchedVecEnv

SetOutcome = Callable[[NDArray[np.bool_]], NDArray[np.float64]]
"""(N, A) applied variations -> P(failure) of each set, (N,)."""


class KnownSetOutcome:
    """P(failure) of accumulated sets: the rate of exactly this set where it was rolled out, else the success table."""

    def __init__(
        self,
        actions: Sequence[Perturbation],
        perturbations: Sequence[Perturbation],
        failed: NDArray[np.bool_],
    ) -> None:
        table = SuccessTable(perturbations, failed)
        self._survives = np.log1p(-np.clip(table.predict(actions), 0.0, 1 - 1e-9))
        position = {a.ids[0]: i for i, a in enumerate(actions)}
        counts: dict[bytes, list[int]] = {}
        for perturbation, fails in zip(perturbations, failed, strict=True):
            if all(i in position for i in perturbation.ids):
                applied = np.zeros(len(actions), np.bool_)
                applied[[position[i] for i in perturbation.ids]] = True
                tally = counts.setdefault(applied.tobytes(), [0, 0])
                tally[0] += int(fails)
                tally[1] += 1
        self._known = {key: (k + 0.5) / (n + 1.0) for key, (k, n) in counts.items()}

    def __call__(self, applied: NDArray[np.bool_]) -> NDArray[np.float64]:
        """P(failure) of each row's set."""
        p = 1.0 - np.exp(applied @ self._survives)
        return np.array(
            [self._known.get(row.tobytes(), q) for row, q in zip(applied, p, strict=True)]
        )


class CatalogueRollouts:
    """N virtual sequences of variations stepped together; a factor set anew replaces its earlier value."""

    def __init__(
        self,
        actions: Sequence[Perturbation],
        outcome: SetOutcome,
        config: SearchConfig,
        count: int,
        rng: np.random.Generator,
    ) -> None:
        if not actions or any(len(a.variations) != 1 for a in actions):
            raise InvalidArgumentError(
                "the discrete search wants single variations as its actions."
            )
        self.count, self._outcome, self._config, self._rng = count, outcome, config, rng
        factors = np.array([a.variations[0].factor for a in actions])
        self._same_factor = factors[:, None] == factors[None, :]
        self._applied = np.zeros((count, len(actions)), np.bool_)
        self._last = np.full(count, -1)
        self._repeats = np.zeros(count)
        self._length = np.zeros(count, np.int64)

    def reset(self, which: NDArray[np.bool_] | slice = slice(None)) -> NDArray[np.float32]:
        """Begin new episodes with nothing applied; states (N, A) in 0 and 1."""
        self._applied[which] = False
        self._last[which] = -1
        self._repeats[which] = 0
        self._length[which] = 0
        return self._applied.astype(np.float32)

    def step(self, actions: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        """Apply one more variation each: states (N, A), rewards (N,), failed (N,), truncated (N,).

        Eq. (2) with p = 0: C_failure - k N(a) on a failure, -C_success / T - k N(a) on a success.
        """
        chosen = np.array(actions, np.intp).reshape(self.count)  # a copy: `reset` writes into it
        self._applied &= ~self._same_factor[chosen]
        self._applied[np.arange(self.count), chosen] = True
        failed = self._rng.random(self.count) < self._outcome(self._applied)
        self._repeats = np.where(chosen == self._last, self._repeats + 1, 0)
        self._last = chosen
        self._length += 1
        c = self._config
        reward = np.where(failed, c.failure_reward, -c.success_penalty / c.horizon)
        reward = (reward - c.repeat_penalty * self._repeats).astype(np.float32)
        truncated = ~failed & (self._length >= c.max_episode)
        return self._applied.astype(np.float32), reward, failed, truncated


class CatalogueVecEnv(BatchedVecEnv):
    """The discrete search as a stable-baselines3 VecEnv."""

    def __init__(self, batch: CatalogueRollouts, actions: int) -> None:
        super().__init__(
            batch, spaces.Box(0.0, 1.0, (actions,), np.float32), spaces.Discrete(actions)
        )
