"""A stand-in cell in a process of its own, and a node beside it that hears and asks everything over DDS."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rclpy.action import ActionClient
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Bool, Float64, Float64MultiArray
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from robomd_msgs.msg import OperatorRequest, RolloutStatus
from robomd_msgs.srv import AnswerRequest, InjectFault, LabelOutcome
from robomd_ros.adapters import names, qos, stamps
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.arm.kinematics import JOINTS

TOPICS = {
    "joints": (JointState, names.JOINT_STATES, qos.SENSOR_DATA),
    "image": (Image, "camera/camera/color/image_raw", qos.CAMERA_RELIABLE),
    "info": (CameraInfo, "camera/camera/color/camera_info", qos.SENSOR_DATA),
    "program": (Bool, "io_and_status_controller/robot_program_running", qos.LATCHED),
    "speed": (Float64, "speed_scaling_state_broadcaster/speed_scaling", qos.SENSOR_DATA),
    "tcp": (PoseStamped, "tcp_pose_broadcaster/pose", qos.SENSOR_DATA),
    "diagnostics": (DiagnosticArray, names.DIAGNOSTICS, qos.EVENTS),
}
_count = itertools.count()


class Neighbour(RobomdNode):
    """Hears what the cell says; plays the driver, the labeler and the one who asks the operator."""

    threads = 4

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("neighbour", **kwargs)
        self.heard: dict[str, deque[Any]] = {name: deque(maxlen=2000) for name in TOPICS}
        self.answers: list[AnswerRequest.Request] = []
        self.labels: list[LabelOutcome.Request] = []
        self.stored: set[str] = set()
        for name, (msg_type, topic, profile) in TOPICS.items():
            self.hear(name, msg_type, topic, profile)
        make = self.create_publisher
        self.position = make(Float64MultiArray, "forward_position_controller/commands", qos.EVENTS)
        self.velocity = make(Float64MultiArray, "forward_velocity_controller/commands", qos.EVENTS)
        self.trajectory = make(
            JointTrajectory, "scaled_joint_trajectory_controller/joint_trajectory", qos.EVENTS
        )
        self.status = make(RolloutStatus, names.ROLLOUT_STATUS, qos.ROLLOUT_STATUS)
        self.request = make(OperatorRequest, names.OPERATOR_REQUEST, qos.LATCHED)
        self.serve(AnswerRequest, names.OPERATOR_ANSWER, lambda q, _: self.answers.append(q))
        self.create_service(LabelOutcome, names.LABEL_OUTCOME, self._label)

    def hear(self, name: str, msg_type: Any, topic: str, profile: Any) -> None:
        """Keep all that a topic says."""
        self.heard.setdefault(name, deque(maxlen=2000))
        self.listen(
            msg_type, topic, lambda msg: self.heard[name].append(msg), profile, self.reentrant
        )

    def _label(self, request: Any, response: Any) -> Any:
        if request.rollout_id in self.stored:
            self.labels.append(request)
        else:
            response.error_code = LabelOutcome.Response.UNKNOWN_ID
        return response


class Standin:
    """The process and the neighbour, in a namespace of their own."""

    def __init__(self, ros: Any, environment: dict[str, str], **parameters: Any) -> None:
        self.ros, self.namespace = ros, f"/standin_{os.getpid()}_{next(_count)}"
        self.graph, self._clients = ros.Graph(), {}
        self.node = self.graph.add(partial(Neighbour, namespace=self.namespace))
        arguments = [
            sys.executable, "-m", "sim_bridge.standin_cell_node", "--ros-args", "-r",
            f"__ns:={self.namespace}",
        ]  # fmt: skip
        for name, value in ({"joint_rate": 50.0, "camera_rate": 15.0} | parameters).items():
            arguments += ["-p", f"{name}:={value}"]
        self.process = subprocess.Popen(
            arguments, env=os.environ | environment, stderr=subprocess.PIPE, text=True
        )
        self.log: deque[str] = deque(maxlen=50)
        self._reader = threading.Thread(target=lambda: self.log.extend(self.process.stderr))
        self._reader.start()
        try:
            self.until(lambda: self.heard["joints"], 60.0)
        except BaseException:
            self.close()
            raise

    @property
    def heard(self) -> dict[str, deque[Any]]:
        return self.node.heard

    def until(self, condition: Any, timeout: float = 20.0) -> Any:
        """The condition's first true value; fails when the process ends or the deadline passes."""

        def alive() -> Any:
            assert self.process.poll() is None, "".join(self.log)
            return condition()

        return self.ros.until(alive, timeout)

    def fresh(self, name: str, n: int = 1) -> list[Any]:
        """The next n messages of a topic, from now on."""
        self.heard[name].clear()
        self.until(lambda: len(self.heard[name]) >= n)
        return list(self.heard[name])

    def q(self) -> list[float]:
        """The six joints now [rad]."""
        msg = self.fresh("joints")[0]
        return [msg.position[msg.name.index(name)] for name in JOINTS]

    def still(self) -> list[float]:
        """Wait until the arm stands; its joints."""
        self.until(lambda: max(abs(v) for v in self.fresh("joints", 2)[-1].velocity[:6]) < 0.01)
        return self.q()

    def call(self, srv_type: Any, name: str, request: Any) -> Any:
        """A service's response; its client is kept, for discovery takes longer than the call."""
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = self.node.create_client(srv_type, name)
        self.until(client.service_is_ready)
        future = client.call_async(request)
        self.until(future.done)
        return future.result()

    def act(self, action_type: Any, name: str, goal: Any) -> Any:
        """An action's result; its client is kept, as above."""
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = ActionClient(self.node, action_type, name)
        self.until(client.server_is_ready)
        sent = client.send_goal_async(goal)
        self.until(sent.done)
        ended = sent.result().get_result_async()
        self.until(ended.done)
        return ended.result().result

    def trigger(self, name: str) -> Any:
        return self.call(Trigger, name, Trigger.Request())

    def inject(self, fault: str, delay: float = -1.0, duration: float = 0.0) -> Any:
        request = InjectFault.Request(fault=fault, delay=float(delay), duration=float(duration))
        return self.call(InjectFault, names.INJECT_FAULT, request)

    def command(self, q: list[float]) -> None:
        self.node.position.publish(Float64MultiArray(data=q))

    def health(self) -> dict[str, str]:
        """The values of the cell's newest diagnostics, from now on."""
        name = f"{self.namespace}/standin_cell"

        def newest() -> Any:
            found = [s for m in self.heard["diagnostics"] for s in m.status if s.name == name]
            return found and {v.key: v.value for v in found[-1].values}

        self.heard["diagnostics"].clear()
        return self.until(newest)

    def stamps(self, name: str) -> list[float]:
        return [stamps.to_seconds(m.header.stamp) for m in self.heard[name]]

    def close(self) -> int:
        """End the process as Ctrl-C does; its exit code."""
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(signal.SIGINT)
        try:
            code = self.process.wait(20.0)
        finally:
            self.process.kill()
            self._reader.join()
            self.process.stderr.close()
            self.graph.close()
        return code


def trajectory(q: list[float], seconds: float) -> JointTrajectory:
    """One point, the joints in the reverse of the usual order: names count, not places."""
    point = JointTrajectoryPoint(positions=q[::-1])
    point.time_from_start.sec = int(seconds)
    point.time_from_start.nanosec = int((seconds - int(seconds)) * 1e9)
    return JointTrajectory(joint_names=list(JOINTS)[::-1], points=[point])
