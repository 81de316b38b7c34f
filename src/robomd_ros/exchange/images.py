"""sensor_msgs images of a bag, as rosbags decodes them, to (H, W, 3) uint8 RGB."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from rosbags.image import ImageError, image_to_cvimage
from rosbags.image.image import Format, to_cvtype

from robomd_ros.core.answers import MAX_IMAGE_SIDE
from robomd_ros.core.errors import InvalidArgumentError, TooLargeError
from robomd_ros.recording.messages import decode_picture


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
    if rgb.ndim == 2:
        rgb = np.repeat(rgb[:, :, None], 3, axis=2)
    if rgb.dtype != np.uint8 or rgb.shape[2:] != (3,):
        raise InvalidArgumentError(f"the image decodes to {rgb.dtype} {rgb.shape}, want RGB.")
    return np.ascontiguousarray(rgb)


def _raw(message: Any) -> NDArray[Any]:
    height, width, encoding = message.height, message.width, message.encoding
    _check_size(height, width)
    try:
        _, kind, dtype, channels = to_cvtype(encoding)
        if kind in (Format.YUV_NV12, Format.YUV_NV21):  # rosbags takes them for half a picture
            raise ImageError
    except ImageError:
        raise InvalidArgumentError(f"image encoding {encoding[:40]!r} is not known.") from None
    if kind is Format.GENERIC and (dtype, channels) not in (("uint8", 1), ("uint8", 3)):
        raise InvalidArgumentError(
            f"image encoding {encoding[:40]!r} is no picture (depth?): map the colour topic."
        )
    row = width * channels * np.dtype(dtype).itemsize
    if message.step < row or len(message.data) != message.step * height:
        raise InvalidArgumentError(
            f"image {width}x{height} {encoding}: step {message.step}, {len(message.data)} bytes do not fit."
        )
    if message.step != row:
        pixels = message.data.reshape(height, message.step)[:, :row].reshape(-1)
        message = replace(message, step=row, data=pixels)
    if kind is Format.GENERIC:
        message = replace(message, encoding="mono8" if channels == 1 else "bgr8")
    try:
        return image_to_cvimage(message, "rgb8")
    except (ImageError, ValueError, TypeError) as error:
        raise InvalidArgumentError(f"image encoding {encoding[:40]!r}: {error}") from error


def _compressed(message: Any) -> NDArray[Any]:
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
        return decode_picture(np.frombuffer(data, np.uint8))
    except TooLargeError:
        raise
    except (OSError, ValueError, cv2.error, PilImage.DecompressionBombError):
        return None


def _check_size(height: int, width: int) -> None:
    if min(height, width) < 1:
        raise InvalidArgumentError(f"image of {width}x{height}.")
    if max(height, width) > MAX_IMAGE_SIDE:
        raise TooLargeError(f"image of {width}x{height}; want 1 to {MAX_IMAGE_SIDE} a side.")
