"""Rollouts a minute in one process: our cell against a plain robosuite loop with its default rendering."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from bench.plain_robosuite import make, rollout
from robomd_ros.policies.base import Policy
from robomd_ros.policies.loader import list_policies, load_policy
from sim_bridge.cell import SimCell
from sim_bridge.scene import Scene

ROLLOUTS = 12


def run() -> dict[str, Any]:
    """Rollouts a minute of both, and how far the pictures of the same states lie apart."""
    import torch

    torch.set_num_threads(1)
    name = next(n for n in list_policies() if "panda" in n)
    policy = load_policy(name)
    ours = _ours(policy)
    default, soft = (_plain(policy, hard) for hard in (True, False))
    return {
        "title": f"{ROLLOUTS} nominal rollouts of {name}, one process",
        "ours": ours,
        "robosuite_default": default,
        "robosuite_soft_reset": soft,
        "ratio": ours["rollouts_per_minute"] / default["rollouts_per_minute"],
        "ratio_to_soft_reset": ours["rollouts_per_minute"] / soft["rollouts_per_minute"],
        "ratio_of_steps_to_soft_reset": ours["steps_per_second"] / soft["steps_per_second"],
        "target_ratio": 2,
        "pixels": pixel_difference(),
    }


def _figures(seconds: float, done: list[tuple[bool, int]]) -> dict[str, Any]:
    return {
        "rollouts_per_minute": 60.0 * len(done) / seconds,
        "steps_per_second": sum(steps for _, steps in done) / seconds,
        "successes": sum(success for success, _ in done),
    }


def _ours(policy: Policy) -> dict[str, Any]:
    cell = SimCell(Scene(), policy)
    cell.rollout(0)  # warm
    start = time.perf_counter()
    done = [cell.rollout(seed) for seed in range(1, ROLLOUTS + 1)]
    seconds = time.perf_counter() - start
    cell.scene.close()
    return _figures(seconds, [(r.success, r.steps) for r in done])


def _plain(policy: Policy, hard_reset: bool) -> dict[str, Any]:
    env = make(hard_reset=hard_reset)
    rollout(env, policy, 0)
    start = time.perf_counter()
    done = [rollout(env, policy, seed) for seed in range(1, ROLLOUTS + 1)]
    seconds = time.perf_counter() - start
    env.close()
    return _figures(seconds, done)


def pixel_difference(states: int = 12) -> dict[str, float]:
    """Our picture against robosuite's own one of the same states, in steps of 255."""
    scene, env = Scene(), make(hard_reset=False)
    env.reset()
    differences = []
    for seed in range(states):
        observation = scene.reset(seed)
        env.sim.data.qpos[:] = scene.data.qpos
        env.sim.data.qvel[:] = 0.0
        env.sim.forward()
        shape = {"height": scene.image_height, "width": scene.image_width}
        theirs = env.sim.render(camera_name="agentview", **shape)[::-1]
        differences.append(np.abs(observation.image.astype(int) - theirs.astype(int)))
    scene.close()
    env.close()
    all_of_them = np.stack(differences)
    return {
        "mean_absolute": float(all_of_them.mean()),
        "median_absolute": float(np.median(all_of_them)),
        "share_over_8": float((all_of_them > 8).mean()),
        "states": states,
    }
