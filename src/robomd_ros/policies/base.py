"""What a policy under test has to offer, and nothing more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


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
