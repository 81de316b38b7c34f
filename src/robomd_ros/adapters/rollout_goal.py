"""A goal of robomd/run_rollout: every cell checks it alike."""

from __future__ import annotations

import math
from dataclasses import dataclass

from robomd_msgs.action import RunRollout
from robomd_ros.adapters import names
from robomd_ros.core.errors import InvalidArgumentError, NotReadyError
from robomd_ros.core.outcome import Control
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.variations import Catalogue, Perturbation

DEFAULT_TIMEOUT = 60.0
MAX_TIMEOUT = 3600.0


@dataclass(frozen=True)
class Job:
    """A goal that was checked; seed -1 = any."""

    rollout_id: str
    perturbation: Perturbation
    task: str
    purpose: str
    control: Control
    seed: int
    timeout: float

    @property
    def asks_policy(self) -> bool:
        """The policy moves the arm; else nothing does."""
        return self.control is Control.NONE


def check_goal(
    goal: RunRollout.Goal, catalogue: Catalogue, robot: str, applied: Perturbation | None
) -> Job:
    """The goal as a job.

    Args:
        goal: as it came.
        catalogue: of the cell's task.
        robot: of the cell.
        applied: what is set up; None = not known.

    Raises:
        NotReadyError: nothing was set up yet.
        InvalidArgumentError: malformed, or another perturbation is set up.
    """
    believed = catalogue.perturbation(goal.perturbation_id)
    if applied is None:
        raise NotReadyError(
            f"it is not known what is set up: call {names.CELL_APPLY_PERTURBATION} first."
        )
    if believed.id != applied.id:
        raise InvalidArgumentError(
            f"the goal says {believed.id} is applied, but it is {applied.id}: "
            f"call {names.CELL_APPLY_PERTURBATION} first."
        )
    if goal.control not in {int(c) for c in Control}:
        raise InvalidArgumentError(f"control {goal.control}: want 0 (policy) or 1 (zero action).")
    if goal.seed < -1 or goal.seed >= 2**62:
        raise InvalidArgumentError(f"seed {goal.seed}: want -1 (any) or 0 to 2^62.")
    if not math.isfinite(goal.timeout) or not 0.0 <= goal.timeout <= MAX_TIMEOUT:
        raise InvalidArgumentError(
            f"timeout of {goal.timeout} s: want 0 (= {DEFAULT_TIMEOUT:g} s) to {MAX_TIMEOUT:g}."
        )
    purpose = goal.purpose or "manual"
    # checks the id and the purpose as the store will
    RolloutRecord(goal.rollout_id, believed, catalogue.task, robot, "", purpose)
    return Job(
        goal.rollout_id,
        believed,
        catalogue.task,
        purpose,
        Control(goal.control),
        int(goal.seed),
        float(goal.timeout) or DEFAULT_TIMEOUT,
    )
