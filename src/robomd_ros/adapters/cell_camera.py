"""The cell's camera as a rollout sees it: raw or compressed, whichever is published, and which stamps there were."""

from __future__ import annotations

import threading
import time

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from robomd_ros.adapters import names, qos, stamps
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.adapters.images import image_from_compressed, image_from_msg
from robomd_ros.adapters.senses import Senses
from robomd_ros.arm.ports import Frame

_JUMP = 1_000_000_000
"""A stamp this far ahead of the time that passed is not the camera's own any more [ns]."""

_RAW_GONE = 5.0
"""Without raw images for this long the compressed ones count [s]."""


class CellCamera:
    """Keeps the newest frame and counts those of a rollout.

    Subscribes: camera/image_raw, camera/image_raw/compressed; the latter counts where the former does not come.

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
        self._raw_came, self._compressed = 0.0, False
        self._node, self._senses = node, senses
        senses.listen(Image, names.CAMERA_IMAGE, self._take, qos.SENSOR_DATA)
        node.every(1.0, self._look_for_compressed, node.reentrant)

    def _look_for_compressed(self) -> None:
        """Listen to the compressed images where there are no others: a driver compresses for whoever listens."""
        count = self._node.count_publishers
        if self._compressed or count(names.CAMERA_IMAGE) or not count(names.CAMERA_COMPRESSED):
            return
        self._compressed = True
        self._senses.listen(
            CompressedImage, names.CAMERA_COMPRESSED, self._take_compressed, qos.SENSOR_DATA
        )

    def _take_compressed(self, msg: CompressedImage) -> None:
        """Only where there are no raw images: each would be taken twice."""
        if time.monotonic() - self._raw_came > _RAW_GONE:
            self._take(msg)

    def _take(self, msg: Image | CompressedImage) -> None:
        now, stamp = time.monotonic(), stamps.to_ns(msg.header.stamp)
        if isinstance(msg, Image):
            self._raw_came = now
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
                    stamps.to_seconds(msg.header.stamp), _rgb(msg), self._received, self._age
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


def _rgb(msg: Image | CompressedImage) -> NDArray[np.uint8]:
    return image_from_msg(msg) if isinstance(msg, Image) else image_from_compressed(msg)
