"""A stored rollout as training code wants it: one row a frame, at a constant rate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.assembly import FRAME_0
from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.outcome import Control, Outcome
from robomd_ros.core.records import RolloutRecord, Trace
from robomd_ros.core.store import RolloutStore
from robomd_ros.core.study import Study
from robomd_ros.exchange.bag_file import open_bag
from robomd_ros.exchange.bag_trace import actions_at
from robomd_ros.exchange.mapping import Field
from robomd_ros.exchange.vectors import numbers
from robomd_ros.recording import read_recording
from robomd_ros.recording.messages import ACTIONS


@dataclass(frozen=True)
class Shape:
    """What all rollouts of one data set have in common."""

    height: int
    width: int
    joints: tuple[str, ...]
    has_velocities: bool
    action_dim: int


@dataclass(frozen=True)
class Demo:
    """One rollout, aligned.

    Attributes:
        record: its row in the store.
        frames: (T, H, W, 3) uint8 RGB.
        positions, velocities: (T, J) at the frames, rad and rad/s; velocities (T, 0) when none were recorded.
        actions: (N, A) float32, N <= T; action k answers frame k.
        shape: of all of these.
        resampled: frames are missing or double, because the camera did not keep its rate.
    """

    record: RolloutRecord
    frames: NDArray[np.uint8]
    positions: NDArray[np.float32]
    velocities: NDArray[np.float32]
    actions: NDArray[np.float32]
    shape: Shape
    resampled: bool = False

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def success(self) -> bool:
        """The label in force is SUCCESS."""
        return self.record.outcome is Outcome.SUCCESS

    @property
    def task(self) -> str:
        """The task in words: as it was imported, else the name of the study's task."""
        return self.record.facts.get("task_sentence") or self.record.task


def choose(store: RolloutStore, outcomes: Iterable[Outcome]) -> list[RolloutRecord]:
    """Rollouts of the policy with one of these outcomes, oldest first; negative controls never."""
    wanted = frozenset(outcomes)
    return [
        record
        for record in store.records(with_frames=False)
        if record.outcome in wanted and record.control is Control.NONE
    ]


def usual_rate(records: Iterable[RolloutRecord]) -> int:
    """Frames a second that most of the rollouts were recorded at.

    Raises:
        InvalidArgumentError: none of them has two frames.
    """
    rates = [(r.frames - 1) / r.duration for r in records if r.frames > 1 and r.duration > 0]
    if not rates:
        raise InvalidArgumentError(
            "none of the chosen rollouts was recorded with two frames or more."
        )
    return max(1, round(float(np.median(rates))))


def read_demo(study: Study, record: RolloutRecord, fps: int, actions: Field | None = None) -> Demo:
    """Read the recording of a rollout and align it.

    Args:
        study: where the recording is.
        record: of the rollout.
        fps: frames a second of the data set.
        actions: topic of the recording whose messages are the actions; None = what the policy answered.

    Raises:
        StorageError: the recording is missing or damaged.
        InvalidArgumentError: no recording, no actions, or numbers that are not finite.
    """
    if not record.recording:
        raise InvalidArgumentError("it has no recording.")
    path = study.recordings / record.recording
    trace = read_recording(path)
    if not len(trace.frames):
        raise InvalidArgumentError("its recording has no frame.")
    if actions is None and record.facts.get(FRAME_0) == "lost":
        raise InvalidArgumentError(
            "its frame 0 was lost: no telling which frame an action answers."
        )
    trace = _with_actions(path, trace, actions)
    rows, resampled = on_grid(trace.stamps, fps)
    positions = _at_frames(trace, trace.joint_positions)[rows]
    velocities = _at_frames(trace, trace.joint_velocities)[rows]
    chosen = trace.actions[rows[rows < len(trace.actions)]]
    if not all(np.isfinite(values).all() for values in (positions, velocities, chosen)):
        raise InvalidArgumentError("it holds joint states or actions that are not finite.")
    frames = trace.frames[rows] if resampled else trace.frames
    shape = Shape(
        frames.shape[1],
        frames.shape[2],
        trace.joint_names if positions.size else (),
        bool(velocities.size),
        chosen.shape[1],
    )
    return Demo(record, frames, positions, velocities, chosen, shape, resampled)


def on_grid(stamps: NDArray[np.float64], fps: int) -> tuple[NDArray[np.intp], bool]:
    """Indices of the frames at a constant rate, and whether they are others than all of them once.

    A camera that jitters by less than half a period keeps its frames: LeRobot, too, counts them at the nominal rate.
    """
    steps = np.diff(stamps) * fps
    if (np.abs(steps - 1) < 0.5).all():
        return np.arange(len(stamps)), False
    times = stamps[0] + np.arange(int((stamps[-1] - stamps[0]) * fps + 1e-6) + 1) / fps
    middles = (stamps[:-1] + stamps[1:]) / 2
    return np.searchsorted(middles, times - 1e-9), True


def _with_actions(path: Path, trace: Trace, field: Field | None) -> Trace:
    """One action a frame: as the policy answered, or the first of a topic at or after each frame."""
    count = len(trace.actions)
    aligned = count in (len(trace.stamps), len(trace.stamps) - 1) and np.allclose(
        trace.action_stamps, trace.stamps[:count], rtol=0, atol=1e-6
    )
    if field is None and aligned and trace.actions.size:
        return trace
    if field is None and not trace.actions.size:
        raise InvalidArgumentError(
            "its recording has no actions; --map actions=topic takes recorded commands for them."
        )
    field = field or Field(ACTIONS)
    with open_bag(path) as bag:
        bag.type_of(field.name)
        found = [
            (t * 1e-9, numbers(field, message)) for _, t, message in bag.messages([field.name])
        ]
    times = np.array([time for time, _ in found])
    chosen = actions_at(trace.stamps, times, [values for _, values in found])
    if not len(chosen):
        raise InvalidArgumentError(f"{field.name} has no message after its first frame.")
    return replace(trace, actions=chosen)


def _at_frames(trace: Trace, values: NDArray[np.float64]) -> NDArray[np.float32]:
    """(T, J): joint values between the samples before and after each frame."""
    if not values.size:
        return np.zeros((len(trace.stamps), 0), np.float32)
    columns = [np.interp(trace.stamps, trace.joint_stamps, column) for column in values.T]
    return np.stack(columns, axis=1).astype(np.float32)
