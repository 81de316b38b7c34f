"""What is kept of a rollout: the row of the store, and the time series behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.outcome import Control, Label, Outcome
from robomd_ros.core.variations import Perturbation

PURPOSES = (
    "initial",
    "search",
    "learn",
    "random",
    "confirm",
    "control",
    "heldout",
    "manual",
)
"""Why a rollout was run. "control" ones are negative controls and are no evidence about the policy."""


@dataclass(frozen=True)
class RawMessage:
    """One message of any topic, as it was on the wire.

    Attributes:
        topic: absolute, without the namespace of the cell.
        type: "std_msgs/msg/Bool".
        stamp: nanoseconds in the camera's clock.
        data: CDR bytes.
        latched: who joins late still gets the last one.
    """

    topic: str
    type: str
    stamp: int
    data: bytes
    latched: bool = False


@dataclass(frozen=True)
class Trace:
    """The time series of one rollout; index 0 of `frames` is seen before the policy moves.

    A live rollout whose frame 0 was lost on the way begins later; the record's facts say so.

    Attributes:
        stamps: (T,) seconds in the camera's clock, strictly increasing.
        frames: (T, H, W, 3) uint8 RGB, first row on top; T = 0 when the camera was silent.
        joint_names: J names.
        joint_stamps: (N,) seconds in the camera's clock.
        joint_positions, joint_velocities: (N, J), rad and rad/s (m, m/s for prismatic joints).
        actions: (K, A) float32, what the policy answered; K = T - 1 in simulation, may be empty on a real cell.
        action_stamps: (K,) of the frame each action answers; empty = action k answers frame k.
        frame_id: of the camera.
        compressed: T times the CDR bytes of the sensor_msgs/CompressedImage that frame was decoded from, b"" where none
            came; () = the camera was read raw.
        extras: messages of further topics, in the order of their stamps: commands, TF, status ...
    """

    stamps: NDArray[np.float64]
    frames: NDArray[np.uint8]
    joint_names: tuple[str, ...] = ()
    joint_stamps: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    joint_positions: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    joint_velocities: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    actions: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    action_stamps: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    frame_id: str = "camera_color_optical_frame"
    compressed: tuple[bytes, ...] = ()
    extras: tuple[RawMessage, ...] = ()

    def __post_init__(self) -> None:
        if len(self.frames):
            check_rgb(self.frames, ndim=4)
        if self.compressed and len(self.compressed) != len(self.frames):
            raise InvalidArgumentError(
                f"trace: {len(self.frames)} frames want as many compressed ones or none, got {len(self.compressed)}."
            )
        if self.stamps.shape != (len(self.frames),):
            raise InvalidArgumentError(
                f"trace: {len(self.frames)} frames want as many stamps, got shape {self.stamps.shape}."
            )
        if self.action_stamps.shape not in ((0,), (len(self.actions),)):
            raise InvalidArgumentError(
                f"trace: {len(self.actions)} actions want as many stamps or none, got shape {self.action_stamps.shape}."
            )
        joints = (len(self.joint_stamps), len(self.joint_names))
        if self.joint_stamps.size and self.joint_positions.shape != joints:
            raise InvalidArgumentError(
                f"trace: joint_positions want shape {joints}, got {self.joint_positions.shape}."
            )


@dataclass(frozen=True)
class RolloutRecord:
    """One row of the store.

    Attributes:
        id: unique; letters, digits, "-" and "_".
        perturbation: what was applied.
        task, robot, policy_id: what ran where.
        purpose: one of PURPOSES.
        control: CONTROL_ZERO_ACTION marks a negative control.
        seed: of the scene; -1 = not seeded.
        started: wall clock, seconds since the epoch.
        duration: seconds in the camera's clock.
        steps: control steps done.
        frames, frames_expected: camera frames kept, and published by the cell.
        first_frame: (H, W, 3) uint8 RGB before the policy moves; None = the camera was silent.
        recording: file name inside recordings/; "" = none kept.
        labels: oldest first, undone ones left out; the last one is in force.
        second_looks: blind ones, oldest first, undone ones left out; never in force.
        facts: software versions, speed scaling, git revision ...
    """

    id: str
    perturbation: Perturbation
    task: str
    robot: str
    policy_id: str
    purpose: str = "manual"
    control: Control = Control.NONE
    seed: int = -1
    started: float = 0.0
    duration: float = 0.0
    steps: int = 0
    frames: int = 0
    frames_expected: int = 0
    first_frame: NDArray[np.uint8] | None = None
    recording: str = ""
    labels: tuple[Label, ...] = ()
    second_looks: tuple[Label, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.id or not all(c.isalnum() or c in "-_" for c in self.id) or len(self.id) > 64:
            raise InvalidArgumentError(
                f"rollout id {self.id[:80]!r}: want 1 to 64 letters, digits, '-' or '_'."
            )
        if self.purpose not in PURPOSES:
            raise InvalidArgumentError(f"purpose {self.purpose[:40]!r}: want one of {PURPOSES}.")
        if any(x.second_look for x in self.labels) or not all(
            x.second_look for x in self.second_looks
        ):
            raise InvalidArgumentError(
                f"rollout {self.id}: second looks belong into `second_looks`, all others into `labels`."
            )
        if self.first_frame is not None:
            check_rgb(self.first_frame)

    @property
    def outcome(self) -> Outcome:
        """The label in force."""
        return self.labels[-1].outcome if self.labels else Outcome.UNKNOWN

    @property
    def is_evidence(self) -> bool:
        """A success or failure of the policy itself (no negative control)."""
        return self.outcome.is_evidence and self.control is Control.NONE


def check_rgb(image: NDArray[np.uint8], ndim: int = 3) -> None:
    """Raise InvalidArgumentError unless `image` is a non-empty uint8 (..., H, W, 3) array."""
    if image.dtype != np.uint8 or image.ndim != ndim or image.shape[-1] != 3 or not image.size:
        raise InvalidArgumentError(
            f"image: want a non-empty uint8 array with {ndim} axes, the last of 3 (RGB); got {image.dtype} {image.shape}."
        )
