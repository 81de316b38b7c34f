"""Threading: MimicGen's needle into the ring of a tripod. An adapter: MimicGen is not installed with this package.

MimicGen (NVIDIA Source Code License, not commercial) is written for robosuite 1.4: what its scene asks of that version is
lent to it here. No expert: robosuite's Threading wants a hand that turns, and MimicGen brings demonstrations of its own.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import sys
from types import ModuleType
from typing import Any

from robomd_ros.core.errors import UnavailableError
from sim_bridge.tasks.base import Spot, Task

_SINGLE_ARM = "robosuite.environments.manipulation.single_arm_env"
ADVICE = (
    "task 'threading' wants MimicGen from source, which is not here: `git clone https://github.com/NVlabs/mimicgen` and "
    "put that folder on PYTHONPATH; the package of this name on PyPI is not NVIDIA's, leave it alone."
)


def _register() -> None:
    """Make robosuite know Threading_D0. Raises UnavailableError."""
    if importlib.util.find_spec("mimicgen") is None:
        raise UnavailableError(ADVICE)
    if _SINGLE_ARM not in sys.modules and importlib.util.find_spec(_SINGLE_ARM) is None:
        sys.modules[_SINGLE_ARM] = _single_arm_env()
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does without
            importlib.import_module("mimicgen.envs.robosuite.threading")
    except ImportError as error:
        raise UnavailableError(f"{ADVICE} ({error})") from error


def _single_arm_env() -> ModuleType:
    """The base class of robosuite 1.4's scenes with one arm, in terms of 1.5's."""
    from robosuite.environments.manipulation.manipulation_env import ManipulationEnv

    class SingleArmEnv(ManipulationEnv):  # type: ignore[misc]
        def __init__(self, mount_types: Any = "default", **kwargs: Any) -> None:
            super().__init__(base_types=mount_types, **kwargs)

    module = ModuleType(_SINGLE_ARM)
    module.SingleArmEnv = SingleArmEnv  # type: ignore[attr-defined]
    return module


TASK = Task(
    name="threading",
    environment="Threading_D0",
    horizon=120,
    spots={
        "needle_obj": Spot((-0.14, -0.06), (0.16, 0.24), 0.8, (-1.72, -1.42)),
        "tripod_obj": Spot((0.0, 0.0), (-0.15, -0.15), 0.801, (1.5708, 1.5708)),
    },
    things={"needle": "needle_obj_root", "tripod": "tripod_obj_root"},
    colors={
        "needle_color": ("needle_obj_needle_vis", "needle_obj_handle_vis"),
        "table_color": ("table_visual",),
        "gripper_color": ("gripper0_*",),
        "robot_color": ("robot0_*",),
    },
    sizes={"needle_base_size": ("needle_obj_handle_vis",), "table_size": ("table_visual",)},
    legs=(),
    register=_register,
    seeded=False,
)
