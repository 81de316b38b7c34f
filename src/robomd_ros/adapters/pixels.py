"""Pixels of any usual encoding as RGB: by cv_bridge where it is installed, else by the same OpenCV conversions.

Both give identical pixels; a test holds them together.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rclpy.logging import get_logger
from sensor_msgs.msg import CompressedImage, Image

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.recording.pixels import DEPTH_RANGE, ENCODINGS, file_rgb, picture_rgb, raw_rgb

__all__ = ["DEPTH_RANGE", "ENCODINGS", "cv_bridge", "decode", "to_rgb"]


@cache
def cv_bridge() -> Any:
    """cv_bridge's converter; None where it is not installed or does not run.

    Its compiled half is loaded by the first conversion: one built against another numpy fails there, or at the import
    (vision_opencv 535).
    """
    try:
        from cv_bridge import CvBridge

        made = CvBridge()
        made.imgmsg_to_cv2(
            Image(height=1, width=1, encoding="bgr8", step=3, data=[0, 0, 0]), "rgb8"
        )
    except Exception as error:  # whatever a library of another build raises: ours does the same
        if not (isinstance(error, ModuleNotFoundError) and error.name == "cv_bridge"):
            get_logger("robomd.images").warning(
                f"cv_bridge is installed and does not run ({type(error).__name__}: {error!s:.200}); "
                f"images are converted by OpenCV {cv2.__version__} instead (numpy {np.__version__})."
            )
        return None
    return made


def to_rgb(msg: Image, bridge: Any = None) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of a message whose sizes were checked.

    Args:
        msg: its encoding is one of ENCODINGS, its data hold height x step bytes.
        bridge: CvBridge, or None for OpenCV alone.

    Raises:
        InvalidArgumentError: OpenCV refuses it, as YUV of an odd width.
    """
    encoding = ENCODINGS[msg.encoding]
    item = np.dtype(encoding.dtype).itemsize
    row = msg.width * encoding.channels * item
    # cv_bridge misreads a padding that is no whole pixel, and numpy 2 has not the byte swap it calls.
    plain = msg.step == row and (item == 1 or not msg.is_bigendian)
    try:
        if bridge is not None and encoding.bridged and plain:
            return bridge.imgmsg_to_cv2(msg, "rgb8")
        return raw_rgb(msg)
    except (cv2.error, TypeError, RuntimeError) as error:  # CvBridgeError is a TypeError
        raise InvalidArgumentError(
            f"image {msg.width}x{msg.height} {msg.encoding} cannot be turned into RGB: {error!s:.200}."
        ) from error


def decode(msg: CompressedImage, bridge: Any = None) -> NDArray[np.uint8] | None:
    """(H, W, 3) RGB of a compressed message by what its file holds, colour or grey, 8 or 16 bits; None = no picture."""
    if bridge is None:
        return file_rgb(np.frombuffer(msg.data, np.uint8))
    image = bridge.compressed_imgmsg_to_cv2(msg)
    return None if image is None else picture_rgb(image)
