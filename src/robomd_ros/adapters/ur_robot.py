"""The arm as ur_robot_driver offers it: its topics, services and actions by name.

Names are relative, so that a namespace separates two arms; types that come with the UR driver are looked up by `ur_types`.
"""

from __future__ import annotations

import math
import threading
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.action import ActionClient
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64, Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from robomd_ros.adapters import names, qos, stamps, ur_types
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.adapters.calls import call_action
from robomd_ros.adapters.senses import Senses
from robomd_ros.adapters.ur_config import (
    CONTROLLERS,
    DASHBOARD,
    IO,
    TRAJECTORY_CONTROLLER,
    UrRobotConfig,
)
from robomd_ros.adapters.ur_gripper import UrGripper
from robomd_ros.adapters.ur_services import UrServices
from robomd_ros.arm.kinematics import JOINTS
from robomd_ros.arm.servo import Command
from robomd_ros.arm.state import (
    ALL,
    ROBOT_MODES,
    ROBOT_RUNNING,
    SAFE,
    SAFETY_MODES,
    ArmState,
    SpeedScaling,
)
from robomd_ros.core.errors import RobomdError, SafetyError

_ARRIVED = 0.02
"""A joint this near to its goal has arrived [rad]."""
_SETTLE = 0.1
"""Time a trajectory point that holds the arm has [s]."""


@dataclass(frozen=True)
class Joints:
    """One joint state of the arm.

    Attributes:
        stamp: of the message [s].
        received: steady clock [s].
        positions, velocities: (6,) in the order of JOINTS [rad], [rad/s]; velocities 0 where none came.
    """

    stamp: float
    received: float
    positions: NDArray[np.float64]
    velocities: NDArray[np.float64]


class UrRobot:
    """Reads and commands one arm.

    Args:
        node: with threads: `home` blocks.
        senses: hear the arm.
        config: see UrRobotConfig.
        on_change: called when a mode, the program or the speed changed.

    Attributes:
        joints: the newest joint state; None = none yet.
        tcp: (3,) the arm's own TCP in `base` [m]; None = it is not published.
        changed_at: when the newest word of mode, program or speed came, steady clock [s].
        gripper, services: its gripper; its controller manager and dashboard.
    """

    def __init__(
        self,
        node: RobomdNode,
        senses: Senses,
        config: UrRobotConfig,
        on_change: Callable[[], None],
    ) -> None:
        self._node, self._config, self._on_change = node, config, on_change
        self._joint_names = tuple(config.tf_prefix + name for name in JOINTS)
        self._said: dict[str, int | bool | float] = {}
        self._scaling = SpeedScaling()
        self.joints: Joints | None = None
        self.tcp: NDArray[np.float64] | None = None
        self.gripper, self.services = UrGripper(node, config), UrServices(node)
        self.changed_at = math.nan
        self._gate, self._closed, self._held = threading.Lock(), True, True
        self._subscribe(senses)
        self._offer()

    def _subscribe(self, senses: Senses) -> None:
        newest = qos.NEWEST
        senses.listen(JointState, names.JOINT_STATES, self._take_joints, newest)
        senses.listen(PoseStamped, "tcp_pose_broadcaster/pose", self._take_tcp, newest)
        senses.listen(
            Float64,
            "speed_scaling_state_broadcaster/speed_scaling",
            lambda m: self._say("speed_scaling", self._scaling.fraction(float(m.data))),
            newest,
        )
        senses.listen(
            Bool,
            f"{IO}/robot_program_running",
            lambda m: self._say("program_running", bool(m.data)),
            qos.LATCHED,
        )
        for name, type_name in (("robot_mode", "RobotMode"), ("safety_mode", "SafetyMode")):
            msg_type = ur_types.find("ur_dashboard_msgs", "msg", type_name)
            if msg_type is not None:
                senses.listen(
                    msg_type,
                    f"{IO}/{name}",
                    lambda m, name=name: self._say(name, int(m.mode)),
                    qos.LATCHED,
                )

    def _offer(self) -> None:
        node, config, group = self._node, self._config, self._node.reentrant

        self._trajectory = node.create_publisher(
            JointTrajectory, f"{TRAJECTORY_CONTROLLER}/joint_trajectory", qos.STREAM
        )
        self._forward = (
            None
            if config.control == "trajectory"
            else node.create_publisher(
                Float64MultiArray, f"{CONTROLLERS[config.control]}/commands", qos.STREAM
            )
        )
        follow = ur_types.find("control_msgs", "action", "FollowJointTrajectory")
        self._follow = follow and ActionClient(
            node, follow, f"{TRAJECTORY_CONTROLLER}/follow_joint_trajectory", callback_group=group
        )

    # -- what is heard ----------------------------------------------------------------------------------------------

    def _say(self, name: str, value: int | bool | float) -> None:
        old = self._said.get(name)
        self._said[name] = value
        if self.halted:
            self.close_gate()
        if old is None or abs(float(old) - float(value)) > 0.005:
            self.changed_at = time.monotonic()
            self._on_change()

    def _take_tcp(self, msg: PoseStamped) -> None:
        p = msg.pose.position
        self.tcp = np.array([p.x, p.y, p.z])

    def _take_joints(self, msg: JointState) -> None:
        index = {name: i for i, name in enumerate(msg.name)}
        try:
            order = [index[name] for name in self._joint_names]
            positions = np.array([msg.position[i] for i in order])
        except (KeyError, IndexError):
            return  # another device's joints on the same topic
        speeds = [msg.velocity[i] if i < len(msg.velocity) else 0.0 for i in order]
        gripper = [index.get(name, -1) for name in self._config.gripper_joints]
        if gripper and all(0 <= i < len(msg.position) for i in gripper):
            self.gripper.measured = np.array([msg.position[i] for i in gripper])
        stamp = stamps.to_seconds(msg.header.stamp)
        self.joints = Joints(stamp, time.monotonic(), positions, np.array(speeds))

    @property
    def state(self) -> ArmState:
        """The newest word of each topic, and which of them must have spoken."""
        return ArmState(
            robot_mode=self._said.get("robot_mode"),
            safety_mode=self._said.get("safety_mode"),
            program_running=self._said.get("program_running"),
            speed_scaling=self._said.get("speed_scaling"),
            required=self._required(),
        )

    def _required(self) -> frozenset[str]:
        if self._config.hardware == "mock":
            return frozenset()
        if self._config.hardware == "standin" and "ur_dashboard_msgs" in ur_types.missing():
            return frozenset({"program_running", "speed_scaling"})
        return ALL

    @property
    def robot_mode(self) -> str:
        """Name of the robot mode; "" = unknown."""
        return ROBOT_MODES.get(self._said.get("robot_mode", -99), "")

    @property
    def safety_mode(self) -> str:
        """Name of the safety mode; "" = unknown."""
        return SAFETY_MODES.get(self._said.get("safety_mode", -99), "")

    def serves(self, service: str) -> bool:
        """Does anybody offer this service, a name relative to the cell?"""
        return self._node.count_services(self._node.resolve_service_name(service)) > 0

    def contradicts(self) -> str:
        """Why what answers is not the hardware that was named; "" = it may be."""
        hardware = self._config.hardware
        is_standin = self.serves(names.INJECT_FAULT)
        # the mock's controllers offer robot_mode and safety_mode, too, and never say anything there
        signs = [f"{IO}/{n}" for n in ("robot_mode", "safety_mode") if self._said.get(n)]
        signs += [t for t in ("tcp_pose_broadcaster/pose",) if self._node.count_publishers(t)]
        helper = "ur_robot_state_helper/set_mode/_action/send_goal"
        signs += [s for s in (f"{DASHBOARD}/play", helper) if self.serves(s)]
        if hardware == "mock" and signs:
            return f"hardware is mock, but a real robot answers ({signs[0]}): say hardware:=real."
        if hardware == "standin" and not is_standin:
            return f"hardware is standin, but nobody serves {names.INJECT_FAULT}: start standin_cell, or say hardware:=real."
        if hardware == "real" and is_standin:
            return (
                "hardware is real, but a stand-in cell answers: say hardware:=standin, or stop it."
            )
        return ""

    @property
    def controller(self) -> str:
        """The one the policy's commands go to."""
        return CONTROLLERS[self._config.control]

    @property
    def age(self) -> float:
        """Seconds since the newest joint state came; NaN = none ever."""
        return time.monotonic() - self.joints.received if self.joints is not None else math.nan

    # -- commands ---------------------------------------------------------------------------------------------------

    @property
    def halted(self) -> bool:
        """A protective or emergency stop, or no program: nothing that is published would be done, or all of it later."""
        said = self._said
        return (
            said.get("safety_mode", SAFE[0]) not in SAFE
            or said.get("robot_mode", ROBOT_RUNNING) != ROBOT_RUNNING
            or said.get("program_running") is False
        )

    def open_gate(self) -> None:
        """Let commands through until the next `close_gate`."""
        with self._gate:
            self._closed, self._held = self.halted, False

    def close_gate(self) -> None:
        """From the return of this call on no command is published, whichever thread is about to."""
        with self._gate:
            self._closed = True

    def send(self, command: Command) -> bool:
        """Publish one command of the policy; False = the gate is closed, nothing was published."""
        if self._forward is None:
            publisher = self._trajectory
            msg = self._point(command.positions, 1.0 / self._config.command_rate)
        else:
            is_velocity = self._config.control == "velocity"
            values = command.velocities if is_velocity else command.positions
            publisher, msg = self._forward, Float64MultiArray(data=array("d", values.tolist()))
        with self._gate:
            if not self._closed:
                publisher.publish(msg)
            return not self._closed

    def hold(self) -> bool:
        """Let the arm stand, with at most one message since the gate was opened; whether there was one.

        Zeros for velocities, the measured joints for a trajectory. The position controller keeps its last command, which
        is where the arm is about to be: nothing is published. And nothing after a protective or emergency stop, or
        without a program: the arm stands, and would do later what it is told now.
        """
        with self._gate:
            was_held, self._closed, self._held = self._held, True, True
            if was_held or self.halted or self._config.control == "position":
                return False
            if self._config.control == "trajectory":
                return self._hold_trajectory()
            if self._forward is not None:
                self._forward.publish(Float64MultiArray(data=array("d", [0.0] * 6)))
            return True

    def _hold_trajectory(self) -> bool:
        if self.joints is None or self.halted:
            return False
        self._trajectory.publish(self._point(self.joints.positions, _SETTLE))
        return True

    def _point(self, positions: NDArray[np.float64], seconds: float) -> JointTrajectory:
        point = JointTrajectoryPoint(positions=array("d", positions.tolist()))
        point.time_from_start = _duration(seconds)
        return JointTrajectory(joint_names=list(self._joint_names), points=[point])

    # -- what takes a while -----------------------------------------------------------------------------------------

    def home(self, goal: NDArray[np.float64], seconds: float, check: Callable[[], None]) -> None:
        """Move to the joints `goal` (6,) [rad] by the scaled trajectory controller, and wait until the arm is there.

        Args:
            goal: order of JOINTS.
            seconds: the move takes.
            check: called all the time; raises when the move must end. The arm is then held, but by nothing that is
                published after a protective or emergency stop.

        Raises:
            SafetyError: it did not arrive in three times the time and 5 s. Something holds it: a person has to look.
        """
        deadline = time.monotonic() + 3.0 * seconds + 5.0

        def ended() -> bool:
            check()
            if time.monotonic() > deadline:
                raise SafetyError(
                    f"homing: the arm is {self.distance(goal):.3f} rad from its start pose after "
                    f"{3.0 * seconds + 5.0:.0f} s: does something hold it, is {TRAJECTORY_CONTROLLER} active?"
                )
            return False

        by_action = self._follow is not None and self._follow.server_is_ready()
        try:
            if by_action:
                self._follow_to(goal, seconds, ended)
            else:
                self._trajectory.publish(self._point(goal, seconds))
            pause = threading.Event()
            while self.distance(goal) > _ARRIVED and not ended():
                pause.wait(0.02)
        except RobomdError:
            if not by_action:  # a cancelled action holds the arm by itself
                self._hold_trajectory()
            raise

    def _follow_to(
        self, goal: NDArray[np.float64], seconds: float, ended: Callable[[], bool]
    ) -> None:
        action = self._follow._action_type.Goal(trajectory=self._point(goal, seconds))
        answer = call_action(self._follow, action, 3.0 * seconds + 5.0, cancelled=lambda: ended())
        if answer.error_code != 0:
            raise SafetyError(
                f"homing: {TRAJECTORY_CONTROLLER} ended with {answer.error_code} {answer.error_string[:200]}"
            )

    def distance(self, goal: NDArray[np.float64]) -> float:
        """Largest difference of a joint to `goal` [rad]; infinite before the first joint state."""
        joints = self.joints
        return math.inf if joints is None else float(np.abs(joints.positions - goal).max())


def _duration(seconds: float) -> Duration:
    whole = int(seconds)
    return Duration(sec=whole, nanosec=round((seconds - whole) * 1e9) % 1_000_000_000)
