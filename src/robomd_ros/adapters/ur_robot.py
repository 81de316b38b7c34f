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
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from robomd_ros.adapters import names, qos, stamps, ur_types
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.adapters.calls import call_action, call_service
from robomd_ros.adapters.senses import Senses
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
from robomd_ros.core.errors import DeadlineError, RobomdError, SafetyError, UnavailableError

IO = "io_and_status_controller"
TRAJECTORY_CONTROLLER = "scaled_joint_trajectory_controller"
CONTROLLERS = {
    "position": "forward_position_controller",
    "velocity": "forward_velocity_controller",
    "trajectory": TRAJECTORY_CONTROLLER,
}
"""By what the policy is moved with."""
DASHBOARD = "dashboard_client"

_ARRIVED = 0.02
"""A joint this near to its goal has arrived [rad]."""
_CALL = 5.0
_SET_MODE = 60.0
_SETTLE = 0.1
"""Time a trajectory point that holds the arm has [s]."""


@dataclass(frozen=True)
class UrRobotConfig:
    """What of the UR driver is used, and how.

    Attributes:
        hardware: "real", "mock" or "standin".
        tf_prefix: before every joint's name.
        control: "position", "velocity" or "trajectory".
        command_rate: of the commands [Hz].
        gripper: "set_io", "set_bool" or "none".
        gripper_pin: digital output, set_io.
        gripper_joints: names in joint_states; not published = modelled.
        gripper_open, gripper_closed: their values [rad] or [m].
        gripper_time: to open or close [s].
    """

    hardware: str
    tf_prefix: str
    control: str
    command_rate: float
    gripper: str
    gripper_pin: int
    gripper_joints: tuple[str, ...]
    gripper_open: tuple[float, ...]
    gripper_closed: tuple[float, ...]
    gripper_time: float


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
        node: with threads: `home`, `activate` and `recover` block.
        senses: hear the arm.
        config: see UrRobotConfig.
        on_change: called when a mode, the program or the speed changed.
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
        self._gripper: NDArray[np.float64] | None = None
        self._gripper_value, self._gripper_since, self._gripper_from = -1.0, -math.inf, 0.0
        self.joints: Joints | None = None
        self.tcp: NDArray[np.float64] | None = None
        self.gripper_trouble = ""
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

        def client(srv_type: type | None, name: str) -> object | None:
            return srv_type and node.create_client(srv_type, name, callback_group=group)

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
        set_mode = ur_types.find("ur_dashboard_msgs", "action", "SetMode")
        self._set_mode = set_mode and ActionClient(
            node, set_mode, "ur_robot_state_helper/set_mode", callback_group=group
        )
        self._switch = client(
            ur_types.find("controller_manager_msgs", "srv", "SwitchController"),
            "controller_manager/switch_controller",
        )
        self._set_io = client(ur_types.find("ur_msgs", "srv", "SetIO"), f"{IO}/set_io")
        self._set_bool = client(SetBool, "gripper/close")
        self._triggers = {
            name: client(Trigger, name)
            for name in (
                f"{IO}/resend_robot_program",
                *(
                    f"{DASHBOARD}/{verb}"
                    for verb in ("restart_safety", "unlock_protective_stop", "power_on")
                ),
                *(f"{DASHBOARD}/{verb}" for verb in ("brake_release", "stop", "play")),
            )
        }

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
            self._gripper = np.array([msg.position[i] for i in gripper])
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

    @property
    def gripper_state(self) -> NDArray[np.float64]:
        """Values of the gripper's joints: as published, else a straight move from one end to the other."""
        if self._gripper is not None:
            return self._gripper
        config = self._config
        done = (time.monotonic() - self._gripper_since) / config.gripper_time
        wanted = 1.0 if self._gripper_value > 0 else 0.0
        share = self._gripper_from + (wanted - self._gripper_from) * min(max(done, 0.0), 1.0)
        opened, closed = np.array(config.gripper_open), np.array(config.gripper_closed)
        return opened + share * (closed - opened)

    def serves(self, service: str) -> bool:
        """Does anybody offer this service, a name relative to the cell?"""
        return self._node.count_services(self._node.resolve_service_name(service)) > 0

    def contradicts(self) -> str:
        """Why what answers is not the hardware that was named; "" = it may be."""
        hardware = self._config.hardware
        is_standin = self.serves(names.INJECT_FAULT)
        topics = (f"{IO}/robot_mode", f"{IO}/safety_mode")
        signs = [t for t in topics if self._node.count_publishers(t)]
        signs += [s for s in (f"{DASHBOARD}/play",) if self.serves(s)]
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

    def gripper(self, value: float) -> None:
        """Close (> 0) or open; does not wait, and does nothing when it is asked for already."""
        if (value > 0) == (self._gripper_value > 0) and self._gripper_since > -math.inf:
            return
        now = time.monotonic()
        done = min(max((now - self._gripper_since) / self._config.gripper_time, 0.0), 1.0)
        was = 1.0 if self._gripper_value > 0 else 0.0
        self._gripper_from += (was - self._gripper_from) * done
        self._gripper_value, self._gripper_since = value, now
        self._move_gripper(value > 0)

    def _move_gripper(self, close: bool) -> None:
        kind = self._config.gripper
        if kind == "none":
            return
        if kind == "set_io" and self._set_io is not None:
            request = self._set_io.srv_type.Request(
                fun=1, pin=self._config.gripper_pin, state=float(close)
            )
            client = self._set_io
        else:
            client, request = self._set_bool, SetBool.Request(data=close)
        future = client.call_async(request)
        future.add_done_callback(lambda f: self._check_gripper(f.result()))

    def _check_gripper(self, answer: object) -> None:
        # the driver's mock always says that it failed
        failed = not getattr(answer, "success", False) and self._config.hardware != "mock"
        self.gripper_trouble = "the gripper did not take its command" if failed else ""

    # -- what takes a while -----------------------------------------------------------------------------------------

    def activate(self, controller: str, cancelled: Callable[[], bool]) -> None:
        """Make this motion controller the active one; taken for granted where controller_manager_msgs is absent.

        Raises:
            SafetyError: the controller manager refused.
            UnavailableError, DeadlineError: it does not answer.
        """
        if self._switch is None:
            return
        others = [c for c in set(CONTROLLERS.values()) if c != controller]
        request = self._switch.srv_type.Request(
            activate_controllers=[controller],
            deactivate_controllers=sorted(others),
            strictness=1,  # BEST_EFFORT: one that is inactive already is no mistake
            activate_asap=True,
        )
        answer = call_service(self._switch, request, _CALL, cancelled)
        if not answer.ok:
            raise SafetyError(f"the controller manager did not activate {controller}.")

    def home(self, goal: NDArray[np.float64], seconds: float, check: Callable[[], None]) -> None:
        """Move to the joints `goal` (6,) [rad] by the scaled trajectory controller, and wait until the arm is there.

        Args:
            goal: order of JOINTS.
            seconds: the move takes.
            check: called all the time; raises when the move must end. The arm is then held, but by nothing that is
                published after a protective or emergency stop.

        Raises:
            DeadlineError: it did not arrive in three times the time and 5 s.
        """
        deadline = time.monotonic() + 3.0 * seconds + 5.0

        def ended() -> bool:
            check()
            if time.monotonic() > deadline:
                raise DeadlineError(
                    f"homing: the arm is {self.distance(goal):.3f} rad from its start pose after "
                    f"{3.0 * seconds + 5.0:.0f} s: is {TRAJECTORY_CONTROLLER} active?"
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

    def recover(self, cancelled: Callable[[], bool]) -> None:
        """After the operator's word: unlock, switch on, release the brakes, stop the old program, start it anew.

        Raises:
            SafetyError: the arm refused, for example because the emergency stop is still pressed.
            UnavailableError: nobody there who could do it.
        """
        if self._set_mode is not None and self._set_mode.server_is_ready():
            goal = self._set_mode._action_type.Goal(
                target_robot_mode=7, stop_program=True, play_program=True
            )
            answer = call_action(self._set_mode, goal, _SET_MODE, cancelled=cancelled)
            if not answer.success:
                raise SafetyError(f"the arm did not recover: {answer.message[:300] or 'refused'}.")
            return
        offered = [c for c in self._triggers.values() if self._ready(c)]
        if not offered:
            raise UnavailableError(
                f"nobody serves {DASHBOARD} or ur_robot_state_helper: start the program on the pendant."
            )
        refused = ""
        for (
            client
        ) in offered:  # most of them have nothing to do: what counts is the arm's state afterwards
            answer = call_service(client, Trigger.Request(), _CALL, cancelled)
            refused = refused if answer.success else answer.message
        if refused:
            self._node.get_logger().info(f"recovery: {refused}"[:300])

    @staticmethod
    def _ready(client: object) -> bool:
        return client.service_is_ready()


def _duration(seconds: float) -> Duration:
    whole = int(seconds)
    return Duration(sec=whole, nanosec=round((seconds - whole) * 1e9) % 1_000_000_000)
