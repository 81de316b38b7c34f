"""A stored rollout as training code wants it: one row a frame, at a constant rate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.outcome import Control, Outcome
from robomd_ros.core.records import RolloutRecord, Trace
from robomd_ros.core.store import RolloutStore
from robomd_ros.core.study import Study
from robomd_ros.exchange.bag_file import open_bag
from robomd_ros.exchange.bag_trace import actions_at
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


def read_demo(study: Study, record: RolloutRecord, fps: int) -> Demo:
    """Read the recording of a rollout and align it.

    Raises:
        StorageError: the recording is missing or damaged.
        InvalidArgumentError: no recording, no actions, or numbers that are not finite.
    """
    if not record.recording:
        raise InvalidArgumentError("it has no recording.")
    trace = _with_aligned_actions(
        study, record, read_recording(study.recordings / record.recording)
    )
    if not trace.actions.size:
        raise InvalidArgumentError("its recording has no actions.")
    rows, resampled = on_grid(trace.stamps, fps)
    positions = _at_frames(trace, trace.joint_positions)[rows]
    velocities = _at_frames(trace, trace.joint_velocities)[rows]
    actions = trace.actions[rows[rows < len(trace.actions)]]
    if not all(np.isfinite(values).all() for values in (positions, velocities, actions)):
        raise InvalidArgumentError("it holds joint states or actions that are not finite.")
    frames = trace.frames if not resampled else trace.frames[rows]
    shape = Shape(
        frames.shape[1],
        frames.shape[2],
        trace.joint_names if positions.size else (),
        bool(velocities.size),
        actions.shape[1],
    )
    return Demo(record, frames, positions, velocities, actions, shape, resampled)


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


def _with_aligned_actions(study: Study, record: RolloutRecord, trace: Trace) -> Trace:
    """Actions are one a frame (but for the last); of another rate they are taken by their time."""
    if len(trace.actions) in (0, len(trace.stamps), len(trace.stamps) - 1):
        return trace
    with open_bag(study.recordings / record.recording) as bag:
        times = [stamp * 1e-9 for _, stamp, _ in bag.messages([ACTIONS])]
    return replace(trace, actions=actions_at(trace.stamps, np.array(times), list(trace.actions)))


def _at_frames(trace: Trace, values: NDArray[np.float64]) -> NDArray[np.float32]:
    """(T, J): joint values between the samples before and after each frame."""
    if not values.size:
        return np.zeros((len(trace.stamps), 0), np.float32)
    columns = [np.interp(trace.stamps, trace.joint_stamps, column) for column in values.T]
    return np.stack(columns, axis=1).astype(np.float32)
