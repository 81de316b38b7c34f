"""What a policy behind a library or a server of its own is given and what its actions mean: a JSON object.

{"info": {...},                             the fields of PolicyInfo
 "prompt": "pick up the red cube",
 "observation": {                           by the policy's own key
   "observation/image": {"image": "camera", "height": 224, "width": 224, "mirror": true,
                         "window": [12, 16, 64, 64]},                   or "black"; window: top, left, height, width
   "observation/state": {"proprio": ["eef_pos", "eef_axis_angle", "gripper_qpos[0]"], "scale": 1, "offset": 0},
   "prompt": {"text": "prompt"}},
 "sizes": {"gripper_qpos": 2},              where the robot's are others than robosuite's
 "actions": {"kind": "as_is" or "absolute_joints", "key": "actions", "joint_scale": 0.05, "gripper": [open, closed]},
 "chunk_steps": 5}                          of each answer of a server, before it is asked again
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError, PolicyError, StorageError
from robomd_ros.policies.base import Observation, PolicyInfo, info_from_dict
from robomd_ros.policies.mapping_sources import ActionSource, ImageSource, StateSource, axis_angle

MAX_FILE = 64 * 1024
MAX_PROMPT = 2000
MAX_CHUNK = 1000
SIZES: Mapping[str, Mapping[str, int]] = {
    "Panda": {"eef_pos": 3, "eef_quat": 4, "gripper_qpos": 2, "joint_pos": 7, "joint_vel": 7},
    "UR5e": {"eef_pos": 3, "eef_quat": 4, "gripper_qpos": 6, "joint_pos": 6, "joint_vel": 6},
}
"""Length of each part of the proprioception, by robot."""
AXIS_ANGLE = "eef_axis_angle"


@dataclass(frozen=True)
class PolicyMapping:
    """One policy's observation and actions; see the top of this file.

    Attributes:
        info: of the policy.
        observation: by the policy's key; "prompt" = the prompt.
        prompt: what the policy is told to do.
        actions, chunk_steps: see the top of this file.
        sizes: length of each part of the proprioception.
    """

    info: PolicyInfo
    observation: Mapping[str, ImageSource | StateSource | str]
    prompt: str = ""
    actions: ActionSource = field(default_factory=ActionSource)
    chunk_steps: int = 1
    sizes: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = {**SIZES.get(self.info.robot, {}), **self.sizes}
        missing = [name for name in self.info.proprio if name not in known]
        if missing:
            raise InvalidArgumentError(
                f"how long is {', '.join(missing)} of {self.info.robot}? Say it in sizes."
            )
        object.__setattr__(self, "sizes", {name: known[name] for name in self.info.proprio})
        if not 1 <= self.chunk_steps <= MAX_CHUNK or len(self.prompt) > MAX_PROMPT:
            raise InvalidArgumentError(
                f"want chunk_steps 1 .. {MAX_CHUNK} and a prompt of at most {MAX_PROMPT} characters."
            )
        self._check_parts()

    def _check_parts(self) -> None:
        parts = self.parts(np.zeros(sum(self.sizes.values()), np.float32))
        for key, source in self.observation.items():
            if isinstance(source, StateSource):
                try:
                    source.read(parts)
                except (KeyError, IndexError) as error:
                    raise InvalidArgumentError(
                        f"{key} wants {', '.join(source.proprio)}, and {error} is not in "
                        f"proprio {', '.join(self.info.proprio)}."
                    ) from None
        joints = self.sizes.get("joint_pos", 0)
        if self.actions.kind == "absolute_joints" and joints + 1 != self.info.action_dim:
            raise InvalidArgumentError(
                f"absolute_joints wants joint_pos in proprio and one action more than its {joints} joints."
            )

    def parts(self, proprio: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """The proprioception by name. Raises PolicyError on another length or a number that is not finite."""
        if proprio.shape != (sum(self.sizes.values()),):
            raise PolicyError(
                f"policy {self.info.id}: proprio has shape {proprio.shape}; its mapping says {dict(self.sizes)}."
            )
        if not np.isfinite(proprio).all():
            raise PolicyError(f"policy {self.info.id}: proprio {proprio.tolist()} is not finite.")
        ends = np.cumsum(list(self.sizes.values()))[:-1]
        parts = dict(zip(self.sizes, np.split(proprio, ends), strict=True))
        if "eef_quat" in parts:
            parts[AXIS_ANGLE] = axis_angle(parts["eef_quat"])
        return parts

    def message(
        self, seen: Observation, parts: Mapping[str, NDArray[np.float32]]
    ) -> dict[str, Any]:
        """What the policy is given, by its own keys."""
        out: dict[str, Any] = {}
        for key, source in self.observation.items():
            if isinstance(source, ImageSource):
                out[key] = source.read(seen.image)
            elif isinstance(source, StateSource):
                out[key] = source.read(parts)
            else:
                out[key] = self.prompt
        return out


def build_mapping(data: dict[str, Any]) -> PolicyMapping:
    """A mapping from a JSON object. Raises InvalidArgumentError; the sentence says where it is malformed."""
    try:
        return _build(data)
    except (InvalidArgumentError, TypeError, ValueError) as error:
        raise InvalidArgumentError(f"mapping: {error}") from None


def read_object(path: Path) -> dict[str, Any]:
    """One JSON object from a file. Raises StorageError, InvalidArgumentError."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE + 1)
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        data = json.loads(text) if len(text) <= MAX_FILE else None
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"{path} is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise InvalidArgumentError(f"{path}: want one JSON object of at most {MAX_FILE} bytes.")
    return data


def _build(data: dict[str, Any]) -> PolicyMapping:
    known = {f.name for f in fields(PolicyMapping)}
    unknown = sorted(set(data) - known - {"about"})
    if unknown or not {"info", "observation"} <= set(data):
        raise InvalidArgumentError(
            f"want info, observation and any of {sorted(known)}; got {sorted(data)}."
        )
    observation = {str(k): _source(str(k), v) for k, v in _object(data, "observation").items()}
    sizes = _object(data, "sizes")
    if not all(type(n) is int and 1 <= n <= 256 for n in sizes.values()):
        raise InvalidArgumentError(f"sizes {sizes}: want lengths 1 .. 256.")
    steps, prompt = data.get("chunk_steps", 1), data.get("prompt", "")
    if type(steps) is not int or not isinstance(prompt, str):
        raise InvalidArgumentError("want chunk_steps a whole number, prompt a text.")
    actions = ActionSource(**_object(data, "actions"))
    return PolicyMapping(info_from_dict(data["info"]), observation, prompt, actions, steps, sizes)


def _source(key: str, data: object) -> ImageSource | StateSource | str:
    try:
        if isinstance(data, dict) and "image" in data:
            return ImageSource(**data)
        if isinstance(data, dict) and "proprio" in data:
            return StateSource(**data)
        if data == {"text": "prompt"}:
            return "prompt"
    except (TypeError, InvalidArgumentError) as error:
        raise InvalidArgumentError(f"observation {key}: {error}") from None
    raise InvalidArgumentError(
        f'observation {key}: want {{"image": ...}}, {{"proprio": [...]}} or {{"text": "prompt"}}.'
    )


def _object(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = data.get(key, {})
    if not isinstance(found, dict):
        raise InvalidArgumentError(f"{key}: want a JSON object, got {type(found).__name__}.")
    return found
