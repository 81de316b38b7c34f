"""What a rollout on the arm needs from the world: the driver node offers it over ROS, tests without."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robomd_ros.arm.servo import Command
from robomd_ros.arm.state import ArmState


@dataclass(frozen=True)
class Frame:
    """A camera image.

    Attributes:
        stamp: its own, in the camera's clock [s].
        rgb: (H, W, 3) uint8, first row on top.
        received: when it came, steady clock [s].
        age: how old it was when it came [s], where camera and computer share a clock; None = not known.
    """

    stamp: float
    rgb: NDArray[np.uint8]
    received: float
    age: float | None = None


@dataclass(frozen=True)
class JointReading:
    """Measured joints.

    Attributes:
        stamp: its own [s].
        received: when it came, steady clock [s].
        positions, velocities: (6,) in the order of kinematics.JOINTS [rad], [rad/s].
        gripper: (G,) joints of the gripper as the policy takes them (6 for robosuite's Robotiq 85).
    """

    stamp: float
    received: float
    positions: NDArray[np.float64]
    velocities: NDArray[np.float64]
    gripper: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


class ArmPorts(Protocol):
    """The world of `run_policy`. All calls come from the thread that runs it, and none may block except `wait`."""

    def now(self) -> float:
        """Steady clock [s]."""

    def newest_frame(self) -> Frame | None:
        """The frame that came last, in whatever order the stamps are; None = none yet."""

    def joints(self) -> JointReading | None:
        """The joint state that came last; None = none yet."""

    def state(self) -> ArmState:
        """The newest state of the arm."""

    def send(self, command: Command) -> None:
        """Publish a command of the arm."""

    def hold(self) -> None:
        """Stop and hold: called once, after the last command."""

    def gripper(self, value: float) -> None:
        """Move the gripper, -1 open .. 1 closed; called when the value changes its sign."""

    def stop_asked(self) -> str:
        """Why the operator wants the arm stopped; "" = he does not."""

    def wait(self, until: float) -> None:
        """Wait until the steady clock shows `until` [s], or somewhat earlier."""
