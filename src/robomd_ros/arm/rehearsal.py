"""What a rehearsal saw on the wire, and whether each rollout ended as it has to. No ROS; times are the publishers' [ns]."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.outcome import Outcome

EXPECTED = {
    "protective_stop": Outcome.SAFETY_STOP,
    "emergency_stop": Outcome.SAFETY_STOP,
    "program_stop": Outcome.SAFETY_STOP,
    "speed_scaling": Outcome.SAFETY_STOP,
    "joint_jump": Outcome.SAFETY_STOP,
    "frozen_camera": Outcome.TIMEOUT,
    "silent_camera": Outcome.TIMEOUT,
    "late_camera": Outcome.TIMEOUT,
    "silent_joints": Outcome.TIMEOUT,
    "lost_network": Outcome.TIMEOUT,
    "clock_jump": Outcome.TIMEOUT,
    "duplicate_frames": Outcome.UNKNOWN,
    "out_of_order_frames": Outcome.UNKNOWN,
}
"""How a rollout with a fault has to end; UNKNOWN = the fault is borne, and a person says what came of it."""

FAULT_DELAY = 1_000_000_000
"""A scheduled fault begins so long after the first command [ns]."""

_ENTRY = re.compile(r"(\d{1,4}):([a-z_]+)\Z")
_MILLI = 1e-6


def parse_faults(text: str) -> dict[int, str]:
    """Faults by rollout, from 1, of a text like `4:protective_stop,8:frozen_camera`.

    Raises:
        InvalidArgumentError: not of this form, or no such fault.
    """
    found = {}
    for part in filter(None, text.replace(" ", "").split(",")):
        entry = _ENTRY.match(part)
        if entry is None or entry[2] not in EXPECTED or int(entry[1]) < 1:
            raise InvalidArgumentError(
                f"fault {part[:60]!r}: want NUMBER:FAULT with one of {', '.join(EXPECTED)}."
            )
        found[int(entry[1])] = entry[2]
    return found


@dataclass
class WatchedRollout:
    """What went over the wire in one rollout.

    Attributes:
        rollout_id: as STARTED said.
        started, finished: when the two statuses were published; 0 = not yet.
        outcome: that the cell gave; UNKNOWN = a person has to say.
        reason: its sentence.
        facts: told with the end.
        commands: when each command to the arm was published, from STARTED until the next homing.
        trajectories: when each trajectory was published, homing and all; those up to the end are commands.
        program_stopped: when the arm said that its program stopped; 0 = it did not.
        fault: that was injected; "" = none.
    """

    rollout_id: str
    started: int
    finished: int = 0
    outcome: Outcome = Outcome.UNKNOWN
    reason: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    commands: list[int] = field(default_factory=list)
    trajectories: list[int] = field(default_factory=list)
    program_stopped: int = 0
    fault: str = ""

    @property
    def as_expected(self) -> bool:
        """It ended as its fault demands; without a fault, any end that the cell can explain will do."""
        wanted = EXPECTED.get(self.fault, self.outcome)
        return bool(self.finished) and wanted is self.outcome

    @property
    def commands_after_end(self) -> int:
        """Commands published after the cell said that the rollout is over: none may be."""
        return sum(t > self.finished for t in self.commands) if self.finished else 0

    @property
    def commands_after_stop(self) -> int:
        """Commands published after the arm said that it stopped: those of the driver's reaction time."""
        return sum(t > self.program_stopped for t in self.commands) if self.program_stopped else 0

    @property
    def stop_to_last_command(self) -> float:
        """From the arm's own word that it stopped to the last command [ms]; 0 = none came after it."""
        if not self.program_stopped:
            return 0.0
        return max([0, *(t - self.program_stopped for t in self.commands)]) * _MILLI

    @property
    def fault_to_last_command(self) -> float:
        """From the instant the fault began to the last command [ms]: noticing it is part of this."""
        if not self.fault or not self.commands:
            return 0.0
        return max(0, self.commands[-1] - self.commands[0] - FAULT_DELAY) * _MILLI
