"""Policies for the tests of the simulator, loaded as "python:red_servo:servo" and so on.

`servo` really sees: it finds the red pixels, casts a ray through them to the table, and goes there to grasp.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import numpy as np

from robomd_ros.policies.base import Observation, PolicyInfo

_CAMERA = np.array([0.5, 0.0, 1.35])
_GRASP_HEIGHT = 0.82


def info(name: str, side: int = 96) -> PolicyInfo:
    return PolicyInfo(
        name, "lift", "Panda", side, side, ("eef_pos", "gripper_qpos"), 4, "osc_position", 10.0, 40
    )


def red_centroid(image: np.ndarray) -> np.ndarray | None:
    """(2,) column and row of the saturated red pixels of the lower three quarters."""
    r, g, b = (image[..., i].astype(int) for i in range(3))
    rows, columns = np.nonzero((r > 1.8 * g) & (r > 1.8 * b) & (r > 40))
    if len(rows) < 4:
        return None
    return np.array([columns.mean(), rows.mean()])


def table_point(pixel: np.ndarray, side: int) -> np.ndarray:
    """(2,) x y in the world where the ray through a pixel meets the cube's height; agentview, fovy 45."""
    focal = 0.5 * side / np.tan(np.pi / 8)
    right, up = (pixel - (side - 1) / 2) / focal * [1, -1]
    # agentview looks down the -x axis: its x axis is world +y, its y axis leans back
    w, x, y, z = np.array([0.653, 0.271, 0.271, 0.653]) / np.linalg.norm(
        [0.653, 0.271, 0.271, 0.653]
    )
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    ray = rotation @ np.array([right, up, -1.0])
    return (_CAMERA + ray * (_GRASP_HEIGHT - _CAMERA[2]) / ray[2])[:2]


@dataclass
class RedServo:
    """Looks once, then goes above, down, closes, lifts."""

    info: PolicyInfo = field(default_factory=lambda: info("red_servo"))

    def reset(self, seed: int) -> None:
        self._goal: np.ndarray | None = None
        self._closing = 0

    def act(self, observation: Observation) -> np.ndarray:
        if self._goal is None:
            seen = red_centroid(observation.image)
            if seen is None:
                return np.zeros(4, np.float32)
            self._goal = np.array([*table_point(seen, self.info.image_width), _GRASP_HEIGHT])
        error = self._goal - observation.proprio[:3]
        if self._closing or np.linalg.norm(error) < 0.01:
            self._closing += 1
            return np.array([0, 0, float(self._closing > 3), 1], np.float32)
        sideways = np.linalg.norm(error[:2])
        if sideways > 0.015:
            error[2] += 0.06 * min(1.0, sideways / 0.045)
        return np.array([*np.clip(error * 0.9 / 0.05, -1, 1), -1], np.float32)

    def close(self) -> None:
        pass


def servo() -> RedServo:
    return RedServo()


class Dies(RedServo):
    """Ends its process in the third step of seed 13."""

    def reset(self, seed: int) -> None:
        super().reset(seed)
        self._seed, self._steps = seed, 0

    def act(self, observation: Observation) -> np.ndarray:
        self._steps += 1
        if self._seed == 13 and self._steps == 3:
            os._exit(9)
        return super().act(observation)


def dies() -> Dies:
    return Dies(info("dies"))


class Raises(RedServo):
    """Fails in its fourth step."""

    def reset(self, seed: int) -> None:
        super().reset(seed)
        self._steps = 0

    def act(self, observation: Observation) -> np.ndarray:
        self._steps += 1
        if self._steps == 4:
            raise ValueError("out of ideas")
        return super().act(observation)


def raises() -> Raises:
    return Raises(info("raises"))
