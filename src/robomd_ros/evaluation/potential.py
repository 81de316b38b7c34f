"""The paper's three theorems about the search, as measurements (Sec. 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from robomd_ros.core.metrics import entropy
from robomd_ros.search.config import SearchConfig
from robomd_ros.search.env import VirtualRolloutVecEnv
from robomd_ros.search.mdp import Landscape, VirtualRollouts, binary_entropy
from robomd_ros.search.train import make_algorithm, one_thread_and_own_seeds

EPISODES = 512
_SWEEPS = 4000


@dataclass(frozen=True)
class Curve:
    """How a search policy got better.

    Attributes:
        steps: (U,) virtual steps taken before each look, 0 first.
        returns: (U,) mean return of its episodes by Eq. (2) alone, whatever it was trained with.
        finding: (U,) share of its episodes that found a failure.
        boundary: mean H(P(failure)) [nat] of the points it visited at the last look.
    """

    steps: list[int]
    returns: list[float]
    finding: list[float]
    boundary: float


def first_at(steps: Sequence[int], values: Sequence[float], wanted: float) -> float:
    """Steps until a value was first at least this; infinite = never."""
    reached = (float(s) for s, v in zip(steps, values, strict=True) if v >= wanted)
    return next(reached, float("inf"))


def learn(landscape: Landscape, config: SearchConfig, seed: int) -> Curve:
    """Train a search and look at it after every update."""
    plain = replace(config, shaping=False, uncertainty_bonus=0.0)
    looks: list[tuple[int, _Look]] = []

    def look(model: BaseAlgorithm) -> None:
        looks.append((model.num_timesteps, _look(model, landscape, plain)))

    with one_thread_and_own_seeds():
        env = VirtualRolloutVecEnv(landscape, config, endless=config.algorithm == "sac")
        model = make_algorithm(config, env, seed)
        look(model)
        model.learn(config.steps, callback=_AfterUpdate(look))
        look(model)
    steps, seen = [s for s, _ in looks], [x for _, x in looks]
    return Curve(steps, [x.mean for x in seen], [x.failing for x in seen], seen[-1].boundary)


@dataclass(frozen=True)
class _Look:
    mean: float
    failing: float
    boundary: float


def _look(model: BaseAlgorithm, landscape: Landscape, config: SearchConfig) -> _Look:
    """EPISODES episodes of the policy as it draws its actions."""
    batch = VirtualRollouts(landscape, config, EPISODES)
    states, total = batch.reset(), np.zeros(EPISODES)
    alive, failing = np.ones(EPISODES, np.bool_), np.zeros(EPISODES, np.bool_)
    undecided, visits = 0.0, 0
    while alive.any():
        actions, _ = model.predict(states, deterministic=False)
        nearest, _ = landscape.index.nearest(actions[alive])
        undecided += float(binary_entropy(landscape.p_failure[nearest]).sum())
        visits += int(alive.sum())
        states, rewards, failed, truncated = batch.step(actions)
        total += np.where(alive, rewards, 0.0)
        failing |= alive & failed
        alive &= ~(failed | truncated)
    return _Look(float(total.mean()), float(failing.mean()), undecided / visits)


class _AfterUpdate(BaseCallback):
    """Looks at the policy when a new batch of steps begins: after each update."""

    def __init__(self, look: Callable[[BaseAlgorithm], None]) -> None:
        super().__init__()
        self._tell = look

    def _on_rollout_start(self) -> None:
        if self.num_timesteps:
            self._tell(self.model)

    def _on_step(self) -> bool:
        return True


@dataclass(frozen=True)
class Optimum:
    """Theorem 1, solved exactly.

    Attributes:
        same: share of the states whose best actions are the same with and without the potential.
        gap: largest |Q_shaped(s, a) - (Q(s, a) - phi(s))|; 0 in exact arithmetic.
    """

    same: float
    gap: float


def optimum(landscape: Landscape, config: SearchConfig) -> Optimum:
    """Value iteration with and without the potential, where an action is a known point itself.

    The repeat penalty is left out: it depends on more than the state.
    """
    phi, failed = landscape.p_failure, landscape.failed
    reward = np.where(failed, config.failure_reward, -config.success_penalty / config.horizon)
    there = config.gamma * np.where(failed, 0.0, phi)
    plain = _value_iteration(np.tile(reward, (len(phi), 1)), failed, config.gamma)
    shaped = _value_iteration(reward + there - phi[:, None], failed, config.gamma)
    best = [np.isclose(q, q.max(axis=1, keepdims=True), atol=1e-9) for q in (plain, shaped)]
    gap = float(np.abs(shaped - (plain - phi[:, None])).max())
    return Optimum(float((best[0] == best[1]).all(axis=1).mean()), gap)


def _value_iteration(
    reward: NDArray[np.float64], ends: NDArray[np.bool_], gamma: float
) -> NDArray[np.float64]:
    """(M, M) optimal Q of going from one known point to another; going to one in `ends` ends the episode."""
    values = np.zeros(len(reward))
    for _ in range(_SWEEPS):
        q = reward + gamma * np.where(ends, 0.0, values)
        new = q.max(axis=1)
        if np.abs(new - values).max() < 1e-12:
            break
        values = new
    return np.asarray(reward + gamma * np.where(ends, 0.0, values))


def exploration_entropy(visited: NDArray[np.intp]) -> float:
    """Entropy [nat] of how often each of the catalogue's variations was proposed (paper, Sec. 4.2)."""
    _, counts = np.unique(visited, return_counts=True)
    return entropy(counts / counts.sum())
