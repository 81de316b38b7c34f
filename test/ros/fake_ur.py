"""A UR driver as far as standard types go, a camera and a person, in one node: every move and every silence is the test's."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Bool, Float64, Float64MultiArray
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from robomd_msgs.msg import CellState, OperatorRequest, RolloutStatus
from robomd_msgs.srv import AnswerRequest, InjectFault
from robomd_ros.adapters import names, qos, stamps
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.adapters.images import image_to_msg, image_to_png
from robomd_ros.arm.kinematics import JOINTS, ROBOSUITE_HOME

RATE = 50.0
IO = "io_and_status_controller"


class FakeUr(RobomdNode):
    """Does at once what it is told, and notes when. `operator` answers every request with it; 0 = nobody is there."""

    threads = 4

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("fake_ur", **kwargs)
        self.q = np.array(ROBOSUITE_HOME)
        self.silent: set[str] = set()
        self.compressed = False
        self.follows = True
        self.operator = AnswerRequest.Request.DONE
        self.answer_kinds = {
            OperatorRequest.SET_UP,
            OperatorRequest.CONSENT,
            OperatorRequest.RECOVER,
        }
        self.commands: list[tuple[float, str, np.ndarray]] = []
        self.statuses: list[RolloutStatus] = []
        self.states: list[CellState] = []
        self.requests: list[OperatorRequest] = []
        self.triggered: list[str] = []
        self.gripper: list[bool] = []
        self._answered: set[str] = set()
        self.ticks = 0
        self._joints = self.create_publisher(JointState, names.JOINT_STATES, qos.CAMERA_WRITER)
        self._image = self.create_publisher(Image, names.CAMERA_IMAGE, qos.CAMERA_WRITER)
        self._program = self.create_publisher(Bool, f"{IO}/robot_program_running", qos.LATCHED)
        self._speed = self.create_publisher(
            Float64, "speed_scaling_state_broadcaster/speed_scaling", qos.CAMERA_WRITER
        )
        self.listen(
            JointTrajectory,
            "scaled_joint_trajectory_controller/joint_trajectory",
            lambda m: self._commanded("trajectory", np.array(m.points[-1].positions)),
            qos.EVENTS,
        )
        for kind in ("position", "velocity"):
            self.listen(
                Float64MultiArray,
                f"forward_{kind}_controller/commands",
                lambda m, kind=kind: self._commanded(kind, np.array(m.data)),
                qos.EVENTS,
            )
        self.listen(RolloutStatus, names.ROLLOUT_STATUS, self._on_status, qos.ROLLOUT_STATUS)
        self.listen(CellState, names.CELL_STATE, self.states.append, qos.LATCHED)
        self.listen(OperatorRequest, names.OPERATOR_REQUEST, self._on_request, qos.LATCHED)
        self._answers = self.create_client(AnswerRequest, names.OPERATOR_ANSWER)
        self.serve(InjectFault, names.INJECT_FAULT, lambda *_: None)
        self.create_service(SetBool, "gripper/close", self._grip)
        self.clock = MutuallyExclusiveCallbackGroup()
        self.every(1.0 / RATE, self._tick, self.clock)

    def dashboard(self) -> None:
        """Serve what only a real robot's driver serves."""
        for verb in ("unlock_protective_stop", "brake_release", "play"):
            self.create_service(
                Trigger, f"dashboard_client/{verb}", lambda _, r, verb=verb: self._trigger(verb, r)
            )

    def program(self, running: bool) -> None:
        """Say whether the control program runs."""
        self._program.publish(Bool(data=running))

    def _trigger(self, verb: str, response: Any) -> Any:
        self.triggered.append(verb)
        if verb == "play":
            self.program(True)
        response.success = True
        return response

    def _grip(self, request: Any, response: Any) -> Any:
        self.gripper.append(bool(request.data))
        response.success = True
        return response

    def _commanded(self, kind: str, values: np.ndarray) -> None:
        self.commands.append((time.monotonic(), kind, values))
        if self.follows and kind != "velocity":
            self.q = values.copy()

    def _on_status(self, msg: RolloutStatus) -> None:
        self.statuses.append(msg)

    def _on_request(self, msg: OperatorRequest) -> None:
        self.requests.append(msg)
        if msg.kind not in self.answer_kinds or not self.operator or msg.id in self._answered:
            return
        self._answered.add(msg.id)
        request = AnswerRequest.Request(
            request_id=msg.id, answer=self.operator, answered_by="ada", note="so be it"
        )
        self._answers.call_async(request)

    def _tick(self) -> None:
        stamp = stamps.wall()
        if "joints" not in self.silent:
            msg = JointState(name=list(JOINTS)[::-1])
            msg.header.stamp = stamp
            msg.position.extend(self.q[::-1].tolist())
            self._joints.publish(msg)
        if "speed" not in self.silent:
            self._speed.publish(Float64(data=100.0))
        self.ticks += 1
        if "camera" in self.silent or self.ticks % 2:
            return
        rgb = np.full((24, 32, 3), self.ticks % 200, np.uint8)
        if self.compressed:
            self._compressed().publish(image_to_png(rgb, stamp, "eye"))
        else:
            self._image.publish(image_to_msg(rgb, stamp, "eye"))

    def _compressed(self) -> Any:
        if self._image.topic_name.endswith("image_raw"):
            self.destroy_publisher(self._image)
            self._image = self.create_publisher(
                CompressedImage, names.CAMERA_COMPRESSED, qos.CAMERA_WRITER
            )
        return self._image

    def policy_commands(self, kind: str = "position") -> list[tuple[float, np.ndarray]]:
        """What was streamed to a forward controller: when, and what."""
        return [(at, values) for at, k, values in self.commands if k == kind]

    @property
    def wait(self) -> threading.Event:
        """Something to wait on."""
        return self.closing
