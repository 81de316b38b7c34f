"""Variations in place: what the camera sees changes, what the physics computes with never does.

Written to mjModel: colour and material of visual geoms, size and position of the things' and the table's *visual* geoms,
the lamp (mjModel's light), the headlight (the room's light), the camera's position. Left alone: collision geoms, masses,
contacts. A perturbation is always applied to the nominal appearance, of which an exact copy is kept.

Traps (robosuite, MuJoCo): geom_rgba multiplies the texture, and the value 0.5 0.5 0.5 1 means "unset": for a true colour
the material is detached. Textures and materials are on the GPU since the context was made: mat_* edits in place are not
seen. Gripper geoms have a prefix of their own. A size wants geom_rbound and geom_aabb changed with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.variations import Perturbation
from sim_bridge.tasks.base import Task

_ROBOT = ("robot0_*", "gripper0_*")  # the pedestal is furniture and keeps its colour
_TABLE = "table_visual"
_VISUAL_GROUP = 1
_MODEL_ARRAYS = (
    "geom_matid", "geom_rgba", "geom_size", "geom_pos", "geom_rbound", "geom_aabb", "geom_sameframe",
    "light_diffuse", "light_specular", "light_dir", "cam_pos",
)  # fmt: skip
_HEADLIGHT_ARRAYS = ("ambient", "diffuse", "specular")
_LEG_INSET = 0.1  # [m] robosuite's TableArena: distance of a leg's axis from the table's edge


Setter = Callable[[NDArray[np.float64]], None]


class Appearance:
    """The nominal look of one model and the way to each variation of it; used on the simulator's thread.

    What the task's factors paint and resize stands in the task; robot, lights and camera are every task's. A size is half
    extents [m]: of a single box, which keeps standing where it stands; of the table top; or of several boxes together (a
    bin), which are stretched about their common footing.
    """

    def __init__(self, model: Any, data: Any, camera: int, task: Task) -> None:
        self._model, self._data, self._camera = model, data, camera
        self._legs = self._visual("table_leg*")
        self._nominal = {name: array.copy() for name, array in self._arrays().items()}
        colors = {"robot_color": _ROBOT} | dict(task.colors)
        self._setters: Mapping[str, Setter] = {
            **{name: self._painter(names) for name, names in colors.items()},
            **{name: self._resizer(names) for name, names in task.sizes.items()},
            "light_color": self._tint_lamp,
            "light_intensity": self._dim,
            "light_direction": self._turn_lamp,
            "camera_offset": self._move_camera,
        }

    @property
    def factors(self) -> tuple[str, ...]:
        """Names of the factors that can be applied."""
        return tuple(self._setters)

    def apply(self, perturbation: Perturbation) -> float:
        """Show exactly this perturbation, whatever was shown before.

        Returns:
            Wall-clock seconds it took.

        Raises:
            InvalidArgumentError: a factor that this scene cannot show; nothing has changed then.
        """
        started = time.perf_counter()
        missing = [v.id for v in perturbation.variations if v.factor not in self._setters]
        if missing:
            raise InvalidArgumentError(
                f"the simulator cannot show {missing}; it has the factors {list(self._setters)}."
            )
        self._restore()
        for variation in perturbation.variations:
            self._setters[variation.factor](np.asarray(variation.value, np.float64))
        self._refresh()
        return time.perf_counter() - started

    def restore(self) -> None:
        """Show the nominal scene, to the bit."""
        self._restore()
        self._refresh()

    def _visual(self, *names: str) -> list[int]:
        """Ids of the visual geoms with these names, prefixes ("name*") or bodies; a body's legs are not meant."""
        model = self._model
        geoms = [model.geom(i) for i in range(model.ngeom) if model.geom_group[i] == _VISUAL_GROUP]

        def named(name: str) -> list[int]:
            if name.endswith("*"):
                return [g.id for g in geoms if g.name.startswith(name[:-1])]
            mine = [g for g in geoms if model.body(g.bodyid[0]).name == name]
            return [g.id for g in geoms if g.name == name] or [
                g.id for g in mine if "_leg" not in g.name
            ]

        return [geom for name in names for geom in named(name)]

    def _painter(self, names: Sequence[str]) -> Setter:
        geoms = self._visual(*names)
        return lambda rgb: self._paint(geoms, rgb)

    def _resizer(self, names: Sequence[str]) -> Setter:
        geoms = self._visual(*names)
        if names == (_TABLE,):
            return lambda half: self._resize_table(geoms[0], half)
        if len(geoms) == 1:
            return lambda half: self._resize_box(geoms[0], half)
        return lambda half: self._stretch(geoms, half)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        arrays = {name: getattr(self._model, name) for name in _MODEL_ARRAYS}
        headlight = self._model.vis.headlight
        return arrays | {f"headlight.{n}": getattr(headlight, n) for n in _HEADLIGHT_ARRAYS}

    def _restore(self) -> None:
        for name, array in self._arrays().items():
            array[...] = self._nominal[name]

    def _refresh(self) -> None:
        """World poses of geoms, lights and cameras follow from the model; the state is not touched."""
        import mujoco

        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)

    def _paint(self, geoms: Sequence[int], rgb: NDArray[np.float64]) -> None:
        self._model.geom_matid[geoms] = -1
        self._model.geom_rgba[geoms, :3] = rgb

    def _tint_lamp(self, rgb: NDArray[np.float64]) -> None:
        self._model.light_diffuse[:] *= rgb
        self._model.light_specular[:] *= rgb

    def _dim(self, factor: NDArray[np.float64]) -> None:
        for array in (self._model.light_diffuse, self._model.light_specular):
            array[:] *= factor[0]
        for name in _HEADLIGHT_ARRAYS:
            getattr(self._model.vis.headlight, name)[:] *= factor[0]

    def _turn_lamp(self, angles: NDArray[np.float64]) -> None:
        """Turn the lamp about the vertical by the azimuth, then lower it by the elevation (negative = raise)."""
        azimuth, elevation = angles
        for i, (x, y, z) in enumerate(self._nominal["light_dir"]):
            heading, slope = np.arctan2(y, x) + azimuth, np.arctan2(-z, np.hypot(x, y)) - elevation
            self._model.light_dir[i] = (
                np.cos(slope) * np.cos(heading),
                np.cos(slope) * np.sin(heading),
                -np.sin(slope),
            )

    def _resize(self, geom: int, half: NDArray[np.float64]) -> None:
        self._model.geom_size[geom] = half
        self._model.geom_aabb[geom, 3:] = half
        self._model.geom_rbound[geom] = np.linalg.norm(half)

    def _resize_box(self, geom: int, half: NDArray[np.float64]) -> None:
        self._resize(geom, half)
        # stand where the real (collision) box does, instead of hovering or sinking in
        # (geom_pos is not read at all while the geom is marked as having the body's own frame)
        self._model.geom_sameframe[geom] = 0
        self._model.geom_pos[geom, 2] += half[2] - self._nominal["geom_size"][geom, 2]

    def _resize_table(self, top: int, half: NDArray[np.float64]) -> None:
        self._resize(top, half)
        inset = np.where(half[:2] > 2 * _LEG_INSET, half[:2] - _LEG_INSET, 0.0)  # as TableArena
        for leg in self._legs:
            self._model.geom_pos[leg, :2] = np.sign(self._nominal["geom_pos"][leg, :2]) * inset

    def _stretch(self, geoms: Sequence[int], half: NDArray[np.float64]) -> None:
        pos, size = self._nominal["geom_pos"][geoms], self._nominal["geom_size"][geoms]
        low, high = (pos - size).min(0), (pos + size).max(0)
        scale = 2 * half / (high - low)
        foot = np.array([*(low + high)[:2] / 2, low[2]])
        self._model.geom_sameframe[geoms] = 0
        self._model.geom_pos[geoms] = foot + (pos - foot) * scale
        for geom, of_it in zip(geoms, size * scale, strict=True):
            self._resize(geom, of_it)

    def _move_camera(self, offset: NDArray[np.float64]) -> None:
        self._model.cam_pos[self._camera] += offset
