"""Scripted experts: a way of a few legs to points they read from the true state, which no policy may."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

ACTION_SCALE = 0.05  # [m] what an action of 1 asks of OSC_POSE in one control step
OPEN, CLOSE = -1.0, 1.0

Floats = NDArray[np.float64]


class TrueState(Protocol):
    """What an expert reads; a Scene has it."""

    @property
    def eef_position(self) -> Floats:
        """(3,) [m]."""

    def position(self, name: str) -> Floats:
        """(3,) [m] of one of the task's things."""


@dataclass(frozen=True)
class Leg:
    """One part of the way: to a point that is aimed at anew in every step, or a wait where the hand is.

    Attributes:
        aim: where the hand shall be, (3,) [m]; None = stay.
        gripper: OPEN or CLOSE.
        hover: height above the aim from which it goes straight down [m].
        near: horizontal distance to the aim at which going down may begin [m].
        reached: distance at which the leg is over [m]; 0 = never: the last leg.
        wait: control steps of a stay.
        steady: nobody may push the hand here: demonstrations add no noise.
        mark: the hand's position at this leg's begin is worth learning: the grasp, the place.
    """

    aim: Callable[[TrueState], Floats] | None = None
    gripper: float = OPEN
    hover: float = 0.0
    near: float = 0.015
    reached: float = 0.0
    wait: int = 0
    steady: bool = False
    mark: bool = False


@dataclass
class WaypointExpert:
    """Goes its legs one after the other and keeps the hand's orientation; a push on the way is corrected.

    Attributes:
        legs: the last one does not end.
        gain: of the position error; below 1 the arm slows down near its target.
        marks: positions of the hand where the marked legs of this demonstration began, each (3,) [m].
    """

    legs: Sequence[Leg]
    gain: float = 0.9

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start a new demonstration."""
        self._at, self._waited = 0, 0
        self.marks: list[Floats] = []

    @property
    def points(self) -> int:
        """How many marks a whole demonstration has."""
        return sum(leg.mark for leg in self.legs)

    @property
    def steady(self) -> bool:
        """The newest action must be executed as it is."""
        return self.legs[self._at].steady

    def act(self, state: TrueState) -> NDArray[np.float32]:
        """(7,) dx dy dz droll dpitch dyaw gripper in -1..1."""
        while self._over(state):
            self._at, self._waited = self._at + 1, 0
            if self.legs[self._at].mark:
                self.marks.append(state.eef_position)
        leg = self.legs[self._at]
        self._waited += 1
        action = np.zeros(7, np.float32)
        if leg.aim is not None:
            error = leg.aim(state) - state.eef_position
            sideways = np.linalg.norm(error[:2])
            if sideways > leg.near:
                # glide down on a cone: no corner is cut, nothing is brushed
                error[2] += leg.hover * min(1.0, sideways / (3 * leg.near))
            action[:3] = np.clip(error * self.gain / ACTION_SCALE, -1.0, 1.0)
        action[6] = leg.gripper
        return action

    def _over(self, state: TrueState) -> bool:
        leg = self.legs[self._at]
        if leg.aim is None:
            return self._waited >= leg.wait
        return bool(np.linalg.norm(leg.aim(state) - state.eef_position) < leg.reached)


def to(name: str, above: float = 0.0) -> Callable[[TrueState], Floats]:
    """Aim at a thing, or `above` it [m]."""
    return lambda state: state.position(name) + np.array([0.0, 0.0, above])


def up_to(height: float) -> Callable[[TrueState], Floats]:
    """Aim straight up (or down) at a height in the world [m]."""
    return lambda state: np.array([*state.eef_position[:2], height])


def carry(held: str, goal: Callable[[TrueState], Floats]) -> Callable[[TrueState], Floats]:
    """Aim so that what the hand holds, however it holds it, comes to the goal."""
    return lambda state: state.eef_position + goal(state) - state.position(held)


def at(x: float, y: float, z: float) -> Callable[[TrueState], Floats]:
    """Aim at a point of the world [m]."""
    return lambda state: np.array([x, y, z])


def past(start: str, end: str, by: float) -> Callable[[TrueState], Floats]:
    """Aim at a point on the line from one thing to another, `by` beyond the other [m]."""

    def aim(state: TrueState) -> Floats:
        way = state.position(end) - state.position(start)
        return state.position(end) + way * by / np.linalg.norm(way)

    return aim
