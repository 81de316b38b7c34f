"""Demonstrations of the expert as robomimic trains on them: one HDF5 file, written here, read in the sidecar's environment."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import numpy as np

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.files import atomic_file
from robomd_ros.policies.bc_training import DemoSet
from robomd_ros.policies.sidecars.robomimic_policy import METADATA_KEY, PROPRIO, TASKS
from robomd_ros.policies.sidecars.robomimic_training import IMAGE

SIZES = {"eef_pos": 3, "eef_quat": 4}
"""Lengths of parts of the proprioception; the one that is not named, the gripper's, has the rest."""
_ROBOSUITE = 1
"""EnvType of robomimic."""


@dataclass(frozen=True)
class Setting:
    """What the demonstrations were made in; goes into the file, and from there into every checkpoint.

    Attributes:
        task, robot, rate [Hz], horizon [control steps]: as in PolicyInfo.
        image_size: height and width of the camera's image [pixel].
        proprio: parts of the proprioception, in the order of DemoSet.proprio.
        window: top, left, height and width of what the network sees of the image [pixel]; None = all of it.
    """

    task: str
    robot: str
    rate: float
    horizon: int
    image_size: tuple[int, int]
    proprio: tuple[str, ...] = ("eef_pos", "gripper_qpos")
    window: tuple[int, int, int, int] | None = None

    def __post_init__(self) -> None:
        if [name for name in self.proprio if name not in SIZES] != ["gripper_qpos"]:
            raise InvalidArgumentError(
                f"proprio {self.proprio}: want gripper_qpos, and of {', '.join(SIZES)} what is needed."
            )

    @property
    def states(self) -> list[str]:
        """Names of robosuite for the parts of the proprioception."""
        theirs = {ours: name for name, ours in PROPRIO.items()}
        return [theirs[name] for name in self.proprio]

    @property
    def environment(self) -> dict[str, object]:
        """The environment as robomimic describes it, with our description inside."""
        names = {ours: theirs for theirs, ours in TASKS.items()}
        kwargs = {
            "robots": [self.robot],
            "control_freq": self.rate,
            "camera_names": ["agentview"],
            "camera_heights": self.image_size[0],
            "camera_widths": self.image_size[1],
        }
        return {
            "env_name": names.get(self.task, self.task.capitalize()),
            "type": _ROBOSUITE,
            "env_kwargs": kwargs,
            METADATA_KEY: asdict(self) | {"states": self.states},
        }


def write_demos(demos: DemoSet, setting: Setting, path: Path) -> None:
    """Write the file: reward 1 and done at the last step of each demonstration, which is a success.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    top, left, height, width = setting.window or (0, 0, *setting.image_size)
    images = demos.images[:, top : top + height, left : left + width]
    free = demos.proprio.shape[1] - sum(SIZES.get(name, 0) for name in setting.proprio)
    ends = np.cumsum([SIZES.get(name, free) for name in setting.proprio])
    parts = np.split(demos.proprio, ends[:-1], axis=1)
    with atomic_file(path) as temporary, h5py.File(temporary, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps(setting.environment)
        data.attrs["total"] = len(demos.actions)
        for index, seed in enumerate(demos.seeds):
            rows = np.flatnonzero(demos.demo == index)
            group = data.create_group(f"demo_{index}")
            group.attrs["num_samples"], group.attrs["seed"] = len(rows), int(seed)
            after = np.minimum(rows + 1, rows[-1])
            for name, chosen in (("obs", rows), ("next_obs", after)):
                group[f"{name}/{IMAGE}"] = images[chosen]
                for key, part in zip(setting.states, parts, strict=True):
                    group[f"{name}/{key}"] = part[chosen]
            group["actions"] = demos.actions[rows]
            last = rows == rows[-1]
            group["rewards"], group["dones"] = last.astype(np.float32), last.astype(np.int64)
