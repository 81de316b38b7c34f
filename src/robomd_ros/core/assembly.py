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
_GROWTH = 32


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
    dropped: int = 0
    _places: dict[int, int] = field(default_factory=dict)
    _block: NDArray[np.uint8] = field(default_factory=lambda: np.empty((0, 0, 0, 3), np.uint8))

    def add_frame(self, stamp: int, rgb: NDArray[np.uint8], max_bytes: int) -> None:
        """Keep one (H, W, 3) frame; frames of another size and those over the memory limit are dropped and counted."""
        if stamp in self._places:
            return
        count = len(self._places)
        if not count:
            self._block = np.empty((0, *rgb.shape), np.uint8)
        if rgb.shape != self._block.shape[1:] or (count + 1) * rgb.nbytes > max_bytes:
            self.dropped += 1
            return
        if count == len(self._block):
            # One block that grows where it lies: 10 s of 640x480 are 280 MB, which memory should hold once.
            self._block.resize((count + _GROWTH, *rgb.shape), refcheck=False)
        self._block[count] = rgb
        self._places[stamp] = count

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
        return self.start or min(self._places, default=self.end)

    def build(
        self,
        record: RolloutRecord,
        joints: list[JointSample],
        compressed: Mapping[int, bytes] | None = None,
        extras: tuple[RawMessage, ...] = (),
        actions: list[JointSample] | None = None,
    ) -> tuple[RolloutRecord, Trace | None]:
        """The record with its frame counts and first frame, and the trace; None = nothing came. Called once, at the end.

        Args:
            record: made from the status.
            joints: of the interval.
            compressed: the camera driver's own messages by stamp, for Trace.compressed.
            extras: messages of further topics.
            actions: of the policy, as positions, each with the stamp of the frame that it answers.
        """
        stamps = self._stamps()
        # Only the frame at STARTED's stamp was seen before the policy moved: without it there is no first frame.
        record = replace(record, frames=len(stamps), frames_expected=self.frames_expected)
        if self.start in self._places:
            first = self._block[self._places[self.start]].copy()
            record = replace(record, first_frame=first)
        else:
            facts = {**record.facts, FRAME_0: "lost"}
            record = replace(record, first_frame=None, facts=facts)
        if not (stamps or joints or extras or actions):
            return record, None
        found = compressed or {}
        return record, Trace(
            stamps=np.array(stamps, np.float64) * _NS,
            frames=self._in_order(stamps),
            compressed=tuple(found.get(s, b"") for s in stamps) if found else (),
            extras=extras,
            **_joint_arrays(joints),
            **_action_arrays(actions or []),
        )

    def _in_order(self, stamps: list[int]) -> NDArray[np.uint8]:
        """(T, H, W, 3) frames; a copy only where they did not arrive in order."""
        places = [self._places[stamp] for stamp in stamps]
        if places == list(range(len(places))):
            return self._block[: len(places)]
        return self._block[places]

    def _stamps(self) -> list[int]:
        last = self.end or max(self._places, default=0)
        return sorted(s for s in self._places if self.start <= s <= last)


def _joint_arrays(joints: list[JointSample]) -> dict:
    if not joints:
        return {}
    return {
        "joint_names": joints[0].names,
        "joint_stamps": np.array([j.stamp for j in joints], np.float64) * _NS,
        "joint_positions": np.stack([j.positions for j in joints]),
        "joint_velocities": np.stack([j.velocities for j in joints]),
    }


def _action_arrays(actions: list[JointSample]) -> dict:
    if not actions:
        return {}
    return {
        "actions": np.stack([a.positions for a in actions]).astype(np.float32),
        "action_stamps": np.array([a.stamp for a in actions], np.float64) * _NS,
    }
