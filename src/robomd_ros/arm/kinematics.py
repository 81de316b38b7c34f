"""Where the UR5e's tool is: nominal DH parameters, Jacobian, one damped step of inverse kinematics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robomd_ros.core.errors import InvalidArgumentError

JOINTS = (
    "shoulder_pan_joint",
    "shoulder_lift_joint",
    "elbow_joint",
    "wrist_1_joint",
    "wrist_2_joint",
    "wrist_3_joint",
)

# Universal Robots, "DH parameters for calculations of kinematics and dynamics", UR5e: a [m], d [m], alpha [rad]
_A = np.array([0.0, -0.425, -0.3922, 0.0, 0.0, 0.0])
_D = np.array([0.1625, 0.0, 0.0, 0.1333, 0.0997, 0.0996])
_ALPHA = np.array([np.pi / 2, 0.0, 0.0, np.pi / 2, -np.pi / 2, 0.0])
_NEXT, _LAST = np.array([1, 2, 0]), np.array([2, 0, 1])


def rotation_matrix(rotvec: ArrayLike) -> NDArray[np.float64]:
    """(3, 3) of a rotation vector [rad]; Rodrigues."""
    x, y, z = np.asarray(rotvec, np.float64)
    angle = np.sqrt(x * x + y * y + z * z)
    k = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    a = np.sinc(angle / np.pi)
    b = 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    return np.eye(3) + a * k + b * (k @ k)


def quaternion(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """(4,) x y z w of a rotation matrix, w >= 0."""
    r = rotation
    # the four squares of the components; the largest one is safe to divide by
    squares = np.array(
        [
            1.0 + r[0, 0] - r[1, 1] - r[2, 2],
            1.0 - r[0, 0] + r[1, 1] - r[2, 2],
            1.0 - r[0, 0] - r[1, 1] + r[2, 2],
            1.0 + r[0, 0] + r[1, 1] + r[2, 2],
        ]
    )
    i = int(np.argmax(squares))
    products = np.array(
        [
            [squares[0], r[0, 1] + r[1, 0], r[0, 2] + r[2, 0], r[2, 1] - r[1, 2]],
            [r[0, 1] + r[1, 0], squares[1], r[1, 2] + r[2, 1], r[0, 2] - r[2, 0]],
            [r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], squares[2], r[1, 0] - r[0, 1]],
            [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], squares[3]],
        ]
    )
    q = products[i] / (2.0 * np.sqrt(squares[i]))
    q /= np.linalg.norm(q)
    return q if q[3] >= 0.0 else -q


@dataclass(frozen=True)
class Pose:
    """A frame seen in another one.

    Attributes:
        xyz: its origin [m].
        rotvec: its rotation vector [rad].
    """

    xyz: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rotvec: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        for name in ("xyz", "rotvec"):
            values = np.asarray(getattr(self, name), np.float64)
            if values.shape != (3,) or not np.isfinite(values).all():
                raise InvalidArgumentError(
                    f"pose: {name} wants 3 finite numbers; got {values.tolist()!r:.80}."
                )

    @property
    def position(self) -> NDArray[np.float64]:
        """(3,) [m]."""
        return np.array(self.xyz, np.float64)

    @property
    def rotation(self) -> NDArray[np.float64]:
        """(3, 3)."""
        return rotation_matrix(self.rotvec)


FLANGE = Pose()
ROBOSUITE_TOOL = Pose((0.0, 0.0, 0.1435), (0.0, 0.0, -np.pi / 2))
"""Flange to the point between the fingers of robosuite's Robotiq 85: what robosuite calls eef_pos of a UR5e."""
ROBOSUITE_LIFT_BASE = Pose((-0.56, 0.0, 0.9125), (0.0, 0.0, np.pi))
"""The UR's `base` frame in the world frame of robosuite's table tasks (its z-axis turned by 180° from base_link)."""
ROBOSUITE_HOME = (-0.470, -1.735, 2.480, -2.275, -1.590, -1.991)
"""Joints [rad] from which robosuite's UR5e starts, and so the shipped policy's start pose."""


class Kinematics:
    """Nominal kinematics of a UR5e with a tool, in the UR's own `base` frame (as on the teach pendant).

    `base` is `base_link` turned by 180° about z. A calibrated arm differs from the nominal one by a few millimetres.

    Args:
        tool: the tool's centre point (TCP) seen from the flange; None = the flange itself.
    """

    def __init__(self, tool: Pose | None = None) -> None:
        self.tool = tool or FLANGE
        self._tool = np.eye(4)
        self._tool[:3, :3], self._tool[:3, 3] = self.tool.rotation, self.tool.position
        self._ca, self._sa = np.cos(_ALPHA), np.sin(_ALPHA)

    def frames(self, q: NDArray[np.float64]) -> NDArray[np.float64]:
        """(8, 4, 4): `base`, the DH frame after each joint, and the TCP, all seen from `base`.

        Args:
            q: (6,) joints in the order of JOINTS [rad].
        """
        c, s = np.cos(q), np.sin(q)
        links = np.zeros((6, 4, 4))
        links[:, 0, 0], links[:, 0, 1], links[:, 0, 2] = c, -s * self._ca, s * self._sa
        links[:, 1, 0], links[:, 1, 1], links[:, 1, 2] = s, c * self._ca, -c * self._sa
        links[:, 2, 1], links[:, 2, 2] = self._sa, self._ca
        links[:, 0, 3], links[:, 1, 3], links[:, 2, 3] = _A * c, _A * s, _D
        links[:, 3, 3] = 1.0
        out = np.empty((8, 4, 4))
        out[0] = np.eye(4)
        for i in range(6):
            out[i + 1] = out[i] @ links[i]
        out[7] = out[6] @ self._tool
        return out

    def forward(self, q: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """TCP in `base`.

        Args:
            q: (6,) [rad].

        Returns:
            Position (3,) [m] and rotation (3, 3).
        """
        tcp = self.frames(q)[7]
        return tcp[:3, 3].copy(), tcp[:3, :3].copy()

    def jacobian(self, q: NDArray[np.float64]) -> NDArray[np.float64]:
        """(6, 6): joint velocities [rad/s] to the TCP's [v; w] in `base` [m/s; rad/s]."""
        return jacobian_of(self.frames(q))

    def step(
        self, q: NDArray[np.float64], twist_delta: NDArray[np.float64], damping: float = 0.02
    ) -> NDArray[np.float64]:
        """Joints (6,) [rad] after a small move of the TCP, by damped least squares (Wampler 1986).

        Args:
            q: (6,) [rad].
            twist_delta: (6,) [dx; rotation vector] in `base` [m; rad].
            damping: larger = slower but calmer near a singularity.
        """
        j = self.jacobian(q)
        return q + j.T @ np.linalg.solve(j @ j.T + damping**2 * np.eye(6), twist_delta)


def jacobian_of(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """(6, 6) [v; w] of the TCP, from `Kinematics.frames`."""
    axes, origins = frames[:6, :3, 2], frames[:6, :3, 3]
    out = np.empty((6, 6))
    out[:3], out[3:] = cross(axes, frames[7, :3, 3] - origins).T, axes.T
    return out


def cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """np.cross of (..., 3) arrays, five times as fast for the small ones that are multiplied hundreds of times a second."""
    return a[..., _NEXT] * b[..., _LAST] - a[..., _LAST] * b[..., _NEXT]
