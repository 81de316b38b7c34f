"""One rollout put together from what arrived about it: status, frames, joint states."""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.records import RawMessage, RolloutRecord, Trace

FRAME_0 = "frame_0"
"""Fact of a record: "lost" = its recording begins later, so none of its frames was seen before the policy moved."""

_NS = 1e-9


@dataclass(frozen=True)
class JointSample:
    """One joint_states message.

    Attributes:
        stamp: nanoseconds in the camera's clock.
        names: J joint names.
        positions, velocities: (J,), rad and rad/s; velocities are zero where none came.
    """

    stamp: int
    names: tuple[str, ...]
    positions: NDArray[np.float64]
    velocities: NDArray[np.float64]


class JointBuffer:
    """The newest joint samples in the order of their stamps.

    Args:
        max_samples: kept.
    """

    def __init__(self, max_samples: int) -> None:
        self._samples: deque[JointSample] = deque(maxlen=max_samples)

    @property
    def newest(self) -> int:
        """Stamp of the newest sample; 0 = none."""
        return self._samples[-1].stamp if self._samples else 0

    def add(self, sample: JointSample) -> None:
        """Keep a sample; one that is not newer than the last is dropped, a jump back of the clock starts anew."""
        if self._samples and sample.stamp <= self.newest:
            if self.newest - sample.stamp < 1_000_000_000:
                return
            self._samples.clear()
        self._samples.append(sample)

    def between(self, start: int, end: int) -> list[JointSample]:
        """Samples of the closed interval that name the same joints as the first of them."""
        stamps = [s.stamp for s in self._samples]
        found = list(self._samples)[
            bisect.bisect_left(stamps, start) : bisect.bisect_right(stamps, end)
        ]
        return [s for s in found if s.names == found[0].names]


@dataclass
class RolloutAssembly:
    """Collects the frames of one rollout until it is complete.

    Attributes:
        start, end: nanoseconds in the camera's clock; end 0 = still running.
        frames_expected: as the cell counted; known when it has finished.
    """

    start: int = 0
    end: int = 0
    frames_expected: int = 0
    held: int = 0
    dropped: int = 0
    _frames: dict[int, NDArray[np.uint8]] = field(default_factory=dict)
    _shape: tuple[int, ...] = ()

    def add_frame(self, stamp: int, rgb: NDArray[np.uint8], max_bytes: int) -> None:
        """Keep one (H, W, 3) frame; frames of another size and those over the memory limit are dropped and counted."""
        if stamp in self._frames:
            return
        self._shape = self._shape or rgb.shape
        if rgb.shape != self._shape or self.held + rgb.nbytes > max_bytes:
            self.dropped += 1
            return
        self._frames[stamp] = rgb
        self.held += rgb.nbytes

    @property
    def frames(self) -> int:
        """Frames inside the interval so far."""
        return len(self._stamps())

    @property
    def complete(self) -> bool:
        """It has finished, and every frame the cell published is here."""
        return bool(self.end) and self.frames + self.dropped >= self.frames_expected

    @property
    def begin(self) -> int:
        """STARTED's stamp, or that of the oldest frame when neither that status nor frame 0 came."""
        return self.start or min(self._frames, default=self.end)

    def build(
        self,
        record: RolloutRecord,
        joints: list[JointSample],
        compressed: Mapping[int, bytes] | None = None,
        extras: tuple[RawMessage, ...] = (),
    ) -> tuple[RolloutRecord, Trace | None]:
        """The record with its frame counts and first frame, and the trace; None = nothing came. The frames are given away.

        Args:
            record: made from the status.
            joints: of the interval.
            compressed: the camera driver's own messages by stamp, for Trace.compressed.
            extras: messages of further topics.
        """
        stamps = self._stamps()
        # Only the frame at STARTED's stamp was seen before the policy moved: without it there is no first frame.
        first = self._frames.get(self.start)
        record = replace(
            record, frames=len(stamps), frames_expected=self.frames_expected, first_frame=first
        )
        if first is None:
            record = replace(record, facts={**record.facts, FRAME_0: "lost"})
        if not (stamps or joints or extras):
            return record, None
        found = compressed or {}
        return record, Trace(
            stamps=np.array(stamps, np.float64) * _NS,
            frames=self._take(stamps),
            compressed=tuple(found.get(s, b"") for s in stamps) if found else (),
            extras=extras,
            **_joint_arrays(joints),
        )

    def _take(self, stamps: list[int]) -> NDArray[np.uint8]:
        """(T, H, W, 3) frames; each is freed when it is copied, so that memory holds them once."""
        frames = np.empty((len(stamps), *(self._shape or (0, 0, 3))), np.uint8)
        for at, stamp in enumerate(stamps):
            frames[at] = self._frames.pop(stamp)
        self._frames.clear()
        return frames

    def _stamps(self) -> list[int]:
        last = self.end or max(self._frames, default=0)
        return sorted(s for s in self._frames if self.start <= s <= last)


def _joint_arrays(joints: list[JointSample]) -> dict:
    if not joints:
        return {}
    return {
        "joint_names": joints[0].names,
        "joint_stamps": np.array([j.stamp for j in joints], np.float64) * _NS,
        "joint_positions": np.stack([j.positions for j in joints]),
        "joint_velocities": np.stack([j.velocities for j in joints]),
    }
