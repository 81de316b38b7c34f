"""Training the search policy on virtual rollouts."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import stable_baselines3
import torch
from numpy.typing import NDArray
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from robomd_ros.core.errors import CancelledByUserError, InvalidArgumentError, NotReadyError
from robomd_ros.core.variations import Catalogue, Perturbation
from robomd_ros.search.config import SearchConfig
from robomd_ros.search.discrete import CatalogueRollouts, CatalogueVecEnv, KnownSetOutcome
from robomd_ros.search.env import VirtualRolloutVecEnv
from robomd_ros.search.known import KnownSet, Projection
from robomd_ros.search.mdp import Landscape
from robomd_ros.search.policy import DiscreteActions, Network, SearchPolicy

SAC_ENTROPY = 0.01
"""Weight of SAC's entropy where none is given; the automatic one starts at 1 and drowns rewards of a tenth."""

Progress = Callable[[str, float, float], None]
"""(phase, fraction 0..1, mean reward of the latest episodes or NaN)."""


def train_search(
    known: KnownSet,
    config: SearchConfig | None = None,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    logits: NDArray | None = None,
    catalogue: Catalogue | None = None,
) -> SearchPolicy:
    """Train pi^MD over a frozen set of known embeddings. The same arguments give the same policy.

    Args:
        known: E and its outcomes; evidence the search may visit.
        config: defaults where None.
        seed: of the network and of the sampling.
        progress: called after every update.
        cancelled: asked every step.
        logits: (M,) failure logits of the embedding's head, for shaping and the uncertainty bonus.
        catalogue: the actions of "discrete_ppo".

    Raises:
        NotReadyError: nothing known, or no failure among it.
        CancelledByUserError: `cancelled` said so.
    """
    config = config or SearchConfig()
    if not known.failed.any():
        raise NotReadyError(
            f"{len(known)} rollouts are known and none failed: there is nothing to search for yet."
        )
    projection = known.reduced(config.dims) if config.space == "reduced" else known.full()
    rng = np.random.default_rng(seed)
    with one_thread_and_own_seeds():
        env, actions = _make_env(known, config, projection, rng, logits, catalogue)
        model = make_algorithm(config, env, seed)
        untrained = copy.deepcopy(model.policy)
        watcher = _Watcher(config.steps, progress, cancelled)
        model.learn(config.steps, callback=watcher)
    if watcher.stopped:
        raise CancelledByUserError("training the search was cancelled; the old one stays.")
    facts = {
        "seed": seed,
        "mean_reward": watcher.mean_reward,
        "known": len(known),
        "known_failures": int(known.failed.sum()),
        "versions": {
            "stable_baselines3": stable_baselines3.__version__,
            "torch": torch.__version__,
        },
    }
    networks = cast(Network, model.policy.eval()), cast(Network, untrained.eval())
    return SearchPolicy(config, projection, known.start(), *networks, actions, facts)


def _make_env(
    known: KnownSet,
    config: SearchConfig,
    projection: Projection,
    rng: np.random.Generator,
    logits: NDArray | None,
    catalogue: Catalogue | None,
) -> tuple[VecEnv, DiscreteActions | None]:
    if config.algorithm != "discrete_ppo":
        landscape = Landscape.from_known(known, projection, logits)
        return VirtualRolloutVecEnv(landscape, config, endless=config.algorithm == "sac"), None
    if catalogue is None:
        raise InvalidArgumentError("discrete_ppo wants the catalogue: its actions come from there.")
    singles = catalogue.singles
    perturbations = [catalogue.perturbation(i) for i in known.perturbation_ids]
    outcome = KnownSetOutcome(singles, perturbations, known.failed)
    batch = CatalogueRollouts(singles, outcome, config, config.n_envs, rng)
    return CatalogueVecEnv(batch, len(singles)), _place_actions(known, singles)


def _place_actions(known: KnownSet, singles: Sequence[Perturbation]) -> DiscreteActions:
    """Mean known embedding of each single variation; never tried ones sit at the mean of all."""
    tried = np.array(known.perturbation_ids)
    places = [known.embeddings[tried == s.id] for s in singles]
    overall = known.embeddings.mean(axis=0)
    centres = np.stack([p.mean(axis=0) if len(p) else overall for p in places])
    return DiscreteActions(tuple(s.id for s in singles), centres)


def make_algorithm(config: SearchConfig, env: VecEnv, seed: int) -> BaseAlgorithm:
    """The stable-baselines3 algorithm of a config, on one thread of the CPU."""
    common: dict[str, Any] = {
        "learning_rate": config.learning_rate,
        "gamma": config.gamma,
        "seed": seed,
        "device": "cpu",
    }
    net: dict[str, Any] = {"net_arch": list(config.net)}
    if config.algorithm == "sac":
        return SAC(
            "MlpPolicy", env, **common, policy_kwargs=net, batch_size=config.batch_size,
            train_freq=1, gradient_steps=2, learning_starts=10 * config.n_envs,
            buffer_size=max(config.steps, config.n_envs), ent_coef=config.entropy or SAC_ENTROPY,
        )  # fmt: skip
    if config.algorithm != "discrete_ppo":
        net["log_std_init"] = config.log_std_init
    if config.algorithm == "a2c":
        return A2C(
            "MlpPolicy", env, **common, policy_kwargs=net, n_steps=config.rollout_steps,
            ent_coef=config.entropy,
        )  # fmt: skip
    samples = config.rollout_steps * env.num_envs
    return PPO(
        "MlpPolicy", env, **common, policy_kwargs=net, n_steps=config.rollout_steps,
        batch_size=min(config.batch_size, samples), n_epochs=config.epochs, ent_coef=config.entropy,
    )  # fmt: skip


class _Watcher(BaseCallback):
    """Reports progress and stops when asked."""

    def __init__(
        self, steps: int, progress: Progress | None, cancelled: Callable[[], bool] | None
    ) -> None:
        super().__init__()
        self._steps, self._progress, self._cancelled = steps, progress, cancelled
        self.stopped = False

    @property
    def mean_reward(self) -> float:
        """Mean return of the latest 100 episodes; NaN before the first one ends."""
        episodes = self.model.ep_info_buffer
        return float(np.mean([e["r"] for e in episodes])) if episodes else float("nan")

    def _on_step(self) -> bool:
        self.stopped = self._cancelled is not None and self._cancelled()
        return not self.stopped

    def _on_rollout_end(self) -> None:
        if self._progress is not None:
            fraction = min(1.0, self.num_timesteps / self._steps)
            self._progress("train", fraction, self.mean_reward)


@contextmanager
def one_thread_and_own_seeds() -> Iterator[None]:
    """SB3 seeds the global generators and its small networks run fastest on one thread; put both back after."""
    threads, numpy_state, python_state = (
        torch.get_num_threads(),
        np.random.get_state(),
        random.getstate(),
    )
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)
        np.random.set_state(numpy_state)
        random.setstate(python_state)
