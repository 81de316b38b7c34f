"""sensor_msgs images to RGB arrays and back. The array is always (height, width, 3) uint8 RGB, first row on top."""

from __future__ import annotations

import io

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from PIL import Image as PilImage
from rosbags.image import ImageError, compressed_image_to_cvimage, image_to_cvimage
from rosbags.image.image import to_cvtype
from sensor_msgs.msg import CompressedImage, Image

from robomd_ros.core.answers import MAX_IMAGE_SIDE
from robomd_ros.core.errors import InvalidArgumentError, TooLargeError
from robomd_ros.core.records import check_rgb

MAX_COMPRESSED_BYTES = 32 << 20
"""Longest compressed image that is decoded at all."""


def image_to_msg(rgb: NDArray[np.uint8], stamp: Time, frame_id: str = "") -> Image:
    """An rgb8 message. Filling through `frombytes` is 1,000 times faster than assigning with field checks on."""
    check_rgb(rgb)
    msg = Image(encoding="rgb8", is_bigendian=0)
    msg.header.stamp = stamp
    msg.header.frame_id = frame_id
    msg.height, msg.width = int(rgb.shape[0]), int(rgb.shape[1])
    msg.step = 3 * msg.width
    msg.data.frombytes(np.ascontiguousarray(rgb).tobytes())
    return msg


def image_from_msg(msg: Image) -> NDArray[np.uint8]:
    """RGB of any usual encoding (rgb8, bgr8, rgba8, bgra8, mono8, mono16, bayer, yuv422), rows unpadded, own memory.

    Raises:
        InvalidArgumentError: an unknown encoding, or sizes that contradict each other.
        TooLargeError: a side above MAX_IMAGE_SIDE.
    """
    height, width = int(msg.height), int(msg.width)
    if not 0 < height <= MAX_IMAGE_SIDE or not 0 < width <= MAX_IMAGE_SIDE:
        raise (TooLargeError if height and width else InvalidArgumentError)(
            f"image of {width}x{height}; want 1 to {MAX_IMAGE_SIDE} a side."
        )
    try:
        _, _, dtype, channels = to_cvtype(msg.encoding)
    except ImageError:
        raise InvalidArgumentError(
            f"image encoding {msg.encoding[:40]!r} is not known; send rgb8, bgr8 or mono8."
        ) from None
    row = width * channels * np.dtype(dtype).itemsize
    if msg.step < row or len(msg.data) != msg.step * height:
        raise InvalidArgumentError(
            f"image {width}x{height} {msg.encoding}: want step >= {row} and step x height bytes, "
            f"got step {msg.step} and {len(msg.data)} bytes."
        )
    try:
        rgb = image_to_cvimage(msg if msg.step == row else _unpadded(msg, row), "rgb8")
    except (ImageError, ValueError, TypeError) as error:
        raise InvalidArgumentError(
            f"image encoding {msg.encoding[:40]!r} cannot be turned into RGB: {error}"
        ) from error
    return _own_rgb(rgb)


def image_from_compressed(msg: CompressedImage) -> NDArray[np.uint8]:
    """RGB of a jpeg or png message.

    Raises:
        InvalidArgumentError: not an image.
        TooLargeError: more than MAX_COMPRESSED_BYTES, or a side above MAX_IMAGE_SIDE.
    """
    if len(msg.data) > MAX_COMPRESSED_BYTES:
        raise TooLargeError(
            f"compressed image of {len(msg.data)} bytes; at most {MAX_COMPRESSED_BYTES}."
        )
    try:
        # The header is read first: a small file can claim a huge picture.
        size = PilImage.open(io.BytesIO(msg.data)).size
        if max(size) > MAX_IMAGE_SIDE:
            raise TooLargeError(f"image of {size[0]}x{size[1]}; want 1 to {MAX_IMAGE_SIDE} a side.")
        rgb = compressed_image_to_cvimage(msg, "rgb8")
    except (OSError, AssertionError, ImageError, PilImage.DecompressionBombError) as error:
        if isinstance(error, TooLargeError):
            raise
        raise InvalidArgumentError(
            f"compressed image ({msg.format[:40]!r}, {len(msg.data)} bytes) cannot be decoded: {type(error).__name__}."
        ) from error
    return _own_rgb(rgb)


def image_to_png(rgb: NDArray[np.uint8], stamp: Time, frame_id: str = "") -> CompressedImage:
    """A png message, for thumbnails."""
    check_rgb(rgb)
    buffer = io.BytesIO()
    PilImage.fromarray(rgb).save(buffer, "PNG", compress_level=1)
    msg = CompressedImage(format="png")
    msg.header.stamp = stamp
    msg.header.frame_id = frame_id
    msg.data.frombytes(buffer.getvalue())
    return msg


def _unpadded(msg: Image, row: int) -> Image:
    rows = np.frombuffer(msg.data, np.uint8).reshape(msg.height, msg.step)[:, :row]
    out = Image(
        height=msg.height,
        width=msg.width,
        encoding=msg.encoding,
        is_bigendian=msg.is_bigendian,
        step=row,
    )
    out.data.frombytes(rows.tobytes())
    return out


def _own_rgb(image: NDArray) -> NDArray[np.uint8]:
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    out: NDArray[np.uint8] = np.array(image, dtype=np.uint8, order="C")
    check_rgb(out)
    return out
