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
from robomd_ros.arm.kinematics import Kinematics, jacobian_of, rotation_matrix

TIMESTEP = 0.002
"""robosuite's physics [s]; the model takes no longer steps."""
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
        steps = max(1, int(np.ceil(dt / TIMESTEP - 1e-6)))
        frames = self._kinematics.frames(self.q)
        mass_inverse = np.linalg.inv(mass_matrix(frames))  # changes little while a command lasts
        for _ in range(steps):
            self._integrate(frames, mass_inverse, dt / steps)
            frames = self._kinematics.frames(self.q)

    def _integrate(
        self, frames: NDArray[np.float64], mass_inverse: NDArray[np.float64], dt: float
    ) -> None:
        """One semi-implicit Euler step, as MuJoCo's."""
        j = jacobian_of(frames)
        pull = np.empty(6)
        pull[:3] = self._kp * (self._goal_position - frames[7, :3, 3])
        pull[3:] = self._kp * _turn_between(self._goal_rotation, frames[7, :3, :3])
        pull -= self._kd * (j @ self.qd)
        torque = np.clip(j.T @ self._wrench(j, mass_inverse, pull), -TORQUE, TORQUE)
        self.qd = self.qd + dt * (mass_inverse @ torque)
        self.q = self.q + dt * self.qd

    def _wrench(
        self,
        j: NDArray[np.float64],
        mass_inverse: NDArray[np.float64],
        pull: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        mobility = j @ mass_inverse @ j.T
        if not self._uncouple:
            return np.linalg.pinv(mobility) @ pull
        force = np.linalg.pinv(mobility[:3, :3]) @ pull[:3]
        return np.concatenate([force, np.linalg.pinv(mobility[3:, 3:]) @ pull[3:]])


def _turn_between(goal: NDArray[np.float64], now: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3,) the sine of the angle times the axis: robosuite's orientation_error."""
    return 0.5 * np.cross(now.T, goal.T).sum(axis=0)
