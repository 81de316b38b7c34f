"""Parameters of ur5e_driver, and the objects of `arm` they stand for."""

from __future__ import annotations

from dataclasses import dataclass

from robomd_ros.adapters.parameters import parameter
from robomd_ros.adapters.ur_config import UrRobotConfig
from robomd_ros.arm.kinematics import (
    ROBOSUITE_HOME,
    ROBOSUITE_LIFT_BASE,
    ROBOSUITE_TOOL,
    Kinematics,
    Pose,
)
from robomd_ros.arm.limiter import Limits
from robomd_ros.arm.servo import ServoConfig
from robomd_ros.arm.watchdog import WatchdogConfig
from robomd_ros.core.errors import InvalidArgumentError

_LIMITS, _WATCHDOG = Limits(), WatchdogConfig()
_GRIPPER = (
    "finger_joint", "left_inner_finger_joint", "left_inner_knuckle_joint",
    "right_outer_knuckle_joint", "right_inner_finger_joint", "right_inner_knuckle_joint",
)  # fmt: skip
"""robosuite's Robotiq 85, in the order of its gripper_qpos."""


def _numbers(pose: Pose) -> tuple[float, ...]:
    return (*map(float, pose.xyz), *map(float, pose.rotvec))


@dataclass(frozen=True)
class Ur5eDriverConfig:
    """Parameters of ur5e_driver."""

    policy: str = parameter(
        "",
        "policy under test, see docs/policies.md: a shipped name, a folder, tcp:, openpi:, lerobot: ...",
    )
    task: str = parameter("lift", "task of the cell, which names the catalogue of variations")
    catalogue: str = parameter("", "a TOML file with another catalogue; empty = the task's")
    robot: str = parameter("UR5e", "robot the policy was made for", choices=("UR5e",))
    hardware: str = parameter(
        "real",
        "the arm, the UR driver's mock (no readiness topics), or the stand-in cell",
        choices=("real", "mock", "standin"),
    )
    robot_ip: str = parameter("", "address of the arm, for the record")
    tf_prefix: str = parameter("", "before every joint's name, as given to ur_robot_driver")
    scene: str = parameter(
        "Put the object to a new place within its area, and take away what is not part of the task.",
        "what to do before every rollout, shown to the operator",
    )
    consent: str = parameter(
        "each",
        "the operator lets each rollout run, or the first one and those after a stop, or is not asked",
        choices=("each", "session", "none"),
    )
    control: str = parameter(
        "position",
        "how the policy moves the arm: forward_position, forward_velocity or trajectory points",
        choices=("position", "velocity", "trajectory"),
    )
    command_rate: float = parameter(100.0, "commands", low=1.0, high=500.0, unit="Hz")
    home: tuple[float, ...] = parameter(
        ROBOSUITE_HOME, "start pose: six joints, pan to wrist 3 [rad]"
    )
    home_time: float = parameter(2.0, "a homing move takes at least", low=0.5, high=60.0, unit="s")
    home_speed: float = parameter(
        0.5, "fastest joint of a homing move", low=0.01, high=2.0, unit="rad/s"
    )
    tool: tuple[float, ...] = parameter(
        _numbers(ROBOSUITE_TOOL), "flange to the tool's centre: x y z [m], rotation vector [rad]"
    )
    check_tool: bool = parameter(True, "compare it with the arm's own TCP where that is published")
    policy_frame: tuple[float, ...] = parameter(
        _numbers(ROBOSUITE_LIFT_BASE),
        "the UR's base in the policy's world: x y z [m], rotation vector [rad]",
    )
    position_scale: float = parameter(0.05, "of an osc action of 1", low=0.0, high=1.0, unit="m")
    rotation_scale: float = parameter(0.5, "of an osc action of 1", low=0.0, high=3.2, unit="rad")
    stiffness: float = parameter(150.0, "kp of osc actions", low=1.0, high=1e4, unit="1/s^2")
    uncouple: bool = parameter(True, "the policy was trained with robosuite's OSC")
    gripper: str = parameter(
        "set_io",
        "a digital output, a std_srvs/SetBool service gripper/close, or none",
        choices=("set_io", "set_bool", "none"),
    )
    gripper_pin: int = parameter(
        16, "digital output of the gripper (16 = the first of the tool)", low=0, high=17
    )
    gripper_time: float = parameter(0.6, "to open or close", low=0.05, high=10.0, unit="s")
    gripper_joints: tuple[str, ...] = parameter(
        _GRIPPER,
        "the gripper in joint_states, in the policy's order; not published = modelled",
    )
    gripper_open: tuple[float, ...] = parameter(
        (-0.026, -0.267, -0.2, -0.026, -0.267, -0.2), "its joints when open"
    )
    gripper_closed: tuple[float, ...] = parameter(
        (0.516, -0.136, 0.262, 0.515, -0.144, 0.263), "its joints when it holds the object"
    )
    joint_step: float = parameter(
        _LIMITS.joint_step, "change of a joint between commands", low=1e-4, high=0.2, unit="rad"
    )
    joint_velocity: float = parameter(
        _LIMITS.joint_velocity, "of a joint at most", low=0.01, high=3.2, unit="rad/s"
    )
    workspace_low: tuple[float, ...] = parameter(
        _LIMITS.workspace_low, "corner of the box the tool stays in: x y z in the UR's base [m]"
    )
    workspace_high: tuple[float, ...] = parameter(_LIMITS.workspace_high, "the other corner [m]")
    first_distance: float = parameter(
        _LIMITS.first_distance,
        "first command to measured joints at most",
        low=1e-6,
        high=0.5,
        unit="rad",
    )
    following_distance: float = parameter(
        _LIMITS.following_distance,
        "any command to measured joints at most",
        low=1e-2,
        high=1.0,
        unit="rad",
    )
    min_speed_scaling: float = parameter(
        _LIMITS.min_speed_scaling, "a rollout starts from this speed on", low=0.01, high=1.0
    )
    low_speed_scaling: float = parameter(
        _WATCHDOG.speed_scaling_low, "and is stopped below this one", low=0.0, high=1.0
    )
    shared_clock: bool = parameter(True, "camera stamps are this computer's wall clock")
    camera_silence: float = parameter(
        _WATCHDOG.camera_silence, "without a frame at most", low=0.05, high=10.0, unit="s"
    )
    observation_age: float = parameter(
        _WATCHDOG.observation_age, "a frame may be late by", low=0.02, high=10.0, unit="s"
    )
    joint_silence: float = parameter(
        _WATCHDOG.joint_silence, "without joint states at most", low=0.02, high=10.0, unit="s"
    )
    action_age: float = parameter(
        _WATCHDOG.action_age, "an action may answer a frame this old", low=0.05, high=10.0, unit="s"
    )
    clock_jump: float = parameter(
        _WATCHDOG.clock_jump, "stamps may move against the clock by", low=0.05, unit="s"
    )
    frozen_after: float = parameter(
        _WATCHDOG.frozen_after, "the same picture while the arm moves", low=0.1, unit="s"
    )
    recover_timeout: float = parameter(
        60.0, "to be ready again after the operator's word", low=1.0, high=600.0, unit="s"
    )

    def __post_init__(self) -> None:
        for name, size in (("home", 6), ("tool", 6), ("policy_frame", 6)):
            if len(getattr(self, name)) != size:
                raise InvalidArgumentError(
                    f"parameter {name}: want {size} numbers, got {len(getattr(self, name))}."
                )
        sizes = {len(getattr(self, f"gripper_{n}")) for n in ("joints", "open", "closed")}
        if len(sizes) > 1:
            raise InvalidArgumentError(
                "gripper_joints, gripper_open and gripper_closed differ in length."
            )
        self.limits()

    def kinematics(self) -> Kinematics:
        """Of the arm with its tool."""
        return Kinematics(_pose(self.tool))

    def servo(self, action_space: str, rate: float) -> ServoConfig:
        """For a policy of this action space and rate [Hz]."""
        return ServoConfig(
            action_space=action_space,
            rate=rate,
            command_rate=max(self.command_rate, rate),
            position_scale=self.position_scale,
            rotation_scale=self.rotation_scale,
            stiffness=self.stiffness,
            uncouple=self.uncouple,
            policy_frame=_pose(self.policy_frame),
        )

    def limits(self) -> Limits:
        """Of the commands."""
        return Limits(
            joint_step=self.joint_step,
            joint_velocity=self.joint_velocity,
            workspace_low=self.workspace_low,  # type: ignore[arg-type]
            workspace_high=self.workspace_high,  # type: ignore[arg-type]
            first_distance=self.first_distance,
            following_distance=self.following_distance,
            min_speed_scaling=self.min_speed_scaling,
        )

    def no_workspace(self) -> str:
        """A sentence where a real arm was given no box to stay in; "" = it was, or needs none."""
        given = (self.workspace_low, self.workspace_high)
        if self.hardware != "real" or given != (_LIMITS.workspace_low, _LIMITS.workspace_high):
            return ""
        return "workspace_low and workspace_high are not set: say in cell_config where the tool may go, see docs/lab.md."

    def watchdog(self) -> WatchdogConfig:
        """Deadlines."""
        return WatchdogConfig(
            camera_silence=self.camera_silence,
            observation_age=self.observation_age,
            joint_silence=self.joint_silence,
            action_age=self.action_age,
            clock_jump=self.clock_jump,
            frozen_after=self.frozen_after,
            speed_scaling_low=self.low_speed_scaling,
        )

    def arm(self) -> UrRobotConfig:
        """What of the UR driver is used."""
        return UrRobotConfig(
            hardware=self.hardware,
            tf_prefix=self.tf_prefix,
            control=self.control,
            command_rate=self.command_rate,
            gripper=self.gripper,
            gripper_pin=self.gripper_pin,
            gripper_joints=self.gripper_joints,
            gripper_open=self.gripper_open,
            gripper_closed=self.gripper_closed,
            gripper_time=self.gripper_time,
        )


def _pose(numbers: tuple[float, ...]) -> Pose:
    x, y, z, rx, ry, rz = numbers
    return Pose((x, y, z), (rx, ry, rz))
