"""Demonstrations of the scripted expert under variations: what a person would collect with the variation set up."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from robomd_ros.core.errors import RobomdError
from robomd_ros.core.variations import Perturbation
from robomd_ros.policies.bc_training import DemoSet
from sim_bridge.demos import DemoConfig, demonstrate, join
from sim_bridge.tasks import get_task


@dataclass(frozen=True)
class Wish:
    """Demonstrations of one appearance.

    Attributes:
        perturbation: applied throughout.
        demos: successful ones wanted.
        first_seed: of the scenes; they count up from here.
    """

    perturbation: Perturbation
    demos: int
    first_seed: int


def collect_varied(
    config: DemoConfig, wishes: Sequence[Wish], workers: int = 1
) -> Iterator[DemoSet]:
    """Make demonstrations, each wish in one process; the same seeds give the same demonstrations.

    Args:
        config: of scene and expert; its `demos` and `first_seed` are those of each wish.
        wishes: what to demonstrate.
        workers: processes.

    Yields:
        One set a wish, in their order.

    Raises:
        RobomdError: less than half of the attempts succeeded: the expert does not fit this scene.
    """
    if not wishes:
        return
    tasks = [(replace(config, demos=w.demos, first_seed=w.first_seed), w) for w in wishes]
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(workers, len(wishes)), _open, (config,)) as pool:
        yield from pool.imap(_fulfil, tasks)


_scene: Any = None


def _open(config: DemoConfig) -> None:
    """Build the scene once a process."""
    global _scene
    from sim_bridge.scene import Scene  # here: the process that draws owns the GL context

    _scene = Scene(task=config.task, robot=config.robot, proprio=config.proprio)


def _fulfil(task: tuple[DemoConfig, Wish]) -> DemoSet:
    config, wish = task
    _scene.appearance.apply(wish.perturbation)
    expert = get_task(config.task).expert()
    found = []
    for attempt in range(2 * config.demos):
        demo = demonstrate(_scene, expert, config.first_seed + attempt, config.noise)
        found += [demo] if demo is not None else []
        if len(found) == config.demos:
            return join(found)
    raise RobomdError(
        f"the expert succeeded in {len(found)} of {2 * config.demos} scenes under {wish.perturbation.id} with "
        f"{config.robot}: want most."
    )
