"""What a rollout on the arm needs, over ROS: the camera, the arm, the operator's stop."""

from __future__ import annotations

import math
import threading
import time

import numpy as np
from numpy.typing import NDArray

from robomd_ros.adapters.cell_camera import CellCamera
from robomd_ros.adapters.ur_robot import UrRobot
from robomd_ros.arm.ports import Frame, JointReading
from robomd_ros.arm.servo import Command
from robomd_ros.arm.state import ArmState


class RosArmPorts:
    """arm.ports.ArmPorts over one UrRobot and one CellCamera.

    Attributes:
        stop: why the operator wants the arm stopped; "" = he does not. Set from any thread.
        stopped_at: when the operator said so, steady clock [s]; NaN = he did not.
        held_at: when the arm was told to hold, or stood; NaN = not yet.
    """

    def __init__(self, robot: UrRobot, camera: CellCamera) -> None:
        self._robot, self._camera = robot, camera
        self._pause = threading.Event()
        self.stop = ""
        self.stopped_at = self.held_at = float("nan")
        self._reading: JointReading | None = None

    def ask_stop(self, why: str) -> None:
        """The operator wants the arm stopped: no command is published once this has returned."""
        if not self.stop:
            self.stopped_at, self.stop = time.monotonic(), why
        self.hold()

    # -- for the one who runs the rollout ---------------------------------------------------------------------------

    def begin(self) -> int:
        """Let commands through and count frames from the newest one on; its stamp [ns]."""
        self._robot.open_gate()
        return self._camera.begin()

    def end(self) -> tuple[int, int]:
        """Stamp of the last frame [ns], and how many there were."""
        return self._camera.end()

    def exact_stamp(self, seconds: float) -> int:
        """The stamp of a frame of the rollout [ns], which float seconds do not hold exactly."""
        return self._camera.exact_stamp(seconds)

    @property
    def frame_id(self) -> str:
        """Of the camera."""
        return self._camera.frame_id

    @property
    def joints_age(self) -> float:
        """Seconds since the newest joint state came."""
        return self._robot.age

    @property
    def tcp(self) -> NDArray[np.float64] | None:
        """(3,) the arm's own TCP in `base` [m]; None = it is not published."""
        return self._robot.tcp

    @property
    def robot_mode(self) -> str:
        """Its name; "" = unknown."""
        return self._robot.robot_mode

    @property
    def safety_mode(self) -> str:
        """Its name; "" = unknown."""
        return self._robot.safety_mode

    @property
    def gripper_trouble(self) -> str:
        """What went wrong with it; "" = nothing."""
        return self._robot.gripper.trouble

    @property
    def time_to_stop(self) -> float:
        """From the operator's word, or the arm's, to the hold [s]; NaN = neither of them stopped it."""
        if self.stop:
            return self.held_at - self.stopped_at
        arm_stopped = self._robot.state.stopped()
        return self.held_at - self._robot.changed_at if arm_stopped else float("nan")

    # -- arm.ports.ArmPorts -----------------------------------------------------------------------------------------

    def now(self) -> float:
        """Steady clock [s]."""
        return time.monotonic()

    def newest_frame(self) -> Frame | None:
        """The frame that came last."""
        return self._camera.newest()

    def joints(self) -> JointReading | None:
        """The joint state that came last."""
        joints = self._robot.joints
        if joints is None:
            return None
        if self._reading is None or self._reading.received != joints.received:
            self._reading = JointReading(
                joints.stamp,
                joints.received,
                joints.positions,
                joints.velocities,
                self._robot.gripper.joints,
            )
        return self._reading

    def state(self) -> ArmState:
        """The newest state of the arm."""
        return self._robot.state

    def send(self, command: Command) -> None:
        """Publish a command, unless the arm was stopped a moment ago."""
        self._robot.send(command)

    def hold(self) -> None:
        """Stop and hold; see UrRobot.hold for what is published."""
        self._robot.hold()
        if math.isnan(self.held_at):
            self.held_at = time.monotonic()

    def gripper(self, value: float) -> None:
        """Open or close, without waiting, unless the arm was stopped a moment ago."""
        if not self.stop and not self._robot.halted:
            self._robot.gripper.move(value)

    def stop_asked(self) -> str:
        """What the operator said."""
        return self.stop

    def wait(self, until: float) -> None:
        """Wait until the steady clock shows `until` [s]."""
        left = until - time.monotonic()
        if left > 0:
            self._pause.wait(left)
