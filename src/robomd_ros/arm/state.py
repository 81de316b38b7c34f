"""What the UR driver says about the arm, and whether that is enough to move it."""

from __future__ import annotations

from dataclasses import dataclass

ROBOT_RUNNING = 7
ROBOT_MODES = {
    -1: "NO_CONTROLLER", 0: "DISCONNECTED", 1: "CONFIRM_SAFETY", 2: "BOOTING", 3: "POWER_OFF", 4: "POWER_ON",
    5: "IDLE", 6: "BACKDRIVE", 7: "RUNNING", 8: "UPDATING_FIRMWARE",
}  # fmt: skip
"""ur_dashboard_msgs/RobotMode."""
SAFETY_MODES = {
    1: "NORMAL", 2: "REDUCED", 3: "PROTECTIVE_STOP", 4: "RECOVERY", 5: "SAFEGUARD_STOP", 6: "SYSTEM_EMERGENCY_STOP",
    7: "ROBOT_EMERGENCY_STOP", 8: "VIOLATION", 9: "FAULT", 10: "VALIDATE_JOINT_ID", 11: "UNDEFINED_SAFETY_MODE",
    12: "AUTOMATIC_MODE_SAFEGUARD_STOP", 13: "SYSTEM_THREE_POSITION_ENABLING_STOP", 14: "TP_THREE_POSITION_ENABLING_STOP",
}  # fmt: skip
"""ur_dashboard_msgs/SafetyMode."""
SAFE = (1, 2)
ALL = frozenset({"robot_mode", "safety_mode", "program_running", "speed_scaling"})
"""What a real arm must have said before it may move."""


class SpeedScaling:
    """Reads speed scaling in either unit: the driver's documentation says 0..1, its code publishes 0..100.

    A number above 1 is a percentage, and from then on every number is; up to then it is a fraction.
    """

    def __init__(self) -> None:
        self._percent = False

    def fraction(self, value: float) -> float:
        """0..1 of a number as published."""
        self._percent = self._percent or value > 1.0
        return value / 100.0 if self._percent else value


@dataclass(frozen=True)
class ArmState:
    """The newest word of each topic; None = it never spoke.

    Attributes:
        robot_mode: ur_dashboard_msgs/RobotMode.mode.
        safety_mode: ur_dashboard_msgs/SafetyMode.mode.
        program_running: the program on the pendant runs.
        speed_scaling: 0..1, or 0..100 for numbers above 1; see SpeedScaling for a reader that remembers the unit.
        required: names of the fields above that must have spoken (fail closed).
    """

    robot_mode: int | None = None
    safety_mode: int | None = None
    program_running: bool | None = None
    speed_scaling: float | None = None
    required: frozenset[str] = ALL

    @property
    def speed(self) -> float | None:
        """Speed scaling, 0..1; None = unknown."""
        return None if self.speed_scaling is None else SpeedScaling().fraction(self.speed_scaling)

    def not_ready(self, min_speed_scaling: float = 0.95) -> tuple[str, ...]:
        """Why the arm may not be moved, a sentence each; empty = ready."""
        silent = tuple(
            f"{name} was never published; is the UR driver running?"
            for name in sorted(self.required)
            if getattr(self, name) is None
        )
        return silent + self._wrong(min_speed_scaling)

    def stopped(self, speed_scaling_low: float = 0.9) -> str:
        """Why a running rollout must end as SAFETY_STOP, in a sentence; "" = go on."""
        return next(iter(self.not_ready(speed_scaling_low)), "")

    def _wrong(self, least_speed: float) -> tuple[str, ...]:
        out = []
        if self.safety_mode is not None and self.safety_mode not in SAFE:
            name = SAFETY_MODES.get(self.safety_mode, "unknown")
            out.append(f"safety mode is {self.safety_mode} ({name}); want NORMAL or REDUCED.")
        if self.robot_mode is not None and self.robot_mode != ROBOT_RUNNING:
            name = ROBOT_MODES.get(self.robot_mode, "unknown")
            out.append(f"robot mode is {self.robot_mode} ({name}); want 7 (RUNNING).")
        if self.program_running is False:
            out.append("the robot's program is not running; press play on the pendant.")
        if self.speed is not None and not self.speed >= least_speed:
            out.append(
                f"speed scaling is {100 * self.speed:.0f} %; want at least {100 * least_speed:.0f} %."
            )
        return tuple(out)
