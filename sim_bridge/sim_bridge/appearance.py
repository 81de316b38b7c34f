"""Variations in place: what the camera sees changes, what the physics computes with never does.

Written to mjModel: colour and material of visual geoms, size and position of the cube's and the table's *visual* geoms,
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

_ROBOT_PREFIXES = ("robot0_", "gripper0_")  # the pedestal is furniture and keeps its colour
_VISUAL_GROUP = 1
_MODEL_ARRAYS = (
    "geom_matid", "geom_rgba", "geom_size", "geom_pos", "geom_rbound", "geom_aabb", "geom_sameframe",
    "light_diffuse", "light_specular", "light_dir", "cam_pos",
)  # fmt: skip
_HEADLIGHT_ARRAYS = ("ambient", "diffuse", "specular")
_LEG_INSET = 0.1  # [m] robosuite's TableArena: distance of a leg's axis from the table's edge


class Appearance:
    """The nominal look of one model and the way to each variation of it; used on the simulator's thread."""

    def __init__(self, model: Any, data: Any, camera: int) -> None:
        self._model, self._data, self._camera = model, data, camera
        geoms = [model.geom(i) for i in range(model.ngeom)]
        visual = [g for g in geoms if model.geom_group[g.id] == _VISUAL_GROUP]
        self._robot = [g.id for g in visual if g.name.startswith(_ROBOT_PREFIXES)]
        self._table = model.geom("table_visual").id
        self._legs = [g.id for g in visual if g.name.startswith("table_leg")]
        self._cube, self._cube_body = model.geom("cube_g0_vis").id, model.geom("cube_g0").id
        self._nominal = {name: array.copy() for name, array in self._arrays().items()}
        self._setters: Mapping[str, Callable[[NDArray[np.float64]], None]] = {
            "cube_color": lambda rgb: self._paint([self._cube], rgb),
            "table_color": lambda rgb: self._paint([self._table], rgb),
            "robot_color": lambda rgb: self._paint(self._robot, rgb),
            "light_color": self._tint_lamp,
            "light_intensity": self._dim,
            "light_direction": self._turn_lamp,
            "cube_size": self._resize_cube,
            "table_size": self._resize_table,
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

    def _resize_cube(self, half: NDArray[np.float64]) -> None:
        self._resize(self._cube, half)
        # stand on the table as the real (collision) cube does, instead of hovering or sinking in
        # (geom_pos is not read at all while the geom is marked as having the body's own frame)
        self._model.geom_sameframe[self._cube] = 0
        self._model.geom_pos[self._cube, 2] += half[2] - self._model.geom_size[self._cube_body, 2]

    def _resize_table(self, half: NDArray[np.float64]) -> None:
        self._resize(self._table, half)
        inset = np.where(half[:2] > 2 * _LEG_INSET, half[:2] - _LEG_INSET, 0.0)  # as TableArena
        for leg in self._legs:
            self._model.geom_pos[leg, :2] = np.sign(self._nominal["geom_pos"][leg, :2]) * inset

    def _move_camera(self, offset: NDArray[np.float64]) -> None:
        self._model.cam_pos[self._camera] += offset
