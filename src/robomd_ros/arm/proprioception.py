"""The arm's own state as a policy takes it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from robomd_ros.arm.kinematics import quaternion
from robomd_ros.arm.ports import JointReading
from robomd_ros.arm.servo import Servo
from robomd_ros.core.errors import InvalidArgumentError

PARTS = ("eef_pos", "eef_quat", "gripper_qpos", "joint_pos", "joint_vel")
"""Names as in sim_bridge's Scene.proprio."""


def proprioception(
    names: Sequence[str], reading: JointReading, servo: Servo
) -> NDArray[np.float32]:
    """The named parts, concatenated, (P,) float32.

    Args:
        names: some of PARTS; eef_pos (3) [m] and eef_quat (4) x y z w are in the policy's frame.
        reading: measured.
        servo: knows tool and frame.

    Raises:
        InvalidArgumentError: an unknown name.
    """
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise InvalidArgumentError(f"proprioception {unknown}: want some of {list(PARTS)}.")
    position, rotation = servo.tcp(reading.positions)
    parts = {
        "eef_pos": position,
        "eef_quat": quaternion(rotation),
        "gripper_qpos": reading.gripper,
        "joint_pos": reading.positions,
        "joint_vel": reading.velocities,
    }
    return np.concatenate([parts[n] for n in names] or [np.zeros(0)]).astype(np.float32)
