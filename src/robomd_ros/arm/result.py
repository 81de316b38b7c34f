"""What a rollout on the arm comes to."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.outcome import Outcome


@dataclass(frozen=True)
class RolloutConfig:
    """Length of a rollout.

    Attributes:
        timeout: most seconds in all, the policy's reset not counted.
        reset_timeout: seconds the policy's reset may take.
        horizon: steps of a zero-action rollout for which no policy is loaded.
    """

    timeout: float = 120.0
    reset_timeout: float = 30.0
    horizon: int = 40


@dataclass(frozen=True)
class ArmResult:
    """What came of it. The arm is held when it is returned.

    Attributes:
        outcome: UNKNOWN = the policy had its horizon and a person says what it came to; INVALID = cancelled; else why it
            was stopped.
        reason: a sentence; "" for UNKNOWN.
        steps: actions taken.
        horizon: most actions.
        actions: (K, A) float32 as the policy gave them.
        action_times: (K,) when each was taken, steady clock [s].
        observation_stamps: (K,) stamp of the frame each one answers, camera clock [s].
        frames: new frames seen, without duplicates and those out of order.
        first_stamp, last_stamp: of these [s]; NaN = none.
        commands: sent.
        facts: for the record, as text.
    """

    outcome: Outcome
    reason: str
    steps: int
    horizon: int
    actions: NDArray[np.float32]
    action_times: NDArray[np.float64]
    observation_stamps: NDArray[np.float64]
    frames: int
    first_stamp: float
    last_stamp: float
    commands: int
    facts: dict[str, str] = field(default_factory=dict)
