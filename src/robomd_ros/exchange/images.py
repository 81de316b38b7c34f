"""sensor_msgs images of a bag, as rosbags decodes them, to (H, W, 3) uint8 RGB."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from robomd_ros.core.answers import MAX_IMAGE_SIDE
from robomd_ros.core.errors import InvalidArgumentError, TooLargeError
from robomd_ros.recording.pixels import ENCODINGS, file_rgb, raw_rgb


def decode(message: Any) -> NDArray[np.uint8]:
    """RGB of an Image of any usual colour or grey encoding, or of a CompressedImage (jpeg, png).

    Raises:
        InvalidArgumentError: no image, depth, or sizes that contradict each other.
        TooLargeError: a side above MAX_IMAGE_SIDE.
    """
    if hasattr(message, "encoding"):
        rgb = _raw(message)
    elif hasattr(message, "format"):
        rgb = _compressed(message)
    else:
        raise InvalidArgumentError(
            f"{type(message).__name__} is neither Image nor CompressedImage."
        )
    return np.ascontiguousarray(rgb)


def _raw(message: Any) -> NDArray[np.uint8]:
    height, width, name = message.height, message.width, message.encoding
    _check_size(height, width)
    encoding = ENCODINGS.get(name)
    if encoding is None:
        raise InvalidArgumentError(f"image encoding {name[:40]!r} is not known.")
    if encoding.unit:
        raise InvalidArgumentError(
            f"image encoding {name!r} is depth, no picture: map the colour topic."
        )
    row = width * encoding.channels * np.dtype(encoding.dtype).itemsize
    if message.step < row or len(message.data) != message.step * height:
        raise InvalidArgumentError(
            f"image {width}x{height} {name}: step {message.step}, {len(message.data)} bytes do not fit."
        )
    try:
        return raw_rgb(message)
    except cv2.error as error:
        raise InvalidArgumentError(f"image {width}x{height} {name}: {error!s:.200}") from error


def _compressed(message: Any) -> NDArray[np.uint8]:
    if "compressedDepth" in message.format:
        raise InvalidArgumentError(
            f"{message.format!r} is depth, no picture: map the colour topic."
        )
    pixels = decode_file(message.data.tobytes())
    if pixels is None:
        raise InvalidArgumentError(
            f"a compressed image ({message.format[:40]!r}, {len(message.data)} bytes) cannot be decoded."
        )
    return pixels


def decode_file(data: bytes) -> NDArray[np.uint8] | None:
    """RGB of a jpeg or png; None = it is none. Raises TooLargeError for a side above MAX_IMAGE_SIDE."""
    try:
        # The header is read first: a small file can claim a huge picture.
        width, height = PilImage.open(io.BytesIO(data)).size
        _check_size(height, width)
        return file_rgb(np.frombuffer(data, np.uint8))
    except TooLargeError:
        raise
    except (OSError, ValueError, cv2.error, PilImage.DecompressionBombError):
        return None


def _check_size(height: int, width: int) -> None:
    if min(height, width) < 1:
        raise InvalidArgumentError(f"image of {width}x{height}.")
    if max(height, width) > MAX_IMAGE_SIDE:
        raise TooLargeError(f"image of {width}x{height}; want 1 to {MAX_IMAGE_SIDE} a side.")
