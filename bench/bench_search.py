"""Training the search: virtual rollouts in a batch against one at a time, same network, same problem, same run."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from robomd_ros.core.metrics import auc
from robomd_ros.search.config import SearchConfig
from robomd_ros.search.env import VirtualRolloutEnv, VirtualRolloutVecEnv
from robomd_ros.search.known import KnownSet
from robomd_ros.search.mdp import Landscape
from robomd_ros.search.train import train_search

KNOWN = 500
BATCHED_STEPS = 20_480
SINGLE_STEPS = 4_096
FULL_STEPS = 40_000
REPEATS = 3


def run(quick: bool = False) -> dict[str, Any]:
    """Steps of the environment a second, learning included; their ratio; the time of a whole training."""
    torch.set_num_threads(1)
    known = clusters()
    landscape = Landscape.from_known(known, known.reduced(8))
    share = 4 if quick else 1
    single, batched, alone = [], [], []
    for _ in range(1 if quick else REPEATS):  # interleaved: other work on the machine hits both
        single.append(_learn(_one(landscape), SINGLE_STEPS // share))
        batched.append(_learn(_many(landscape), BATCHED_STEPS // share))
        alone.append(_step_only(landscape))
    start = time.perf_counter()
    policy = train_search(known, SearchConfig(steps=FULL_STEPS), seed=0)
    seconds = time.perf_counter() - start
    one, many = float(np.median(single)), float(np.median(batched))
    return {
        "title": f"PPO over {KNOWN} known embeddings, 8 principal components, net 64x64, one thread",
        "one_env_steps_per_s": one,
        "batched_steps_per_s": many,
        "ratio": many / one,
        "ratio_wanted": 5.0,
        "batched_env_alone_steps_per_s": float(np.median(alone)),
        "training_steps": FULL_STEPS,
        "training_s": seconds,
        "training_s_wanted": 10.0,
        "auc_trained": auc(policy.log_density(known.embeddings), known.failed),
        "auc_untrained": auc(policy.log_density_untrained(known.embeddings), known.failed),
    }


def clusters() -> KnownSet:
    """Two overlapping clouds in 512 dimensions, 40 % failures."""
    rng = np.random.default_rng(0)
    failed = rng.random(KNOWN) < 0.4
    embeddings = 0.3 * rng.normal(size=(KNOWN, 512))
    embeddings[:, :4] += np.where(failed[:, None], 1.0, -0.7) * np.array([1.0, 0.5, -0.7, 0.2])
    ids = tuple(map(str, range(KNOWN)))
    return KnownSet(embeddings, failed, ids, ("nominal",) * KNOWN)


def _one(landscape: Landscape) -> VecEnv:
    """The usual way: stable-baselines3 around one gymnasium environment."""
    return DummyVecEnv([lambda: VirtualRolloutEnv(landscape, SearchConfig())])


def _many(landscape: Landscape) -> VecEnv:
    return VirtualRolloutVecEnv(landscape, SearchConfig())


def _learn(env: VecEnv, steps: int) -> float:
    """Steps a second of PPO: the same network, samples and minibatches an update for both."""
    config = SearchConfig()
    samples = config.rollout_steps * config.n_envs
    model = PPO(
        "MlpPolicy", env, n_steps=samples // env.num_envs, batch_size=config.batch_size,
        n_epochs=config.epochs, learning_rate=config.learning_rate, gamma=config.gamma, seed=0,
        device="cpu", policy_kwargs={"net_arch": list(config.net)},
    )  # fmt: skip
    start = time.perf_counter()
    model.learn(steps)
    return model.num_timesteps / (time.perf_counter() - start)


def _step_only(landscape: Landscape, steps: int = 300) -> float:
    """Steps a second of the batch without any learning."""
    env = VirtualRolloutVecEnv(landscape, replace(SearchConfig(), n_envs=256))
    env.reset()
    actions = np.random.default_rng(0).normal(size=(256, landscape.dim)).astype(np.float32)
    start = time.perf_counter()
    for _ in range(steps):
        env.step(actions)
    return steps * 256 / (time.perf_counter() - start)


if __name__ == "__main__":
    from bench.run import main

    sys.exit(main(["search"]))
