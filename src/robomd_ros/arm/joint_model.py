"""Joints that follow joint actions: critically damped, each for itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robomd_ros.arm.osc import TIMESTEP


class _Joints:
    """Joints at rest.

    Attributes:
        q, qd: (6,) [rad], [rad/s].
    """

    def __init__(self, stiffness: float) -> None:
        self._kp, self._kd = stiffness, 2.0 * np.sqrt(stiffness)
        self.start(np.zeros(6))

    def start(self, q: NDArray[np.float64]) -> None:
        """Stand still at q (6,) [rad]."""
        self.q, self.qd = np.array(q, np.float64), np.zeros(6)

    def advance(self, dt: float) -> None:
        """Let dt seconds pass."""
        steps = max(1, int(np.ceil(dt / TIMESTEP - 1e-6)))
        for _ in range(steps):
            self.qd = self.qd + dt / steps * self._acceleration()
            self.q = self.q + dt / steps * self.qd

    def _acceleration(self) -> NDArray[np.float64]:
        raise NotImplementedError


class JointPositionModel(_Joints):
    """Pulled towards a goal of the joints."""

    def start(self, q: NDArray[np.float64]) -> None:
        """Stand still at q (6,) [rad], which is the goal, too."""
        super().start(q)
        self._goal = self.q.copy()

    def set_goal(self, change: NDArray[np.float64]) -> None:
        """Set the goal (6,) relative to where the joints are now [rad]."""
        self._goal = self.q + change

    def _acceleration(self) -> NDArray[np.float64]:
        return self._kp * (self._goal - self.q) - self._kd * self.qd


class JointVelocityModel(_Joints):
    """Pulled towards a velocity."""

    def start(self, q: NDArray[np.float64]) -> None:
        """Stand still at q (6,) [rad]."""
        super().start(q)
        self._goal = np.zeros(6)

    def set_goal(self, velocity: NDArray[np.float64]) -> None:
        """Set the velocity (6,) [rad/s]."""
        self._goal = np.array(velocity, np.float64)

    def _acceleration(self) -> NDArray[np.float64]:
        return self._kd * (self._goal - self.qd)
