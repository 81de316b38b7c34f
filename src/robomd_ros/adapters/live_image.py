"""The newest camera frame, for questions that ask about what is seen now."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomd_ros.adapters.base import RobomdNode
from robomd_ros.adapters.newest_frame import NewestFrame


class LiveImage:
    """The newest frame, where a question wants it."""

    def __init__(self, node: RobomdNode) -> None:
        self._camera = NewestFrame(node)

    def newest(self, request: Any) -> NDArray[np.uint8] | None:
        """(H, W, 3) uint8 RGB if any of the request's questions wants it and a frame came; else None."""
        wanted = any(q.use_live_image for q in request.questions)
        frame = self._camera.get() if wanted else None
        return frame.rgb if frame is not None else None
