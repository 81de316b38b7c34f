"""The newest camera frame as RGB, decoded when it is wanted, from a raw camera or one that is only compressed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from robomd_ros.adapters import names, qos, stamps
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.adapters.images import image_from_compressed, image_from_msg


@dataclass(frozen=True)
class Frame:
    """A frame with its stamp [ns, camera's clock] and RGB, (H, W, 3) uint8."""

    stamp: int
    rgb: NDArray[np.uint8]


class NewestFrame:
    """Keeps the newest message of camera/image_raw.

    Where nobody publishes that, but camera/image_raw/compressed, it listens there: asked for both, a driver would
    compress every frame for nothing.
    """

    def __init__(self, node: RobomdNode) -> None:
        self._node = node
        self._message: Image | CompressedImage | None = None
        self._listens_compressed = False
        node.listen(Image, names.CAMERA_IMAGE, self._keep, qos.SENSOR_DATA, node.reentrant)
        node.every(1.0, self._look_for_compressed)

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
        decode = image_from_msg if isinstance(msg, Image) else image_from_compressed
        return Frame(stamps.to_ns(msg.header.stamp), decode(msg))

    def _keep(self, message: Image | CompressedImage) -> None:
        self._message = message

    def _look_for_compressed(self) -> None:
        count = self._node.count_publishers
        if self._listens_compressed or count(names.CAMERA_IMAGE):
            return
        if count(names.CAMERA_COMPRESSED):
            self._listens_compressed = True
            self._node.listen(
                CompressedImage,
                names.CAMERA_COMPRESSED,
                self._keep,
                qos.SENSOR_DATA,
                self._node.reentrant,
            )
