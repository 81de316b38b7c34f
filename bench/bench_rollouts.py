"""Rollouts a minute in one process: our cell against a plain robosuite loop with its default rendering."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.plain_robosuite import make, rollout
from robomd_ros.policies.base import Policy
from robomd_ros.policies.loader import list_policies, load_policy
from sim_bridge.cell import SimCell
from sim_bridge.scene import Scene

ROLLOUTS = 12
Loop = Callable[[int], tuple[bool, int]]
"""Seed to success and control steps."""


def run() -> dict[str, Any]:
    """Rollouts a minute of each, and how far the pictures of the same states lie apart."""
    import torch

    torch.set_num_threads(1)
    name = next(n for n in list_policies() if "panda" in n)
    policy = load_policy(name)
    cell = SimCell(Scene(), policy)
    default, soft = make(hard_reset=True), make(hard_reset=False)
    loops: dict[str, Loop] = {
        "ours": lambda seed: _ours(cell, seed),
        "robosuite_default": lambda seed: _plain(default, policy, seed),
        "robosuite_soft_reset": lambda seed: _plain(soft, policy, seed),
    }
    figures = _take_turns(loops)
    cell.scene.close()
    default.close()
    soft.close()
    ours = figures["ours"]
    ratios = {
        f"ratio_of_{unit}_to_{loop}": ours[unit] / figures[loop][unit]
        for loop in ("robosuite_default", "robosuite_soft_reset")
        for unit in ("rollouts_per_minute", "steps_per_second")
    }
    return {
        "title": f"{ROLLOUTS} nominal rollouts of {name} in turns, one process",
        **figures,
        **ratios,
        "target_ratio": 2,
        "pixels": pixel_difference(),
    }


def _take_turns(loops: dict[str, Loop]) -> dict[str, dict[str, Any]]:
    """One rollout of each, again and again, so that other work on the machine hits all alike."""
    seconds, steps, successes = Counter[str](), Counter[str](), Counter[str]()
    for seed in range(ROLLOUTS + 1):
        for name, roll_out in loops.items():
            start = time.perf_counter()
            success, length = roll_out(seed)
            if seed:  # the first one warms up
                seconds[name] += time.perf_counter() - start
                steps[name] += length
                successes[name] += success
    return {
        name: {
            "rollouts_per_minute": 60.0 * ROLLOUTS / seconds[name],
            "steps_per_second": steps[name] / seconds[name],
            "successes": successes[name],
        }
        for name in loops
    }


def _ours(cell: SimCell, seed: int) -> tuple[bool, int]:
    result = cell.rollout(seed)
    return result.success, result.steps


def _plain(env: Any, policy: Policy, seed: int) -> tuple[bool, int]:
    # robosuite renders into whatever GL context was made current last.
    env.sim._render_context_offscreen.gl_ctx.make_current()
    return rollout(env, policy, seed)


def pixel_difference(states: int = 12) -> dict[str, float]:
    """Our picture against robosuite's own one of the same states, in steps of 255.

    One after the other: robosuite renders into whatever GL context was made current last.
    """
    scene = Scene()
    shown = [(scene.reset(seed).image, np.array(scene.data.qpos)) for seed in range(states)]
    size = {"height": scene.image_height, "width": scene.image_width}
    scene.close()
    env = make(hard_reset=False)
    env.reset()
    differences = []
    for image, positions in shown:
        env.sim.data.qpos[:] = positions
        env.sim.data.qvel[:] = 0.0
        env.sim.forward()
        theirs = env.sim.render(camera_name="agentview", **size)[::-1]
        differences.append(np.abs(image.astype(int) - theirs.astype(int)))
    env.close()
    every = np.stack(differences)
    return {
        "mean_absolute": float(every.mean()),
        "median_absolute": float(np.median(every)),
        "share_over_8": float((every > 8).mean()),
        "states": states,
    }
