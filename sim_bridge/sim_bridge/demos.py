"""Demonstrations of the scripted expert, made by several processes; the same seeds give the same demonstrations."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import RobomdError
from robomd_ros.policies.bc_training import DemoSet
from sim_bridge.expert import WaypointExpert
from sim_bridge.tasks import get_task

TRAINING_SEEDS = 1_000_000
"""Seeds of demonstrations start here: no study and no evaluation uses them."""


@dataclass(frozen=True)
class DemoConfig:
    """What to demonstrate.

    Attributes:
        task, robot: of the scene.
        demos: successful demonstrations wanted.
        noise: standard deviation of what is added to the executed motion where the expert is not steady, in action units.
            The recorded action stays the expert's own, so the policy learns to come back (DART, Laskey et al. 2017).
        first_seed: of the scenes.
        proprio: parts of the proprioception that are recorded.
    """

    task: str = "lift"
    robot: str = "Panda"
    demos: int = 300
    noise: float = 0.15
    first_seed: int = TRAINING_SEEDS
    proprio: tuple[str, ...] = ("eef_pos", "eef_quat", "gripper_qpos")


@dataclass(frozen=True)
class Demo:
    """One successful demonstration of T steps; arrays as in DemoSet, `grasp` (3 K,)."""

    seed: int
    images: NDArray[np.uint8]
    proprio: NDArray[np.float32]
    actions: NDArray[np.float32]
    grasp: NDArray[np.float32]


def demonstrate(scene: Any, expert: WaypointExpert, seed: int, noise: float) -> Demo | None:
    """Run the expert once; None when it does not succeed."""
    rng = np.random.default_rng((seed, 1))
    observation = scene.reset(seed)
    expert.reset()
    images, proprio, actions = [], [], []
    for _ in range(scene.horizon):
        action = expert.act(scene)
        images.append(observation.image)
        proprio.append(observation.proprio)
        actions.append(action)
        executed = action.copy()
        if not expert.steady:
            executed[:3] += rng.normal(0.0, noise, 3)
        observation = scene.step(executed)
        if scene.success() and len(expert.marks) == expert.points:
            return Demo(
                seed,
                np.stack(images),
                np.stack(proprio),
                np.stack(actions),
                np.concatenate(expert.marks).astype(np.float32),
            )
    return None


def _worker(config: DemoConfig, seeds: Sequence[int]) -> list[Demo | None]:
    from sim_bridge.scene import Scene  # here: the process that draws owns the GL context

    scene = Scene(task=config.task, robot=config.robot, proprio=config.proprio)
    expert = get_task(config.task).expert()
    try:
        return [demonstrate(scene, expert, seed, config.noise) for seed in seeds]
    finally:
        scene.close()


def collect_demos(config: DemoConfig, workers: int = 2) -> tuple[DemoSet, int]:
    """Make demonstrations.

    Returns:
        The successful ones in the order of their seeds, and how many attempts they took.

    Raises:
        RobomdError: less than half of a round succeeded: the expert does not fit this scene.
    """
    found: list[Demo] = []
    attempts = 0
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers) as pool:
        while len(found) < config.demos:
            wanted = config.demos - len(found)
            seeds = range(config.first_seed + attempts, config.first_seed + attempts + wanted)
            parts = [(config, seeds[i::workers]) for i in range(workers) if seeds[i::workers]]
            results = [demo for part in pool.starmap(_worker, parts) for demo in part]
            attempts += wanted
            good = [demo for demo in results if demo is not None]
            if len(good) < wanted / 2:
                raise RobomdError(
                    f"the expert succeeded in {len(good)} of {wanted} scenes with {config.robot}: want most."
                )
            found += good
    found.sort(key=lambda demo: demo.seed)
    return join(found), attempts


def join(demos: Sequence[Demo]) -> DemoSet:
    """One set of demonstrations, in their order."""
    return DemoSet(
        images=np.concatenate([d.images for d in demos]),
        proprio=np.concatenate([d.proprio for d in demos]),
        actions=np.concatenate([d.actions for d in demos]),
        demo=np.repeat(np.arange(len(demos)), [len(d.images) for d in demos]),
        grasp=np.stack([d.grasp for d in demos]),
        seeds=np.array([d.seed for d in demos]),
    )
