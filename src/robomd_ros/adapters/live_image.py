"""The newest camera frame, for questions that ask about what is seen now."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image

from robomd_ros.adapters import names, qos
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.adapters.images import image_from_msg


class LiveImage:
    """Keeps the newest camera message; it is decoded only when a question wants it."""

    def __init__(self, node: RobomdNode) -> None:
        self._message: Image | None = None
        node.listen(Image, names.CAMERA_IMAGE, self._keep, qos.SENSOR_DATA, group=node.reentrant)

    def _keep(self, message: Image) -> None:
        self._message = message

    def newest(self, request: Any) -> NDArray[np.uint8] | None:
        """(H, W, 3) uint8 RGB if any of the request's questions wants it and a frame came; else None."""
        if self._message is None or not any(q.use_live_image for q in request.questions):
            return None
        return image_from_msg(self._message)
