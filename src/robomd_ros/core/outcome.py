"""What a rollout came to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Outcome(IntEnum):
    """Values of robomd_msgs/Outcome. Only SUCCESS and FAILURE are evidence about the policy."""

    UNKNOWN = 0
    SUCCESS = 1
    FAILURE = 2
    INVALID = 3
    SAFETY_STOP = 4
    TIMEOUT = 5
    POLICY_ERROR = 6

    @property
    def is_evidence(self) -> bool:
        """True for the two outcomes that say something about the policy."""
        return self in (Outcome.SUCCESS, Outcome.FAILURE)


CELL_LABELERS = ("sim", "ur5e_driver")
"""Labelers that are cells and not people."""


class Control(IntEnum):
    """Values of RolloutStatus.CONTROL_*: who moves the robot."""

    NONE = 0
    ZERO_ACTION = 1


@dataclass(frozen=True)
class Label:
    """One judgement of one rollout; labels are appended, never overwritten.

    Attributes:
        outcome: the judgement.
        labeler: who said so; "sim" for the simulator's success checker.
        stamp: wall clock, seconds since the epoch.
        reason: free text, may be empty.
        phase: phase of the task that failed, may be empty.
        second_look: a blind second look: kept for the agreement, never in force.
    """

    outcome: Outcome
    labeler: str
    stamp: float
    reason: str = ""
    phase: str = ""
    second_look: bool = False
