"""What no command may do, whatever the policy wants."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from robomd_ros.arm.kinematics import JOINTS, Kinematics
from robomd_ros.arm.servo import Command
from robomd_ros.core.errors import InvalidArgumentError, SafetyError

Six = tuple[float, float, float, float, float, float]
Three = tuple[float, float, float]
_TWO_PI = 2.0 * float(np.pi)


@dataclass(frozen=True)
class Limits:
    """Limits of the commands.

    Attributes:
        joint_step: most change of a joint from one command to the next [rad].
        joint_velocity: most of a joint [rad/s].
        joint_low, joint_high: (6,) range of the joints [rad]; a UR5e's own by default.
        workspace_low, workspace_high: (3,) box the TCP must stay in, in the UR's `base` [m].
        first_distance: the first command may be this far from the measured joints [rad].
        following_distance: every later one, from the joints measured then [rad].
        min_speed_scaling: below it a rollout does not start, 0..1.
    """

    joint_step: float = 0.03
    joint_velocity: float = 2.0
    joint_low: Six = field(default=(-_TWO_PI, -_TWO_PI, -np.pi, -_TWO_PI, -_TWO_PI, -_TWO_PI))
    joint_high: Six = field(default=(_TWO_PI, _TWO_PI, np.pi, _TWO_PI, _TWO_PI, _TWO_PI))
    workspace_low: Three = (-1.0, -1.0, -1.0)
    workspace_high: Three = (1.0, 1.0, 1.5)
    first_distance: float = 0.05
    following_distance: float = 0.25
    min_speed_scaling: float = 0.95

    def __post_init__(self) -> None:
        for name in ("joint_step", "joint_velocity", "first_distance", "following_distance"):
            if not 0.0 < getattr(self, name) < np.inf:
                raise InvalidArgumentError(
                    f"limits: {name} = {getattr(self, name)}; want more than 0."
                )
        for name, size in (("joint", 6), ("workspace", 3)):
            low = np.asarray(getattr(self, f"{name}_low"), np.float64)
            high = np.asarray(getattr(self, f"{name}_high"), np.float64)
            if low.shape != (size,) or high.shape != (size,) or not (low < high).all():
                raise InvalidArgumentError(
                    f"limits: {name}_low {low.tolist()} and {name}_high {high.tolist()}; "
                    f"want {size} numbers each, low below high."
                )


class Limiter:
    """Slows commands down to the limits, and refuses what slowing down cannot mend.

    Attributes:
        clamped: commands that were slowed down since it was made.
    """

    def __init__(self, limits: Limits, kinematics: Kinematics) -> None:
        self.limits, self.kinematics = limits, kinematics
        self.clamped = 0

    def first(self, command: Command, q_measured: NDArray[np.float64]) -> None:
        """Check the first command of a rollout against the measured joints (6,) [rad].

        Raises:
            SafetyError: it is too far away; arms have jumped after a pause.
        """
        self._finite(command)
        self._near(command, q_measured, self.limits.first_distance, "the first command")
        self._inside(command)

    def limit(
        self, command: Command, previous: Command, dt: float, q_measured: NDArray[np.float64]
    ) -> Command:
        """The command, slowed down where it is too fast; its direction stays.

        Args:
            command: wanted.
            previous: the one sent dt seconds ago.
            dt: [s].
            q_measured: (6,) [rad].

        Raises:
            SafetyError: not finite, out of the workspace or a joint's range, or the arm does not follow.
        """
        self._finite(command)
        step = command.positions - previous.positions
        most = min(self.limits.joint_step, self.limits.joint_velocity * dt)
        step_scale = _scale(step, most)
        speed_scale = _scale(command.velocities, self.limits.joint_velocity)
        if step_scale < 1.0 or speed_scale < 1.0:
            self.clamped += 1
            command = Command(
                previous.positions + step_scale * step,
                min(step_scale, speed_scale) * command.velocities,
                command.gripper,
            )
        self._near(command, q_measured, self.limits.following_distance, "the command")
        self._inside(command)
        return command

    def _finite(self, command: Command) -> None:
        values = np.concatenate([command.positions, command.velocities, [command.gripper]])
        if values.shape != (13,) or not np.isfinite(values).all():
            raise SafetyError(f"the command {values.tolist()!r:.200} is not 13 finite numbers.")

    def _near(
        self, command: Command, q_measured: NDArray[np.float64], most: float, what: str
    ) -> None:
        away = np.abs(command.positions - q_measured)
        i = int(np.argmax(away))
        if not away[i] <= most:
            raise SafetyError(
                f"{what} is {away[i]:.3f} rad from the measured {JOINTS[i]}; at most {most:g} rad is let through."
            )

    def _inside(self, command: Command) -> None:
        low, high = np.asarray(self.limits.joint_low), np.asarray(self.limits.joint_high)
        out = (command.positions < low) | (command.positions > high)
        if out.any():
            i = int(np.argmax(out))
            raise SafetyError(
                f"the command takes {JOINTS[i]} to {command.positions[i]:.3f} rad; "
                f"its range is {low[i]:.3f} .. {high[i]:.3f}."
            )
        position, _ = self.kinematics.forward(command.positions)
        if (position < self.limits.workspace_low).any() or (
            position > self.limits.workspace_high
        ).any():
            raise SafetyError(
                f"the command takes the tool to {np.round(position, 3).tolist()} m in the frame base, out of the "
                f"workspace {list(self.limits.workspace_low)} .. {list(self.limits.workspace_high)}."
            )


def _scale(values: NDArray[np.float64], most: float) -> float:
    """At most 1; times `values` none of them is larger than `most`."""
    largest = float(np.abs(values).max())
    return 1.0 if largest <= most else most / largest
