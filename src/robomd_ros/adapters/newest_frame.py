"""The newest camera frame as RGB, decoded when it is wanted, from a raw camera or one that is only compressed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from robomd_ros.adapters import names, stamps
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.adapters.camera_topics import listen_camera
from robomd_ros.adapters.images import frame_rgb


@dataclass(frozen=True)
class Frame:
    """A frame with its stamp [ns, camera's clock] and RGB, (H, W, 3) uint8."""

    stamp: int
    rgb: NDArray[np.uint8]


class NewestFrame:
    """Keeps the newest message of the camera; it is decoded only when somebody asks."""

    def __init__(self, node: RobomdNode) -> None:
        self._node = node
        self._message: Image | CompressedImage | None = None
        listen_camera(node, self._keep, node.reentrant)

    @property
    def stamp(self) -> int:
        """Of the newest frame [ns]; -1 = none yet."""
        return stamps.to_ns(self._message.header.stamp) if self._message else -1

    @property
    def camera(self) -> bool:
        """Somebody publishes, or has published."""
        topics = (names.CAMERA_IMAGE, names.CAMERA_COMPRESSED)
        return self._message is not None or any(map(self._node.count_publishers, topics))

    def get(self) -> Frame | None:
        """The newest frame; None = none yet.

        Raises:
            InvalidArgumentError, TooLargeError: it cannot be decoded.
        """
        msg = self._message
        if msg is None:
            return None
        return Frame(stamps.to_ns(msg.header.stamp), frame_rgb(msg))

    def _keep(self, message: Image | CompressedImage) -> None:
        self._message = message
