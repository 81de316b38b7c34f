"""Joint-space mass matrix of the simulated UR5e that policies are trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robomd_ros.arm.kinematics import cross

# robosuite 1.5.2, models/assets/robots/ur5e/robot.xml and its Robotiq 85, carried over into the DH frame after each joint
_MASS = np.array(
    [3.7, 8.393, 2.275, 1.219, 1.219, 0.1889, 0.1578]
)  # [kg]; the last one is the gripper
_CENTRE = np.array(
    [
        [0.0, 0.0, 0.0],
        [0.2125, 0.0, 0.138],
        [0.1962, 0.0, 0.007],
        [0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0],
        [0.0, 0.0, -0.0226],
        [0.0, 0.0, 0.0527],
    ]
)  # [m]
_INERTIA = np.array(
    [
        [0.01027, 0.00666, 0.01027],
        [0.01511, 0.13389, 0.13389],
        [0.00409, 0.03118, 0.03118],
        [0.00256, 0.00256, 0.00219],
        [0.00256, 0.00219, 0.00256],
        [0.0001, 0.0001, 0.00013],
        [0.00212, 0.00118, 0.00195],
    ]
)  # [kg m²], diagonal, about the centre of mass
_FRAME = np.array([1, 2, 3, 4, 5, 6, 6])  # DH frame each body is fixed to
_ARMATURE = 5.0 / np.arange(1, 7)  # [kg m²] robosuite's default for every manipulator
_MOVES = np.arange(6) < _FRAME[:, None]  # (7, 6): joint j moves body b
_LINEAR = np.sqrt(_MASS)[:, None, None] * _MOVES[:, :, None]
_ANGULAR = np.sqrt(_INERTIA)[:, None, :] * _MOVES[:, :, None]


def mass_matrix(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """(6, 6) [kg m²].

    Args:
        frames: of the arm, from `Kinematics.frames`.
    """
    axes, origins = frames[:6, :3, 2], frames[:6, :3, 3]
    rotations = frames[_FRAME, :3, :3]
    centres = frames[_FRAME, :3, 3] + (rotations @ _CENTRE[:, :, None])[:, :, 0]
    linear = _LINEAR * cross(axes[None], centres[:, None] - origins)  # (7, 6, 3)
    angular = _ANGULAR * (axes @ rotations)
    j = np.concatenate([linear, angular]).transpose(1, 0, 2).reshape(6, -1)
    return j @ j.T + np.diag(_ARMATURE)
