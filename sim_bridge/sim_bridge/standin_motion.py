"""What the stand-in's motion controllers want of the arm at each instant: no simulator, no ROS, time passed in.

A motion is asked once a physics step for the joints it wants. `speed` is the robot's speed scaling, 0..1: a trajectory's time runs
that much slower, a velocity is that much smaller, and a position is trailed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError

Joints = NDArray[np.float64]

MAX_VELOCITY = math.pi
"""Of a UR5e's joint [rad/s]."""
_TRAIL = 0.1
"""Seconds that a position at speed s is trailed by: this times 1/s - 1."""


class Motion(Protocol):
    """One of a UR's motion controllers at work."""

    def advance(self, reference: Joints, dt: float, speed: float) -> tuple[Joints, Joints]:
        """The reference (6,) [rad] and its velocity (6,) [rad/s], `dt` seconds after `reference`."""


@dataclass(frozen=True)
class Hold:
    """Stand still."""

    def advance(self, reference: Joints, dt: float, speed: float) -> tuple[Joints, Joints]:
        """The same as before."""
        return reference, np.zeros_like(reference)


@dataclass(frozen=True)
class Position:
    """forward_position_controller: there as fast as possible."""

    target: Joints

    def advance(self, reference: Joints, dt: float, speed: float) -> tuple[Joints, Joints]:
        """At full speed the target itself, within what a joint can do."""
        trail = _TRAIL * (1.0 / max(speed, 1e-3) - 1.0)
        step = (self.target - reference) * (dt / (dt + trail))
        reach = MAX_VELOCITY * speed * dt
        step = np.clip(step, -reach, reach)
        return reference + step, np.zeros_like(step)


@dataclass(frozen=True)
class Velocity:
    """forward_velocity_controller: goes on until told otherwise."""

    target: Joints

    def advance(self, reference: Joints, dt: float, speed: float) -> tuple[Joints, Joints]:
        """One step further."""
        velocity = np.clip(self.target, -MAX_VELOCITY, MAX_VELOCITY) * speed
        return reference + velocity * dt, velocity


class Trajectory:
    """scaled_joint_trajectory_controller: linear between points; cubic where they have velocities.

    Args:
        times: (N,) [s] after the start, rising.
        positions: (N, 6) [rad].
        velocities: (N, 6) [rad/s], or None.
        start: (6,) [rad] where the arm is told to be when it begins.

    Raises:
        InvalidArgumentError: shapes that do not fit, times that do not rise, numbers that are not finite.
    """

    def __init__(
        self,
        times: Sequence[float],
        positions: NDArray[np.float64],
        velocities: NDArray[np.float64] | None,
        start: Joints,
    ) -> None:
        t = np.asarray(times, np.float64)
        fits = positions.shape == (len(t), len(start)) and len(t) > 0
        if not fits or (velocities is not None and velocities.shape != positions.shape):
            raise InvalidArgumentError("trajectory: want one position of all joints a point.")
        if not np.isfinite(positions).all() or not np.isfinite(t).all():
            raise InvalidArgumentError("trajectory: a number in it is not finite.")
        if t[0] < 0 or (np.diff(t) <= 0).any():
            raise InvalidArgumentError(
                "trajectory: time_from_start has to rise from point to point."
            )
        if t[0] > 0:
            t, positions = np.concatenate([[0.0], t]), np.vstack([start, positions])
            if velocities is not None:
                velocities = np.vstack([np.zeros_like(start), velocities])
        self._times, self._positions, self._velocities = t, positions, velocities
        self._now = 0.0

    @property
    def goal(self) -> Joints:
        """(6,) the last point [rad]."""
        return self._positions[-1]

    @property
    def over(self) -> bool:
        """The last point's time has come."""
        return self._now >= self._times[-1]

    def advance(self, reference: Joints, dt: float, speed: float) -> tuple[Joints, Joints]:
        """The point of this time; the last one after the end."""
        self._now += dt * speed
        if self.over:
            return self.goal, np.zeros_like(reference)
        i = max(0, int(np.searchsorted(self._times, self._now, side="right")) - 1)
        span = self._times[i + 1] - self._times[i]
        s = (self._now - self._times[i]) / span
        a, b = self._positions[i], self._positions[i + 1]
        if self._velocities is None:
            return a + s * (b - a), (b - a) / span * speed
        u, v = self._velocities[i] * span, self._velocities[i + 1] * span
        c, d = 3 * (b - a) - 2 * u - v, 2 * (a - b) + u + v
        return a + s * (u + s * (c + s * d)), (u + s * (2 * c + 3 * s * d)) / span * speed
