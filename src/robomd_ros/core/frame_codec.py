"""Lossless pictures as bytes: WebP where it can, PNG above its size limit. OpenCV is imported on the first call."""

from __future__ import annotations

from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import StorageError, UnavailableError
from robomd_ros.core.records import check_rgb

WEBP_MAX_SIDE = 16383
_WEBP_LOSSLESS = 101  # OpenCV: a quality above 100 means lossless


def encode_frame(image: NDArray[np.uint8]) -> tuple[str, bytes]:
    """Compress without loss; WebP is about two thirds of PNG's size on camera frames.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        Codec name ("webp" or "png") and the bytes.
    """
    if max(image.shape[:2]) > WEBP_MAX_SIDE:
        return "png", encode_png(image)
    cv2 = _opencv()
    return "webp", _encode(cv2, image, ".webp", [cv2.IMWRITE_WEBP_QUALITY, _WEBP_LOSSLESS])


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """The PNG of an (H, W, 3) uint8 RGB image, e.g. for a sensor_msgs/CompressedImage."""
    return _encode(_opencv(), image, ".png", [])


def decode_frame(data: bytes) -> NDArray[np.uint8]:
    """The (H, W, 3) uint8 RGB image of `encode_frame`'s bytes.

    Raises:
        StorageError: the bytes are no picture.
    """
    cv2 = _opencv()
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        bgr = None
    if bgr is None:
        raise StorageError(f"frame of {len(data)} bytes is no picture: the store is damaged there.")
    rgb: NDArray[np.uint8] = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    return rgb


def _encode(cv2: ModuleType, image: NDArray[np.uint8], suffix: str, options: list[int]) -> bytes:
    check_rgb(image)
    done, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise StorageError(f"OpenCV could not encode a {image.shape} frame as {suffix}.")
    return bytes(data)


def _opencv() -> ModuleType:
    try:
        import cv2
    except ImportError as error:
        raise UnavailableError("frames need OpenCV: pip install opencv-python-headless") from error
    return cv2
