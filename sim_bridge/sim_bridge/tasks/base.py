"""What a task is made of: how its scene is built, where things lie, what may change, how an expert does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError
from sim_bridge.expert import Leg, WaypointExpert

FULL_TURN = (0.0, 2 * np.pi)


@dataclass(frozen=True)
class Spot:
    """Where one thing lies at the start: uniform over a rectangle of a surface and over an angle.

    Attributes:
        x, y: ranges in the world [m].
        surface: height of what it stands on [m].
        angle: range of the turn about the vertical [rad].
    """

    x: tuple[float, float]
    y: tuple[float, float]
    surface: float
    angle: tuple[float, float] = FULL_TURN


@dataclass(frozen=True)
class Camera:
    """The camera that policies see through: one of the arena's, moved where its own view is too wide.

    Attributes:
        name: in the model.
        position: (3,) [m] in the world; () = where the arena has it.
        look_at: (3,) [m] in the world; () = as the arena has it.
    """

    name: str = "agentview"
    position: tuple[float, ...] = ()
    look_at: tuple[float, ...] = ()


@dataclass(frozen=True)
class Task:
    """One task. Geoms and bodies are named as MuJoCo's model has them.

    Attributes:
        name: as `Scene(task=...)` takes it and its catalogue is called.
        environment: robosuite's.
        horizon: control steps.
        spots: by robosuite's name of the thing, in the order of drawing; things not named stay where robosuite puts them.
        things: what an expert may ask the position of: name to body or site.
        colors: factor to the visual geoms it paints: names, prefixes that end with "*", or bodies.
        sizes: factor to the visual geoms it resizes, likewise; see Appearance.
        legs: of the expert.
        camera: what is seen.
        seeded: the environment takes robosuite 1.5's `seed`.
        register: makes robosuite know the environment; raises UnavailableError where that needs what is not installed.
    """

    name: str
    environment: str
    horizon: int
    spots: Mapping[str, Spot]
    things: Mapping[str, str]
    colors: Mapping[str, tuple[str, ...]]
    sizes: Mapping[str, tuple[str, ...]]
    legs: tuple[Leg, ...]
    camera: Camera = field(default_factory=Camera)
    seeded: bool = True
    register: Callable[[], None] = lambda: None

    def expert(self) -> WaypointExpert:
        """A new expert. Raises InvalidArgumentError where nobody wrote one."""
        if not self.legs:
            raise InvalidArgumentError(f"there is no scripted expert for task {self.name}.")
        return WaypointExpert(self.legs)


class Placement:
    """robosuite's placement sampler for a task's spots, drawn from one generator.

    Attributes:
        rng: to draw from; set it before `sample`.
    """

    def __init__(self, things: Mapping[str, Any], spots: Mapping[str, Spot]) -> None:
        self._things = {name: (things[name], spot) for name, spot in spots.items()}
        self.rng = np.random.default_rng(0)

    def sample(self) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64], Any]]:
        """Position [m], quaternion wxyz and robosuite's object, by name; x, y and angle are drawn in this order."""
        return {name: self._draw(thing, spot) for name, (thing, spot) in self._things.items()}

    def _draw(self, thing: Any, spot: Spot) -> tuple[NDArray[np.float64], NDArray[np.float64], Any]:
        x, y = self.rng.uniform(*spot.x), self.rng.uniform(*spot.y)
        angle = self.rng.uniform(*spot.angle)
        quaternion = np.array([np.cos(angle / 2), 0.0, 0.0, np.sin(angle / 2)])
        if hasattr(thing, "init_quat"):
            from robosuite.utils.transform_utils import quat_multiply

            quaternion = quat_multiply(quaternion, thing.init_quat)
        return np.array([x, y, spot.surface - thing.bottom_offset[-1]]), quaternion, thing
