"""How often each task's scripted expert succeeds, on both arms, left alone and pushed as in demonstrations."""

from __future__ import annotations

from statistics import mean
from typing import Any

import numpy as np

from robomd_ros.core.statistics import wilson
from sim_bridge.scene import ROBOTS, Scene
from sim_bridge.tasks import TASKS, get_task

SEEDS = range(710_000, 710_024)
"""Neither demonstrations nor studies nor tests use them."""
NOISE = 0.15


def attempt(scene: Scene, seed: int, noise: float) -> int:
    """Control steps to success without pictures; 0 = not within the horizon."""
    expert, rng = get_task(scene.task).expert(), np.random.default_rng((seed, 1))
    scene.place(seed)
    for step in range(scene.horizon):
        action = expert.act(scene).astype(np.float64)
        if not expert.steady:
            action[:3] = np.clip(action[:3] + rng.normal(0.0, noise, 3), -1.0, 1.0)
        scene._advance(action)
        if scene.success():
            return step + 1
    return 0


def measure(scene: Scene, noise: float) -> str:
    """Successes of attempts with the 95 % Wilson interval, and mean steps."""
    steps = [attempt(scene, seed, noise) for seed in SEEDS]
    good = [s for s in steps if s]
    low, high = wilson(len(good), len(steps))
    return f"{len(good)}/{len(steps)} [{low:.2f}, {high:.2f}], {mean(good or [0]):.0f} steps"


def run() -> dict[str, Any]:
    """Successes by task and robot."""
    result: dict[str, Any] = {"title": f"scripted experts, scenes {SEEDS[0]} to {SEEDS[-1]}"}
    for task in TASKS:
        if not get_task(task).legs:
            continue
        for robot in ROBOTS:
            scene = Scene(task=task, robot=robot)
            result[f"{task}_{robot}"] = {
                "alone": measure(scene, 0.0),
                "pushed": measure(scene, NOISE),
            }
            scene.close()
    return result
