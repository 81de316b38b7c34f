"""Pixels of any usual encoding as RGB, by the conversions of cv_bridge in OpenCV alone.

Depth (16UC1, 32FC1) is no colour to cv_bridge: here it becomes grey by one fixed scale, so that the same distance looks
the same in each frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

DEPTH_RANGE = 2.0
"""Depth that is white [m]; what is farther stays white, and black is "no measurement"."""


@dataclass(frozen=True)
class Encoding:
    """How the pixels of a message lie in memory, and how they become RGB.

    Attributes:
        dtype: of one channel.
        channels: of one pixel.
        code: of cv2.cvtColor; None = RGB already.
        unit: of a depth image, metres per count (REP 118); 0 = a colour image.
        bridged: cv_bridge of Jazzy converts it.
    """

    dtype: type[np.generic]
    channels: int
    code: int | None
    unit: float = 0.0
    bridged: bool = True


def _encodings() -> dict[str, Encoding]:
    out = {}
    for bits, dtype in ((8, np.uint8), (16, np.uint16)):
        out |= {
            f"rgb{bits}": Encoding(dtype, 3, None),
            f"bgr{bits}": Encoding(dtype, 3, cv2.COLOR_BGR2RGB),
            f"rgba{bits}": Encoding(dtype, 4, cv2.COLOR_RGBA2RGB),
            f"bgra{bits}": Encoding(dtype, 4, cv2.COLOR_BGRA2RGB),
            f"mono{bits}": Encoding(dtype, 1, cv2.COLOR_GRAY2RGB),
            # OpenCV names a mosaic by its second row, ROS by its first one.
            f"bayer_rggb{bits}": Encoding(dtype, 1, cv2.COLOR_BayerBG2RGB),
            f"bayer_bggr{bits}": Encoding(dtype, 1, cv2.COLOR_BayerRG2RGB),
            f"bayer_gbrg{bits}": Encoding(dtype, 1, cv2.COLOR_BayerGR2RGB),
            f"bayer_grbg{bits}": Encoding(dtype, 1, cv2.COLOR_BayerGB2RGB),
        }
    return out | {
        "yuv422": Encoding(np.uint8, 2, cv2.COLOR_YUV2RGB_UYVY),
        "yuv422_yuy2": Encoding(np.uint8, 2, cv2.COLOR_YUV2RGB_YUY2),
        "uyvy": Encoding(np.uint8, 2, cv2.COLOR_YUV2RGB_UYVY, bridged=False),
        "yuyv": Encoding(np.uint8, 2, cv2.COLOR_YUV2RGB_YUY2, bridged=False),
        "8UC1": Encoding(np.uint8, 1, cv2.COLOR_GRAY2RGB, bridged=False),
        "16UC1": Encoding(np.uint16, 1, cv2.COLOR_GRAY2RGB, unit=0.001, bridged=False),
        "32FC1": Encoding(np.float32, 1, cv2.COLOR_GRAY2RGB, unit=1.0, bridged=False),
    }


ENCODINGS = _encodings()
"""All encodings that are understood. 8UC3 is not among them: it does not say whether red or blue comes first."""


def raw_rgb(msg: Any) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of a sensor_msgs/Image, of whatever library, whose encoding and sizes were checked.

    Raises:
        cv2.error: it refuses them, as YUV of an odd width.
    """
    encoding = ENCODINGS[msg.encoding]
    return _by_opencv(_pixels(msg, encoding), encoding)


def file_rgb(data: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """(H, W, 3) RGB of a picture file by what it holds, colour or grey, 8 or 16 bits; None = no picture."""
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    return None if image is None else picture_rgb(image)


def picture_rgb(image: NDArray[Any]) -> NDArray[np.uint8] | None:
    """(H, W, 3) RGB of what OpenCV decoded; None = neither 8 nor 16 bits."""
    if image.dtype not in (np.uint8, np.uint16):
        return None
    channels = 1 if image.ndim == 2 else image.shape[2]
    name = {1: "mono", 3: "bgr", 4: "bgra"}[channels]
    return _by_opencv(image, ENCODINGS[f"{name}{8 * image.itemsize}"])


def _pixels(msg: Any, encoding: Encoding) -> NDArray[Any]:
    """The pixels in this machine's byte order, without the padding of the rows."""
    dtype = np.dtype(encoding.dtype).newbyteorder(">" if msg.is_bigendian else "<")
    pixel = encoding.channels * dtype.itemsize
    shape = (msg.height, msg.width, encoding.channels)
    strides = (msg.step, pixel, dtype.itemsize)
    lying: NDArray[Any] = np.ndarray(shape, dtype, buffer=msg.data, strides=strides)
    tight = np.ascontiguousarray(lying, dtype=encoding.dtype)
    return tight[:, :, 0] if encoding.channels == 1 else tight


def _by_opencv(image: NDArray[Any], encoding: Encoding) -> NDArray[np.uint8]:
    """cv_bridge's two steps: colour first, then 16 bits to 8 by 255/65535, rounded."""
    if encoding.unit:
        image = _depth(image, encoding.unit)
    image = image if encoding.code is None else cv2.cvtColor(image, encoding.code)
    if image.dtype == np.uint16:
        image = cv2.convertScaleAbs(image, alpha=255.0 / 65535.0)
    return image


def _depth(image: NDArray[Any], unit: float) -> NDArray[np.uint8]:
    """Grey: 0 m is black, DEPTH_RANGE white. NaN, infinite and negative depth is black, as no measurement (REP 118: 0).

    The same as cv_bridge.cvtColorForDisplay with min_image_value 0 and max_image_value DEPTH_RANGE.
    """
    far = DEPTH_RANGE / unit
    depth = np.nan_to_num(image, nan=0.0, posinf=0.0, neginf=0.0)
    out: NDArray[np.uint8] = cv2.convertScaleAbs(np.clip(depth, 0, far), alpha=255.0 / far)
    return out
