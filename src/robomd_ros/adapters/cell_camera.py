"""The cell's camera as a rollout sees it: raw or compressed, whichever is published, and which stamps there were."""

from __future__ import annotations

import threading
import time

from sensor_msgs.msg import CompressedImage, Image

from robomd_ros.adapters import stamps
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.adapters.camera_topics import listen_camera
from robomd_ros.adapters.images import frame_rgb
from robomd_ros.adapters.senses import Senses
from robomd_ros.arm.ports import Frame

_JUMP = 1_000_000_000
"""A stamp this far ahead of the time that passed is not the camera's own any more [ns]."""


class CellCamera:
    """Keeps the newest frame and counts those of a rollout.

    Args:
        node: asks once a second which images there are.
        senses: see with it.
        shared_clock: the stamps are this computer's wall clock, so that a frame's age is known.
    """

    def __init__(self, node: RobomdNode, senses: Senses, shared_clock: bool) -> None:
        self._shared_clock = shared_clock
        self._lock = threading.Lock()
        self._message: Image | CompressedImage | None = None
        self._received = 0.0
        self._age: float | None = None
        self._frame: Frame | None = None
        self._first: tuple[int, float] | None = None
        self._seen: set[int] = set()
        listen_camera(node, self._take, node.reentrant, senses=senses)

    def _take(self, msg: Image | CompressedImage) -> None:
        now, stamp = time.monotonic(), stamps.to_ns(msg.header.stamp)
        with self._lock:
            self._message, self._received, self._frame = msg, now, None
            self._age = 1e-9 * (time.time_ns() - stamp) if self._shared_clock else None
            if self._first is not None and self._belongs(stamp, now):
                self._seen.add(stamp)

    def _belongs(self, stamp: int, now: float) -> bool:
        start, began = self._first or (0, 0.0)
        return start <= stamp <= start + int(1e9 * (now - began)) + _JUMP

    @property
    def age(self) -> float:
        """Seconds since the newest frame came; NaN = none ever."""
        return time.monotonic() - self._received if self._message is not None else float("nan")

    def newest(self) -> Frame | None:
        """The frame that came last, decoded once."""
        with self._lock:
            if self._frame is None and self._message is not None:
                msg = self._message
                self._frame = Frame(
                    stamps.to_seconds(msg.header.stamp), frame_rgb(msg), self._received, self._age
                )
            return self._frame

    def newest_stamp(self) -> int:
        """Of the frame that came last [ns]; 0 = none."""
        msg = self._message
        return stamps.to_ns(msg.header.stamp) if msg is not None else 0

    @property
    def frame_id(self) -> str:
        """Of the newest frame; "" = none yet."""
        return self._message.header.frame_id if self._message is not None else ""

    def begin(self) -> int:
        """Count from the newest frame on; its stamp [ns]."""
        with self._lock:
            if self._message is None:
                return 0
            stamp = stamps.to_ns(self._message.header.stamp)
            self._first, self._seen = (stamp, time.monotonic()), {stamp}
            return stamp

    def exact_stamp(self, seconds: float) -> int:
        """The stamp that is nearest among those counted [ns]: float seconds hold no nanoseconds of the wall clock."""
        wanted = round(1e9 * seconds)
        with self._lock:
            return min(self._seen, key=lambda stamp: abs(stamp - wanted), default=wanted)

    def end(self) -> tuple[int, int]:
        """Stop counting: stamp of the last frame [ns], and how many there were."""
        with self._lock:
            self._first = None
            return max(self._seen, default=0), len(self._seen)
