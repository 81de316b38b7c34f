"""Asking a policy what it would do at moments of nominal rollouts, were the scene shown otherwise; nothing moves."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import NotReadyError
from robomd_ros.core.probes import MOMENTS, probe_numbers
from robomd_ros.core.variations import Perturbation
from sim_bridge.cell import SimCell
from sim_bridge.collect import CellSpec, build_cell
from sim_bridge.pool import broken, leave_ctrl_c_to_the_parent

SCENES = 4
FIRST_SCENE = 700_000
"""No study, no demonstration and no test uses these scenes."""
_TRIES = 3


@dataclass(frozen=True)
class _Scene:
    """Moments of one nominal rollout.

    Attributes:
        seed: of scene and policy.
        poses: of everything, one a moment.
        answers: (K, A) of the policy to the unchanged scene.
    """

    seed: int
    poses: tuple[NDArray[np.float64], ...]
    answers: NDArray[np.float32]


class Prober:
    """Holds a policy's answers against those to the unchanged scene. Uses the cell's thread.

    Attributes:
        policy_id: who is asked.
    """

    def __init__(self, cell: SimCell, scenes: int = SCENES) -> None:
        """Run nominal rollouts to get the moments; takes seconds.

        Args:
            cell: with its policy; not to be used by others meanwhile.
            scenes: nominal rollouts whose moments are shown; successful ones where there are some.

        Raises:
            NotReadyError: the cell has no policy.
        """
        if cell.policy is None:
            raise NotReadyError("no policy is loaded: nobody answers.")
        self._cell = cell
        self.policy_id = cell.policy.info.id
        cell.apply(Perturbation())
        self._scenes = [
            _Scene(seed, poses, self._answers(seed, poses)) for seed, poses in _run(cell, scenes)
        ]

    def ask(self, perturbation: Perturbation) -> NDArray[np.float32]:
        """`probe_numbers` of a perturbation, (K,). What is applied afterwards is what was; the next rollout resets the rest."""
        before = self._cell.perturbation
        self._cell.apply(perturbation)
        try:
            asked = [self._answers(s.seed, s.poses) for s in self._scenes]
        finally:
            self._cell.apply(before)
        return probe_numbers(asked, [s.answers for s in self._scenes])

    def _answers(self, seed: int, poses: Sequence[NDArray[np.float64]]) -> NDArray[np.float32]:
        answers = []
        for pose in poses:
            self._cell.scene.show(pose)
            answers.append(self._cell.answer(seed))
        return np.stack(answers)


def _run(cell: SimCell, scenes: int) -> list[tuple[int, tuple[NDArray[np.float64], ...]]]:
    """Seeds and the poses at MOMENTS of nominal rollouts, successful ones first."""
    found = []
    for seed in range(FIRST_SCENE, FIRST_SCENE + _TRIES * scenes):
        poses: list[NDArray[np.float64]] = []
        result = cell.rollout(seed, on_frame=lambda *_, poses=poses: poses.append(cell.scene.pose))
        moments = tuple(poses[round(share * (len(poses) - 1))] for share in MOMENTS)
        found.append((not result.success, seed, moments))
        if sum(not failed for failed, _, _ in found) == scenes:
            break
    ordered = sorted(found, key=lambda f: f[:2])[:scenes]
    return [(seed, moments) for _, seed, moments in ordered]


def probe(
    perturbations: Sequence[Perturbation], spec: CellSpec, workers: int = 1
) -> Iterator[tuple[Perturbation, str, NDArray[np.float32]]]:
    """Ask about perturbations in worker processes; yield each with the policy's id and its numbers, in their order.

    Raises:
        RobomdError: a cell cannot be built, or the policy raises.
        UnavailableError: a process died.
    """
    if not perturbations:
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        min(workers, len(perturbations)), context, initializer=leave_ctrl_c_to_the_parent
    )
    try:
        answers = pool.map(_ask, repeat(spec), perturbations)
        for perturbation, (policy_id, numbers) in zip(perturbations, answers, strict=True):
            yield perturbation, policy_id, numbers
    except BrokenProcessPool as error:
        raise broken(spec) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_prober: Prober | None = None
"""Of a worker process; built with its first question, so that what goes wrong is that question's error."""


def _ask(spec: CellSpec, perturbation: Perturbation) -> tuple[str, NDArray[np.float32]]:
    global _prober
    if _prober is None:
        _prober = Prober(build_cell(spec))
    return _prober.policy_id, _prober.ask(perturbation)
