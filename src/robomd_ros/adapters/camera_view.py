"""The camera as a watcher needs it: the newest frame, and while a rollout runs the one before the policy moved."""

from __future__ import annotations

import math
import time
from collections import deque

import cv2
from sensor_msgs.msg import CompressedImage, Image

from robomd_msgs.msg import RolloutStatus
from robomd_ros.adapters import names, qos, stamps
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.adapters.camera_topics import listen_camera
from robomd_ros.adapters.images import frame_rgb, image_to_msg

_KEPT = 8
"""Newest frames kept: the status of a start may come after the first frames of the motion."""

ASKED_SIDE = 224
"""learning.inputs.MAX_SIDE; a test holds them together. That module would bring torch into each watcher's process."""


class CameraView:
    """Listens to the camera and to the rollouts' statuses.

    Args:
        node: that listens.
        longest_rollout: a rollout that did not end by then is over [s].
    """

    def __init__(self, node: RobomdNode, longest_rollout: float) -> None:
        self._longest = longest_rollout
        self._frames: deque[Image | CompressedImage] = deque(maxlen=_KEPT)
        self._received = self._started = -math.inf
        self._start = 0
        self._before: Image | CompressedImage | None = None
        listen_camera(node, self._on_frame)
        node.listen(RolloutStatus, names.ROLLOUT_STATUS, self._on_status, qos.ROLLOUT_STATUS)

    @property
    def newest(self) -> Image | CompressedImage | None:
        """The newest frame; None before the first one."""
        return self._frames[-1] if self._frames else None

    @property
    def age(self) -> float:
        """Seconds since it came; infinite before the first one."""
        return time.monotonic() - self._received

    @property
    def moving(self) -> bool:
        """A rollout runs."""
        return time.monotonic() - self._started < self._longest

    @property
    def scene(self) -> Image | CompressedImage | None:
        """What the models may be asked about: the newest frame, or that before motion while a rollout runs."""
        return self._before if self.moving and self._before is not None else self.newest

    def _on_frame(self, msg: Image | CompressedImage) -> None:
        self._frames.append(msg)
        self._received = time.monotonic()
        self._see(msg)

    def _on_status(self, msg: RolloutStatus) -> None:
        """Statuses come latched, with history and in order: the last one says what is now."""
        self._before, self._started = None, -math.inf
        if msg.state != RolloutStatus.STARTED:
            return
        self._start, self._started = stamps.to_ns(msg.header.stamp), time.monotonic()
        for frame in self._frames:
            self._see(frame)

    def _see(self, frame: Image | CompressedImage) -> None:
        if self.moving and stamps.to_ns(frame.header.stamp) <= self._start:
            self._before = frame


def frame_question(frame: Image | CompressedImage) -> Image:
    """The frame as a question carries it, as large as the models look at it.

    The answer is the same as for the whole frame, which the embedding would reduce in the same way; but 640x480 is 15
    datagrams a question, and one that gets lost comes again after seconds.
    """
    rgb = frame_rgb(frame)
    if max(rgb.shape[:2]) > ASKED_SIDE:
        rgb = cv2.resize(rgb, (ASKED_SIDE, ASKED_SIDE), interpolation=cv2.INTER_AREA)
    return image_to_msg(rgb, frame.header.stamp, frame.header.frame_id)
