"""The virtual rollouts as environments: batched for stable-baselines3, single for gymnasium."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from robomd_ros.search.config import SearchConfig
from robomd_ros.search.mdp import Landscape, VirtualRollouts


class Batch(Protocol):
    """N rollouts stepped together: `VirtualRollouts` or `CatalogueRollouts`."""

    count: int

    def reset(self, which: NDArray[np.bool_] | slice = ...) -> NDArray:
        """Begin new episodes and return all states."""

    def step(self, actions: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        """One step: states, rewards, failed, truncated."""


class BatchedVecEnv(VecEnv):
    """A stable-baselines3 VecEnv around one batch; no processes, no loop over environments but for the infos.

    With `endless` a failure or the time limit leads back to the start without ending anything. SAC needs it: its
    entropy bonus is paid a step, so that an episode which a failure ends earns less of it than one that never fails,
    and the policy learns to avoid what it is to find.
    """

    def __init__(
        self,
        batch: Batch,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        endless: bool = False,
    ) -> None:
        self.render_mode = None
        super().__init__(batch.count, observation_space, action_space)
        self._batch = batch
        self._endless = endless
        self._actions: NDArray = np.zeros(0)
        self._returns = np.zeros(batch.count)
        self._lengths = np.zeros(batch.count, np.int64)
        self._born = time.monotonic()

    def reset(self) -> NDArray:
        """Begin all episodes; states (N, ...)."""
        self._returns[:], self._lengths[:] = 0, 0
        return self._batch.reset()

    def step_async(self, actions: NDArray) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Step all; ended episodes begin anew, their last state is in `terminal_observation`."""
        states, rewards, failed, truncated = self._batch.step(self._actions)
        done = failed | truncated
        self._returns += rewards
        self._lengths += 1
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for i in np.flatnonzero(done):
            infos[i] = {
                "terminal_observation": states[i].copy(),
                "TimeLimit.truncated": bool(truncated[i]),
                "episode": self._episode(i),
            }
        if done.any():
            self._returns[done], self._lengths[done] = 0, 0
            states = self._batch.reset(done)
        return states, rewards, done & (not self._endless), infos

    def close(self) -> None:
        """Nothing is held."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The same attribute for every environment."""
        return [getattr(self, attr_name)] * len(list(self._indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set it for all of them: they are one object."""
        setattr(self, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of this object once, answer it for every environment."""
        answer = getattr(self, method_name)(*method_args, **method_kwargs)
        return [answer] * len(list(self._indices(indices)))

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper], indices: Any = None
    ) -> list[bool]:
        """Never wrapped; episode returns are reported as a Monitor would."""
        return [False] * len(list(self._indices(indices)))

    def _episode(self, i: int) -> dict[str, float]:
        """What a Monitor would report of an ended episode."""
        age = time.monotonic() - self._born
        return {"r": float(self._returns[i]), "l": int(self._lengths[i]), "t": age}

    def _indices(self, indices: int | Sequence[int] | None) -> Iterable[int]:
        return self._get_indices(indices)


class VirtualRolloutVecEnv(BatchedVecEnv):
    """N virtual rollouts over one landscape."""

    def __init__(
        self,
        landscape: Landscape,
        config: SearchConfig,
        count: int | None = None,
        endless: bool = False,
    ) -> None:
        batch = VirtualRollouts(landscape, config, count or config.n_envs)
        super().__init__(batch, state_space(landscape), action_box(landscape, config), endless)


class VirtualRolloutEnv(gymnasium.Env):
    """One virtual rollout as a plain gymnasium environment: the same step, a batch of one."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (gymnasium's own class attribute)

    def __init__(self, landscape: Landscape, config: SearchConfig) -> None:
        self.observation_space = state_space(landscape)
        self.action_space = action_box(landscape, config)
        self._batch = VirtualRollouts(landscape, config, 1)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray, dict[str, Any]]:
        """Begin an episode at the nominal scene."""
        super().reset(seed=seed)
        return self._batch.reset()[0], {}

    def step(self, action: NDArray) -> tuple[NDArray, float, bool, bool, dict[str, Any]]:
        """One virtual step."""
        states, rewards, failed, truncated = self._batch.step(np.asarray(action)[None])
        return states[0], float(rewards[0]), bool(failed[0]), bool(truncated[0]), {}


def state_space(landscape: Landscape) -> spaces.Box:
    """All of R^d: known points are not clipped."""
    return spaces.Box(-np.inf, np.inf, (landscape.dim,), np.float32)


def action_box(landscape: Landscape, config: SearchConfig) -> spaces.Box:
    """+-box in each dimension."""
    return spaces.Box(-config.box, config.box, (landscape.dim,), np.float32)
