"""A scripted expert for Lift: it reads the cube's true position, which no policy may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

ACTION_SCALE = 0.05  # [m] what an action of 1 asks of OSC_POSE in one control step


class LiftState(Protocol):
    """What the expert reads; a Scene has it."""

    @property
    def eef_position(self) -> NDArray[np.float64]:
        """(3,) [m]."""

    @property
    def cube_position(self) -> NDArray[np.float64]:
        """(3,) [m]."""


@dataclass
class LiftExpert:
    """Above the cube, down, close, up; every step aims anew, so a push on the way is corrected.

    Attributes:
        hover: height above the cube from which it goes straight down [m].
        near: horizontal distance to the cube at which going down may begin [m].
        reached: distance to the grasp point at which the fingers close [m].
        squeeze: control steps of closing before lifting.
        gain: of the position error; below 1 the arm slows down near its target.
    """

    hover: float = 0.06
    near: float = 0.015
    reached: float = 0.010
    squeeze: int = 3
    gain: float = 0.9

    def reset(self) -> None:
        """Start a new demonstration."""
        self._closing = 0

    def act(self, state: LiftState) -> NDArray[np.float32]:
        """(7,) dx dy dz droll dpitch dyaw gripper in -1..1; the hand keeps its orientation."""
        error = state.cube_position - state.eef_position
        if self._closing or np.linalg.norm(error) < self.reached:
            self._closing += 1
            return self._command(np.array([0.0, 0.0, float(self._closing > self.squeeze)]), 1.0)
        sideways = np.linalg.norm(error[:2])
        if sideways > self.near:
            # glide down on a cone: no corner is cut, the cube is not brushed
            error[2] += self.hover * min(1.0, sideways / (3 * self.near))
        return self._command(error * self.gain / ACTION_SCALE, -1.0)

    def _command(self, motion: NDArray[np.float64], gripper: float) -> NDArray[np.float32]:
        action = np.zeros(7, np.float32)
        action[:3] = np.clip(motion, -1.0, 1.0)
        action[6] = gripper
        return action
