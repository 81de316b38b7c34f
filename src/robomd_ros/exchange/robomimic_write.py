"""A robomimic HDF5 file: data/demo_0 and on, with the filter keys that its training takes."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from robomd_ros.exchange.demo import Demo, Shape

CAMERA = "agentview_image"
VALID_EVERY = 10
"""One demo of so many is kept apart for validation, of successes and failures alike."""
_GRIPPER = ("finger", "gripper", "knuckle")
_ROBOSUITE = 1
"""EnvType of robomimic; a real cell has none of its own."""
_NOTE = "states and model_file are not here: rollouts were recorded, not the simulator's states."


class RobomimicWriter:
    """Writes one file.

    Args:
        path: of the new file.
        shape: of its demos.
        fps: control rate.
        task: of the study, e.g. "lift".
        robot: its type.
    """

    def __init__(self, path: Path, shape: Shape, fps: int, task: str, robot: str) -> None:
        self._file = h5py.File(path, "w")
        self._data = self._file.create_group("data")
        self._total = 0
        self._masks: dict[str, list[str]] = {}
        self._seen = {True: 0, False: 0}
        self._arm, self._gripper = _split(shape.joints)
        kwargs = {
            "robots": [robot],
            "control_freq": fps,
            "camera_names": ["agentview"],
            "camera_heights": shape.height,
            "camera_widths": shape.width,
        }
        env = {"env_name": task.capitalize(), "type": _ROBOSUITE, "env_kwargs": kwargs}
        self._data.attrs["env_args"] = json.dumps(env)
        self._data.attrs["robomd_note"] = _NOTE
        self._data.attrs["robomd_joints"] = list(shape.joints)

    def add(self, demo: Demo) -> None:
        """Append a demo; next_obs is the frame after, at the end the last one once more."""
        count = len(demo)
        group = self._data.create_group(f"demo_{sum(self._seen.values())}")
        now = np.arange(count)
        after = np.minimum(now + 1, len(demo.frames) - 1)
        for name, rows in (("obs", now), ("next_obs", after)):
            self._observe(group.create_group(name), demo, rows)
        last = np.arange(count) == count - 1
        group["actions"] = demo.actions
        group["rewards"] = np.float32(last & demo.success)
        group["dones"] = last.astype(np.int64)
        group.attrs["num_samples"] = count
        group.attrs["robomd_rollout_id"] = demo.record.id
        group.attrs["robomd_variations"] = demo.record.perturbation.id
        group.attrs["robomd_outcome"] = demo.record.outcome.name.lower()
        group.attrs["robomd_task"] = demo.task
        self._filter(group.name.rsplit("/", 1)[1], demo.success)
        self._total += count

    def close(self) -> None:
        """Write the filter keys and finish the file."""
        self._data.attrs["total"] = self._total
        for name, demos in self._masks.items():
            self._file[f"mask/{name}"] = np.array(demos, "S")
        self._file.close()

    def _observe(self, group: h5py.Group, demo: Demo, rows: NDArray[np.intp]) -> None:
        frames = demo.frames[rows]
        group.create_dataset(CAMERA, data=frames, chunks=(1, *frames.shape[1:]), compression="lzf")
        for joints, position, velocity in (
            (self._arm, "robot0_joint_pos", "robot0_joint_vel"),
            (self._gripper, "robot0_gripper_qpos", "robot0_gripper_qvel"),
        ):
            if joints:
                group[position] = demo.positions[rows][:, joints]
                if demo.shape.has_velocities:
                    group[velocity] = demo.velocities[rows][:, joints]

    def _filter(self, name: str, success: bool) -> None:
        kind = "success" if success else "failure"
        # The second of ten, so that two demos of a kind are enough for one to validate with.
        part = "valid" if self._seen[success] % VALID_EVERY == 1 else "train"
        self._seen[success] += 1
        for mask in (part, kind, f"{kind}_{part}"):
            self._masks.setdefault(mask, []).append(name)


def _split(joints: tuple[str, ...]) -> tuple[list[int], list[int]]:
    """Indices of the arm's joints and of the gripper's, by their names."""
    gripper = [k for k, name in enumerate(joints) if any(word in name for word in _GRIPPER)]
    return [k for k in range(len(joints)) if k not in gripper], gripper
