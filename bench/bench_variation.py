"""Changing what the camera sees: in place against a rebuild of the XML (robomimic's `reset_to`)."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

from bench.plain_robosuite import make, rebuild_with_red_cube
from robomd_ros.core.variations import load_catalogue
from sim_bridge.scene import Scene


def timed(call: Callable[[], Any], repeats: int) -> float:
    """Median seconds of a call."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return median(seconds)


def run() -> dict[str, Any]:
    """Seconds a change, and their ratio; the scene is ready to be rendered after each."""
    catalogue = load_catalogue("lift")
    scene = Scene()
    changes = iter([p for _ in range(20) for p in catalogue.singles])
    apply = timed(lambda: scene.appearance.apply(next(changes)), 400)
    seeds = iter(range(1000))

    def change_and_place() -> None:
        scene.appearance.apply(catalogue.singles[0])
        scene.place(next(seeds))
        scene.appearance.apply(catalogue.perturbation("nominal"))

    in_place = timed(change_and_place, 50)
    scene.close()
    env = make()
    env.reset()
    rebuild = timed(lambda: rebuild_with_red_cube(env), 5)
    env.close()
    return {
        "title": "one variation, scene ready to render",
        "apply_in_place_ms": 1e3 * apply,
        "apply_and_reset_in_place_ms": 1e3 * in_place,
        "rebuild_xml_ms": 1e3 * rebuild,
        "ratio_with_reset": rebuild / in_place,
        "ratio_apply_only": rebuild / apply,
        "target_ratio": 100,
    }
