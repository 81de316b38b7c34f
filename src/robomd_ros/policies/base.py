"""What a policy under test has to offer, and nothing more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robomd_ros.core.errors import InvalidArgumentError, PolicyError

MAX_SIDE = 4096
MAX_ACTION_DIM = 256
MAX_HORIZON = 100_000


@dataclass(frozen=True)
class PolicyInfo:
    """What a policy needs and gives.

    Attributes:
        id: unique name with a version or content hash, stored with every rollout.
        task, robot: what it was made for ("lift", "Panda").
        image_height, image_width: of the camera image it takes; the cell resizes by area when the camera differs.
        proprio: names of the proprioception vector's parts in order, see sim_bridge and ur5e_driver.
        action_dim: length of an action.
        action_space: "osc_pose" (dx dy dz droll dpitch dyaw gripper in -1..1), "osc_position" (dx dy dz gripper), ...
        rate: control rate [Hz].
        horizon: control steps after which an unfinished rollout is a failure.
    """

    id: str
    task: str
    robot: str
    image_height: int
    image_width: int
    proprio: tuple[str, ...]
    action_dim: int
    action_space: str
    rate: float
    horizon: int

    def __post_init__(self) -> None:
        sizes = {
            "image_height": (self.image_height, MAX_SIDE),
            "image_width": (self.image_width, MAX_SIDE),
            "action_dim": (self.action_dim, MAX_ACTION_DIM),
            "horizon": (self.horizon, MAX_HORIZON),
        }
        for name, (value, most) in sizes.items():
            if not 1 <= value <= most:
                raise InvalidArgumentError(f"policy info: {name} = {value}; want 1 .. {most}.")
        if not 0.0 < self.rate <= 1000.0:
            raise InvalidArgumentError(
                f"policy info: rate = {self.rate} Hz; want more than 0, up to 1000."
            )
        if not self.id:
            raise InvalidArgumentError("policy info: id is empty; want a unique name.")


def info_from_dict(data: object) -> PolicyInfo:
    """PolicyInfo from a mapping that came from a file or a socket.

    Raises:
        InvalidArgumentError: a field is missing, unknown, of the wrong type or out of range.
    """
    kinds = {f.name: f.type for f in fields(PolicyInfo)}
    if not isinstance(data, Mapping) or set(data) != set(kinds):
        got = sorted(map(str, data)) if isinstance(data, Mapping) else type(data).__name__
        raise InvalidArgumentError(f"policy info: want the fields {sorted(kinds)}; got {got}.")
    values: dict[str, Any] = {}
    for name, kind in kinds.items():
        values[name] = _convert(name, str(kind), data[name])
    return PolicyInfo(**values)


def _convert(name: str, kind: str, value: object) -> object:
    if kind == "str" and isinstance(value, str):
        return value
    if kind == "int" and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind == "float" and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    is_names = isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)
    if kind.startswith("tuple") and is_names:
        return tuple(value)  # type: ignore[arg-type]
    raise InvalidArgumentError(f"policy info: {name} = {str(value)[:80]!r}; want {kind}.")


@dataclass(frozen=True)
class Observation:
    """What the policy sees.

    Attributes:
        image: (H, W, 3) uint8 RGB, first row on top.
        proprio: (P,) float32, the parts PolicyInfo.proprio names, concatenated.
        stamp: seconds in the camera's clock.
    """

    image: NDArray[np.uint8]
    proprio: NDArray[np.float32]
    stamp: float


class Policy(Protocol):
    """A black box that sees a camera and moves an arm."""

    @property
    def info(self) -> PolicyInfo:
        """What it needs and gives."""

    def reset(self, seed: int) -> None:
        """Start a new rollout."""

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """One action, (action_dim,) float32 in -1..1. Raises PolicyError when it cannot."""

    def close(self) -> None:
        """Free what it holds."""


def check_action(info: PolicyInfo, action: ArrayLike) -> NDArray[np.float32]:
    """The action as (action_dim,) float32. Raises PolicyError on another shape or a value that is not finite."""
    try:
        out = np.asarray(action, np.float32)
    except (TypeError, ValueError) as error:
        raise PolicyError(
            f"policy {info.id}: its action is not an array of numbers: {error}."
        ) from None
    if out.shape != (info.action_dim,):
        raise PolicyError(
            f"policy {info.id}: its action has shape {out.shape}; its info says ({info.action_dim},)."
        )
    if not np.isfinite(out).all():
        raise PolicyError(f"policy {info.id}: its action {out.tolist()} is not finite.")
    return out


def check_observation(info: PolicyInfo, observation: Observation, proprio_dim: int) -> None:
    """Raise PolicyError unless the image is RGB uint8 and the proprioception has `proprio_dim` finite numbers."""
    image, proprio = observation.image, observation.proprio
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise PolicyError(
            f"policy {info.id}: image wants (H, W, 3) uint8 RGB; got {image.dtype} {image.shape}."
        )
    if proprio.shape != (proprio_dim,):
        raise PolicyError(
            f"policy {info.id}: proprio wants ({proprio_dim},) = {', '.join(info.proprio)}; got {proprio.shape}."
        )
    if not np.isfinite(proprio).all():
        raise PolicyError(f"policy {info.id}: proprio {proprio.tolist()} is not finite.")
