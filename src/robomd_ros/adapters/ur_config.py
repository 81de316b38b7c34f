"""Names of ur_robot_driver, and which of them are used."""

from __future__ import annotations

from dataclasses import dataclass

IO = "io_and_status_controller"
TRAJECTORY_CONTROLLER = "scaled_joint_trajectory_controller"
CONTROLLERS = {
    "position": "forward_position_controller",
    "velocity": "forward_velocity_controller",
    "trajectory": TRAJECTORY_CONTROLLER,
}
"""By what the policy is moved with."""
DASHBOARD = "dashboard_client"


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
