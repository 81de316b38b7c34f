"""The camera's frames, raw or compressed: whichever the driver offers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image

from robomd_ros.adapters import names, qos
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.adapters.senses import Senses


def listen_camera(
    node: RobomdNode,
    callback: Callable[[Image | CompressedImage], None],
    group: CallbackGroup | None = None,
    profile: QoSProfile = qos.SENSOR_DATA,
    senses: Senses | None = None,
) -> None:
    """Call back with each frame of camera/image_raw, or of its compressed topic while nobody publishes the raw one.

    Not of both: a driver that is asked for both compresses every frame for nothing.

    Args:
        node: looks once a second which of them there is.
        callback: takes the messages.
        group: of the callbacks and of that look.
        profile: of the subscriptions.
        senses: listen instead of the node, on their own thread.
    """
    compressed: list[Any] = []

    def listen(kind: type, topic: str) -> Any:
        if senses is not None:
            return senses.listen(kind, topic, callback, profile)
        return node.listen(kind, topic, callback, profile, group)

    def look() -> None:
        raw = node.count_publishers(names.CAMERA_IMAGE)
        if raw and compressed:
            (senses or node).destroy_subscription(compressed.pop())
        elif not raw and not compressed and node.count_publishers(names.CAMERA_COMPRESSED):
            compressed.append(listen(CompressedImage, names.CAMERA_COMPRESSED))

    listen(Image, names.CAMERA_IMAGE)
    node.every(1.0, look, group)
