"""What a UR's controller box knows: modes, stops, the program, the active motion controller. No simulator, no ROS.

Protective stop: the program is only paused, and goes on with what it was doing when it is played again, unless it was
stopped in between. Emergency stop: the arm is without power; while the button is pressed nothing brings it back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum


class RobotMode(IntEnum):
    """ur_dashboard_msgs/RobotMode, the ones that occur here."""

    POWER_OFF = 3
    IDLE = 5
    RUNNING = 7


class SafetyMode(IntEnum):
    """ur_dashboard_msgs/SafetyMode, the ones that occur here."""

    NORMAL = 1
    PROTECTIVE_STOP = 3
    ROBOT_EMERGENCY_STOP = 7


TRAJECTORY = "scaled_joint_trajectory_controller"
POSITION = "forward_position_controller"
VELOCITY = "forward_velocity_controller"
MOTION_CONTROLLERS = (TRAJECTORY, POSITION, VELOCITY)
OTHER_CONTROLLERS = (
    "io_and_status_controller",
    "speed_scaling_state_broadcaster",
    "tcp_pose_broadcaster",
    "joint_state_broadcaster",
)


@dataclass
class StandinRobot:
    """One controller box.

    Attributes:
        strict: only the active motion controller's commands count; else the one that was commanded last is active.
        motion_dropped: the program ended instead of being paused: the arm has to forget what it was doing.
        stopped_at: steady time of the last stop [s].
        last_command_after_stop: seconds from there to the newest command that came while stopped.
    """

    strict: bool = False
    robot_mode: RobotMode = RobotMode.RUNNING
    safety_mode: SafetyMode = SafetyMode.NORMAL
    program_running: bool = True
    button_pressed: bool = False
    slider: float = 1.0
    active: str = TRAJECTORY
    motion_dropped: bool = False
    stops: int = 0
    stopped_at: float = 0.0
    last_command_after_stop: float = 0.0
    counts: dict[str, int] = field(
        default_factory=lambda: {
            "commands": 0,
            "commands_while_stopped": 0,
            "commands_to_inactive_controller": 0,
        }
    )

    @property
    def moving(self) -> bool:
        """Power, no stop, and the program runs: the arm does what it is told."""
        return self.powered and self.program_running

    @property
    def powered(self) -> bool:
        """Brakes open and no stop."""
        return self.robot_mode is RobotMode.RUNNING and self.safety_mode is SafetyMode.NORMAL

    # -- what happens to it -------------------------------------------------------------------------------------------

    def protective_stop(self, now: float) -> None:
        """The arm brakes, the program is paused."""
        if self.safety_mode is SafetyMode.NORMAL:
            self.safety_mode = SafetyMode.PROTECTIVE_STOP
        self._stop(now, paused=True)

    def emergency_stop(self, now: float) -> None:
        """Somebody presses the button."""
        self.button_pressed = True
        self.safety_mode, self.robot_mode = SafetyMode.ROBOT_EMERGENCY_STOP, RobotMode.POWER_OFF
        self._stop(now)

    def release_button(self) -> None:
        """The button comes out; the arm stays without power."""
        self.button_pressed = False
        if self.safety_mode is SafetyMode.ROBOT_EMERGENCY_STOP:
            self.safety_mode = SafetyMode.NORMAL

    def stop_program(self, now: float) -> None:
        """The program ends, or is ended."""
        self._stop(now)

    def _stop(self, now: float, paused: bool = False) -> None:
        if self.program_running:
            self.stops += 1
            self.stopped_at, self.last_command_after_stop = now, 0.0
        self.program_running = False
        self.motion_dropped |= not paused

    def command(self, controller: str, now: float) -> bool:
        """A command arrived for a motion controller [s, steady]; whether the arm does it."""
        self.counts["commands"] += 1
        if not self.moving:
            self.counts["commands_while_stopped"] += 1
            self.last_command_after_stop = now - self.stopped_at
            return False
        if not self.strict:
            self.active = controller
        if controller != self.active:
            self.counts["commands_to_inactive_controller"] += 1
        return controller == self.active

    # -- what people and drivers ask of it: None, or why not ----------------------------------------------------------

    def unlock_protective_stop(self) -> str | None:
        """Dashboard: unlock protective stop."""
        if self.safety_mode is not SafetyMode.PROTECTIVE_STOP:
            return "no protective stop to unlock"
        self.safety_mode = SafetyMode.NORMAL
        return None

    def restart_safety(self) -> str | None:
        """Dashboard: restart safety."""
        return self._refuse_pressed()

    def power_on(self) -> str | None:
        """Dashboard: power on, brakes closed."""
        refused = self._refuse_pressed()
        if refused is None and self.robot_mode is RobotMode.POWER_OFF:
            self.robot_mode = RobotMode.IDLE
        return refused

    def brake_release(self) -> str | None:
        """Dashboard: power on and release the brakes."""
        refused = self._refuse_stop()
        if refused is None:
            self.robot_mode = RobotMode.RUNNING
        return refused

    def resend(self) -> str | None:
        """io_and_status_controller: resend_robot_program; what the old program was doing is gone."""
        refused = self.play()
        self.motion_dropped |= refused is None
        return refused

    def play(self) -> str | None:
        """Dashboard: play; a program that was paused goes on with what it was doing."""
        refused = self._refuse_stop()
        if refused is None and self.robot_mode is not RobotMode.RUNNING:
            refused = f"the robot is {self.robot_mode.name}: release the brakes first"
        if refused is None:
            self.program_running = True
        return refused

    def recover(self, target: int, stop: bool, play: bool, now: float) -> str | None:
        """ur_robot_state_helper's SetMode."""
        if target != RobotMode.RUNNING:
            return f"target mode {target}: the stand-in reaches {int(RobotMode.RUNNING)} only"
        refused = self._refuse_pressed()
        if refused is not None:
            return refused
        if stop:
            self.stop_program(now)
        self.safety_mode, self.robot_mode = SafetyMode.NORMAL, RobotMode.RUNNING
        return self.play() if play else None

    def switch(self, activate: Sequence[str], deactivate: Sequence[str]) -> str | None:
        """controller_manager's switch_controller, STRICT."""
        known = (*MOTION_CONTROLLERS, *OTHER_CONTROLLERS)
        unknown = [name for name in (*activate, *deactivate) if name not in known]
        if unknown:
            return f"no such controller: {', '.join(unknown)[:200]}"
        active = {self.active} - set(deactivate) | (set(activate) & set(MOTION_CONTROLLERS))
        active.discard("")
        if len(active) > 1:
            return f"one motion controller at a time, these claim the joints: {sorted(active)}"
        self.active = next(iter(active), "")
        return None

    def set_slider(self, fraction: float) -> bool:
        """The speed slider, 0.01..1."""
        if not 0.01 <= fraction <= 1.0:
            return False
        self.slider = float(fraction)
        return True

    def _refuse_pressed(self) -> str | None:
        return "the emergency stop is pressed" if self.button_pressed else None

    def _refuse_stop(self) -> str | None:
        if self.safety_mode is not SafetyMode.NORMAL:
            return f"the safety mode is {self.safety_mode.name}"
        return None
