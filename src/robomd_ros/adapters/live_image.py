"""The newest camera frame, for questions that ask about what is seen now."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from robomd_ros.adapters.base import RobomdNode
from robomd_ros.adapters.camera_topics import listen_camera
from robomd_ros.adapters.camera_view import frame_rgb


class LiveImage:
    """Keeps the newest camera message; it is decoded only when a question wants it."""

    def __init__(self, node: RobomdNode) -> None:
        self._message: Image | CompressedImage | None = None
        listen_camera(node, self._keep, node.reentrant)

    def _keep(self, message: Image | CompressedImage) -> None:
        self._message = message

    def newest(self, request: Any) -> NDArray[np.uint8] | None:
        """(H, W, 3) uint8 RGB if any of the request's questions wants it and a frame came; else None."""
        if self._message is None or not any(q.use_live_image for q in request.questions):
            return None
        return frame_rgb(self._message)
