"""Which camera frame belongs to which rollout, whatever order frames and status messages arrive in.

A rollout is the closed interval from STARTED's stamp to FINISHED's stamp in the camera's clock. Frames wait in a ring
buffer until the status that claims them arrives; frames of an open rollout pass at once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from robomd_ros.core.errors import InvalidArgumentError

Payload = TypeVar("Payload")


@dataclass(frozen=True)
class TaggedFrame(Generic[Payload]):
    """A frame and its place in a rollout.

    Attributes:
        rollout_id: it belongs to.
        index: 0 = the frame at STARTED's stamp; others count up in the order in which they passed.
        stamp: nanoseconds in the camera's clock.
        payload: whatever was given with the frame.
    """

    rollout_id: str
    index: int
    stamp: int
    payload: Payload

    @property
    def before_motion(self) -> bool:
        """The policy had not acted yet."""
        return self.index == 0


@dataclass
class _Open:
    start: int
    end: int | None = None
    next_index: int = 1


class FrameAssociator(Generic[Payload]):
    """Gives frames to rollouts.

    Args:
        keep: ring buffer's span in nanoseconds of the camera's clock.
        max_frames: ring buffer's length.
        max_rollouts: intervals that are remembered for late frames.
    """

    def __init__(self, keep: int, max_frames: int, max_rollouts: int = 8) -> None:
        if keep <= 0 or max_frames < 1 or max_rollouts < 1:
            raise InvalidArgumentError(
                f"keep {keep}, max_frames {max_frames}, max_rollouts {max_rollouts}: want > 0."
            )
        self._keep, self._max_frames, self._max_rollouts = keep, max_frames, max_rollouts
        self._ring: OrderedDict[int, Payload] = OrderedDict()
        self._given: set[int] = set()
        self._rollouts: OrderedDict[str, _Open] = OrderedDict()
        self._early_ends: OrderedDict[str, int] = OrderedDict()
        self._newest = 0
        self.duplicates = 0
        self.clock_resets = 0

    @property
    def newest(self) -> int:
        """Largest stamp seen since the clock last jumped back; 0 = none."""
        return self._newest

    @property
    def current(self) -> str:
        """The rollout that is open now; "" = none."""
        return next((i for i, r in reversed(self._rollouts.items()) if r.end is None), "")

    def frame(self, stamp: int, payload: Payload) -> list[TaggedFrame[Payload]]:
        """A frame arrived. Returns it when a rollout claims it."""
        if self._newest - stamp > self._keep:  # the camera or the simulator was started again
            self._forget()
        if stamp in self._ring or stamp in self._given:
            self.duplicates += 1
            return []
        self._newest = max(self._newest, stamp)
        for rollout_id, rollout in reversed(self._rollouts.items()):
            if rollout.start <= stamp and (rollout.end is None or stamp <= rollout.end):
                return [self._give(rollout_id, rollout, stamp, payload)]
        self._ring[stamp] = payload
        self._trim()
        return []

    def started(self, rollout_id: str, stamp: int) -> list[TaggedFrame[Payload]]:
        """STARTED arrived. Returns the frames that were waiting for it; a repeated status changes nothing."""
        if rollout_id in self._rollouts:
            return []
        for other in self._rollouts.values():
            if other.end is None:  # its FINISHED was lost; nothing from here on is its own
                other.end = stamp - 1
        rollout = _Open(stamp, self._early_ends.pop(rollout_id, None))
        self._rollouts[rollout_id] = rollout
        while len(self._rollouts) > self._max_rollouts:
            self._rollouts.popitem(last=False)
        return list(self._claim(rollout_id, rollout))

    def finished(self, rollout_id: str, stamp: int) -> list[TaggedFrame[Payload]]:
        """FINISHED arrived. Later frames no longer pass; it may come before STARTED."""
        rollout = self._rollouts.get(rollout_id)
        if rollout is None:
            self._early_ends[rollout_id] = stamp
            while len(self._early_ends) > self._max_rollouts:
                self._early_ends.popitem(last=False)
            return []
        rollout.end = stamp
        return list(self._claim(rollout_id, rollout))

    def _claim(self, rollout_id: str, rollout: _Open) -> Iterator[TaggedFrame[Payload]]:
        for stamp in sorted(self._ring):
            if rollout.start <= stamp and (rollout.end is None or stamp <= rollout.end):
                yield self._give(rollout_id, rollout, stamp, self._ring.pop(stamp))

    def _give(
        self, rollout_id: str, rollout: _Open, stamp: int, payload: Payload
    ) -> TaggedFrame[Payload]:
        self._given.add(stamp)
        if stamp == rollout.start:
            return TaggedFrame(rollout_id, 0, stamp, payload)
        index, rollout.next_index = rollout.next_index, rollout.next_index + 1
        return TaggedFrame(rollout_id, index, stamp, payload)

    def _trim(self) -> None:
        for stamp in [s for s in self._ring if self._newest - s > self._keep]:
            del self._ring[stamp]
        while len(self._ring) > self._max_frames:
            self._ring.popitem(last=False)
        if len(self._given) > 4 * self._max_frames:
            self._given = {s for s in self._given if self._newest - s <= self._keep}

    def _forget(self) -> None:
        self.clock_resets += 1
        self._ring.clear()
        self._given.clear()
        self._rollouts.clear()
        self._newest = 0
