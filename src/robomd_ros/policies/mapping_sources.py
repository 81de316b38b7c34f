"""The parts of a mapping: where a policy's images and numbers come from, and what its actions are."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robomd_ros.core.errors import InvalidArgumentError, PolicyError
from robomd_ros.policies.base import MAX_SIDE

_PART = re.compile(r"([a-z_]+)(?:\[(\d{1,3})\])?")


@dataclass(frozen=True)
class ImageSource:
    """One image of an observation.

    Attributes:
        image: "camera", or "black" for one that is not there.
        height, width: 0 = as it comes; else resized without distortion, the rest black.
        mirror: left and right swapped.
        window: top, left, height and width of the part of the camera's image that is taken [pixel]; () = all of it.
    """

    image: str = "camera"
    height: int = 0
    width: int = 0
    mirror: bool = False
    window: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "window", tuple(self.window))
        whole = all(type(n) is int and 0 <= n <= MAX_SIDE for n in self.window)
        if self.window and (len(self.window) != 4 or not whole or 0 in self.window[2:]):
            raise InvalidArgumentError(f"window {self.window}: want top, left, height, width.")
        if self.image not in ("camera", "black"):
            raise InvalidArgumentError(f"image {self.image!r}: want camera or black.")
        sizes = (self.height, self.width)
        if not all(0 <= side <= MAX_SIDE for side in sizes) or (self.height == 0) != (
            self.width == 0
        ):
            raise InvalidArgumentError(f"image size {sizes}: want both 1 .. {MAX_SIDE}, or none.")

    def read(self, camera: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 from the camera's. Raises PolicyError where the window leaves it."""
        if self.window:
            top, left, height, width = self.window
            if top + height > camera.shape[0] or left + width > camera.shape[1]:
                raise PolicyError(
                    f"the window {self.window} leaves the image of {camera.shape[:2]}."
                )
            camera = camera[top : top + height, left : left + width]
        image = camera if self.image == "camera" else np.zeros_like(camera)
        image = image[:, ::-1] if self.mirror else image
        return _padded(image, self.height or len(image), self.width or image.shape[1])


@dataclass(frozen=True)
class StateSource:
    """Numbers of an observation: parts of the proprioception, or one number "part[i]" of them, times scale plus offset."""

    proprio: tuple[str, ...]
    scale: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "proprio", tuple(self.proprio))
        if not self.proprio or not all(_PART.fullmatch(str(name)) for name in self.proprio):
            raise InvalidArgumentError(
                f"proprio {self.proprio}: want names, or one number name[i]."
            )
        if not (math.isfinite(self.scale) and math.isfinite(self.offset)):
            raise InvalidArgumentError("scale and offset want to be finite.")

    def read(self, parts: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """(N,) float32 from the parts."""
        numbers = np.concatenate([_pick(parts, name) for name in self.proprio])
        return (numbers * self.scale + self.offset).astype(np.float32)


@dataclass(frozen=True)
class ActionSource:
    """What the policy's actions are.

    Attributes:
        key: of a server's answer that holds them.
        kind: "as_is" = already in -1..1; "absolute_joints" = joint targets [rad], then the gripper: the change from where the
            joints are becomes a joint_position action.
        joint_scale: change that is an action of 1 [rad]; the servo's.
        gripper: what the policy says for open and for closed; (-1, 1) = as ours.
    """

    key: str = "actions"
    kind: str = "as_is"
    joint_scale: float = 0.05
    gripper: tuple[float, float] = (-1.0, 1.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "gripper", tuple(self.gripper))
        if self.kind not in ("as_is", "absolute_joints"):
            raise InvalidArgumentError(f"kind {self.kind!r}: want as_is or absolute_joints.")
        numbers = (self.joint_scale, *self.gripper)
        if len(numbers) != 3 or not all(map(math.isfinite, numbers)) or self.joint_scale <= 0:
            raise InvalidArgumentError("want joint_scale above 0 and gripper [open, closed].")
        if self.gripper[0] == self.gripper[1]:
            raise InvalidArgumentError("gripper: open and closed are the same number.")

    def convert(
        self, action: NDArray[np.float32], parts: Mapping[str, NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """(D,) of the policy to (D,) of ours; the gripper comes last."""
        out = np.array(action, np.float32)
        opened, closed = self.gripper
        out[-1] = 2.0 * (out[-1] - opened) / (closed - opened) - 1.0
        if self.kind == "absolute_joints":
            out[:-1] = (out[:-1] - parts["joint_pos"]) / self.joint_scale
        return out


def _pick(parts: Mapping[str, NDArray[np.float32]], name: str) -> NDArray[np.float32]:
    found = _PART.fullmatch(name)
    assert found is not None  # checked on construction
    part = parts[found[1]]
    if found[2] is None:
        return part
    return part[int(found[2])][None]


def axis_angle(quaternion: NDArray[np.float32]) -> NDArray[np.float32]:
    """Quaternion x y z w to axis times angle [rad], as robosuite's quat2axisangle: the angle is in 0 .. 2 pi."""
    w = float(np.clip(quaternion[3], -1.0, 1.0))
    sine = math.sqrt(1.0 - w * w)
    if math.isclose(sine, 0.0, abs_tol=1e-8):
        return np.zeros(3, np.float32)
    return (quaternion[:3] * (2.0 * math.acos(w)) / sine).astype(np.float32)


def _padded(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize without distortion, centred on black, as openpi-client's resize_with_pad does."""
    if image.shape[:2] == (height, width):
        return np.ascontiguousarray(image)
    ratio = max(image.shape[1] / width, image.shape[0] / height)
    inner = (max(1, int(image.shape[1] / ratio)), max(1, int(image.shape[0] / ratio)))
    resized = Image.fromarray(np.ascontiguousarray(image)).resize(inner, Image.Resampling.BILINEAR)
    out = np.zeros((height, width, 3), np.uint8)
    top, left = (height - inner[1]) // 2, (width - inner[0]) // 2
    out[top : top + inner[1], left : left + inner[0]] = np.asarray(resized)
    return out
