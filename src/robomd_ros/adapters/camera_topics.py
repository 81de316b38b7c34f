"""The camera's frames, raw or compressed: whichever the driver offers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from sensor_msgs.msg import CompressedImage, Image

from robomd_ros.adapters import names, qos
from robomd_ros.adapters.base import RobomdNode


def listen_camera(
    node: RobomdNode,
    callback: Callable[[Image | CompressedImage], None],
    group: CallbackGroup | None = None,
) -> None:
    """Call back with each frame of camera/image_raw, or of its compressed topic while nobody publishes the raw one.

    Not of both: a driver that is asked for both compresses every frame for nothing.
    """
    compressed: list[Any] = []

    def look() -> None:
        raw = node.count_publishers(names.CAMERA_IMAGE)
        if raw and compressed:
            node.destroy_subscription(compressed.pop())
        elif not raw and not compressed and node.count_publishers(names.CAMERA_COMPRESSED):
            compressed.append(
                node.listen(
                    CompressedImage, names.CAMERA_COMPRESSED, callback, qos.SENSOR_DATA, group
                )
            )

    node.listen(Image, names.CAMERA_IMAGE, callback, qos.SENSOR_DATA, group)
    node.every(1.0, look, group)
