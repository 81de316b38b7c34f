"""robosuite's arm under its operational space controller, as a model that is integrated in the arm's joints.

robosuite 1.5.2, controllers/parts/arm/osc.py with the default configuration of the UR5e: the goal is the pose at the
policy's step plus the action; forces pull towards it with kp = 150 and critical damping; position and orientation are
decoupled each by its own inertia only (uncouple_pos_ori), so a fast translation turns the hand by a few degrees.
A policy has learnt with that: a pose that follows a plain second-order filter is 1 to 6 cm off after two seconds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robomd_ros.arm.inertia import mass_matrix
from robomd_ros.arm.kinematics import Kinematics, cross, jacobian_of, rotation_matrix

TIMESTEP = 0.002
"""robosuite's physics [s]; the model takes no longer steps."""
REFRESH = 0.01
"""So long does a linear model of the arm hold [s]."""
TORQUE = np.array([150.0, 150.0, 150.0, 28.0, 28.0, 28.0])
"""Most of each joint [N m]."""


class OscModel:
    """Second-order model of the arm's joints, pulled by a goal of the TCP.

    Args:
        kinematics: with the tool that the goals are about.
        stiffness: kp [1/s²]; damping is critical.
        uncouple: position and orientation each by its own inertia, as robosuite does it; False makes the TCP's pose
            follow the goal as a plain second-order system.

    Attributes:
        q, qd: (6,) joints [rad] and their velocities [rad/s].
    """

    def __init__(
        self, kinematics: Kinematics, stiffness: float = 150.0, uncouple: bool = True
    ) -> None:
        self._kinematics, self._uncouple = kinematics, uncouple
        self._kp, self._kd = stiffness, 2.0 * np.sqrt(stiffness)
        self.start(np.zeros(6))

    def start(self, q: NDArray[np.float64]) -> None:
        """Stand still at q (6,) [rad], which is the goal, too."""
        self.q, self.qd = np.array(q, np.float64), np.zeros(6)
        self.set_goal(np.zeros(3), np.zeros(3))

    def set_goal(self, move: NDArray[np.float64], turn: NDArray[np.float64]) -> None:
        """Set the goal relative to where the model is now.

        Args:
            move: (3,) in the UR's `base` [m].
            turn: (3,) rotation vector in `base` [rad].
        """
        position, rotation = self._kinematics.forward(self.q)
        self._goal_position = position + move
        self._goal_rotation = rotation_matrix(turn) @ rotation

    def advance(self, dt: float) -> None:
        """Let dt seconds pass."""
        parts = max(1, int(np.ceil(dt / REFRESH - 1e-6)))
        for _ in range(parts):
            self._advance(dt / parts)

    def _advance(self, dt: float) -> None:
        """Jacobian and inertia of the beginning hold for all of dt; the error of the pose is found anew each time."""
        frames = self._kinematics.frames(self.q)
        j = jacobian_of(frames)
        mass_inverse = np.linalg.inv(mass_matrix(frames))
        to_torque = j.T @ self._inertia(j @ mass_inverse @ j.T)
        error = np.empty(6)
        error[:3] = self._goal_position - frames[7, :3, 3]
        error[3:] = _turn_between(self._goal_rotation, frames[7, :3, :3])
        steps = max(1, int(np.ceil(dt / TIMESTEP - 1e-6)))
        h = dt / steps
        for _ in range(steps):  # semi-implicit Euler, as MuJoCo's
            pull = self._kp * error - self._kd * (j @ self.qd)
            torque = np.clip(to_torque @ pull, -TORQUE, TORQUE)
            self.qd = self.qd + h * (mass_inverse @ torque)
            self.q = self.q + h * self.qd
            error -= h * (j @ self.qd)

    def _inertia(self, mobility: NDArray[np.float64]) -> NDArray[np.float64]:
        """(6, 6) what the arm weighs at its TCP; `mobility` is J M⁻¹ Jᵀ."""
        if not self._uncouple:
            return _inverse(mobility)
        out = np.zeros((6, 6))
        out[:3, :3], out[3:, 3:] = _inverse(mobility[:3, :3]), _inverse(mobility[3:, 3:])
        return out


def _inverse(mobility: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse that exists for a stretched arm, too; the torque is limited afterwards."""
    return np.linalg.inv(mobility + 1e-9 * np.eye(len(mobility)))


def _turn_between(goal: NDArray[np.float64], now: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3,) the sine of the angle times the axis: robosuite's orientation_error."""
    return 0.5 * cross(now.T, goal.T).sum(axis=0)
