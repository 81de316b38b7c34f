"""From a task to robosuite's environment, without its own rendering and observations."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from sim_bridge.tasks.base import Camera, Placement, Task

ROBOTS = ("Panda", "UR5e")

_GRIPPER_SPEED = 0.5
_BUILD_SEED = 0  # Lift draws its cube's size when the model is built: one size for every scene


def fast_grippers() -> dict[str, str]:
    """Register the default grippers with a higher speed; their names by robot."""
    from robosuite.models import grippers as library

    names = {}
    for robot, base in (("Panda", library.PandaGripper), ("UR5e", library.Robotiq85Gripper)):
        name = f"Fast{base.__name__}"
        fast = type(name, (base,), {"speed": property(lambda self: _GRIPPER_SPEED)})
        library.register_gripper(fast)
        names[robot] = name
    return names


def build(task: Task, robot: str, rate: float, horizon: int) -> Any:
    """Build robosuite's environment without its own rendering and observations, things placed as the task says."""
    # a filter: robosuite sets the logger's level and warns of optional packages while it is imported
    logging.getLogger("robosuite_logs").addFilter(lambda record: record.levelno >= logging.ERROR)
    import robosuite

    task.register()
    env = robosuite.make(
        task.environment,
        robots=robot,
        gripper_types=fast_grippers()[robot],
        has_renderer=False,
        has_offscreen_renderer=False,
        use_camera_obs=False,
        use_object_obs=False,
        control_freq=rate,
        horizon=horizon,
        ignore_done=True,
        hard_reset=False,
        renderer="mujoco",
        **({"seed": _BUILD_SEED} if task.seeded else {}),
    )
    things = {thing.name: thing for thing in env.model.mujoco_objects}
    env.placement_initializer = Placement(things, task.spots)
    return env


def aim_camera(model: Any, camera: int, wanted: Camera) -> None:
    """Move the camera to where the task wants it; the picture's upper edge stays level."""
    if wanted.position:
        model.cam_pos[camera] = wanted.position
    if wanted.look_at:
        import mujoco

        back = model.cam_pos[camera] - wanted.look_at
        back /= np.linalg.norm(back)
        right = np.cross((0.0, 0.0, 1.0), back)
        right /= np.linalg.norm(right)
        axes = np.stack([right, np.cross(back, right), back], axis=1)
        mujoco.mju_mat2Quat(model.cam_quat[camera], axes.ravel())
