"""sensor_msgs images to RGB arrays and back. The array is always (height, width, 3) uint8 RGB, first row on top."""

from __future__ import annotations

import io

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from PIL import Image as PilImage
from sensor_msgs.msg import CompressedImage, Image

from robomd_ros.adapters import pixels
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
    """RGB of any of pixels.ENCODINGS, rows unpadded, either byte order, own memory.

    Raises:
        InvalidArgumentError: an unknown encoding, or sizes that contradict each other.
        TooLargeError: a side above MAX_IMAGE_SIDE.
    """
    height, width = int(msg.height), int(msg.width)
    if not 0 < height <= MAX_IMAGE_SIDE or not 0 < width <= MAX_IMAGE_SIDE:
        raise (TooLargeError if height and width else InvalidArgumentError)(
            f"image of {width}x{height}; want 1 to {MAX_IMAGE_SIDE} a side."
        )
    encoding = pixels.ENCODINGS.get(msg.encoding)
    if encoding is None:
        raise InvalidArgumentError(
            f"image encoding {msg.encoding[:40]!r} is not known; send one of {', '.join(pixels.ENCODINGS)}."
        )
    row = width * encoding.channels * np.dtype(encoding.dtype).itemsize
    if msg.step < row or len(msg.data) != msg.step * height:
        raise InvalidArgumentError(
            f"image {width}x{height} {msg.encoding}: want step >= {row} and step x height bytes, "
            f"got step {msg.step} and {len(msg.data)} bytes."
        )
    return _own(pixels.to_rgb(msg, pixels.cv_bridge()))


def frame_rgb(msg: Image | CompressedImage) -> NDArray[np.uint8]:
    """RGB of a camera's frame, raw or compressed; raises as the two functions do that read them."""
    return image_from_msg(msg) if isinstance(msg, Image) else image_from_compressed(msg)


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
        rgb = pixels.decode(msg, pixels.cv_bridge())
    except (OSError, cv2.error, PilImage.DecompressionBombError) as error:
        raise _undecodable(msg) from error
    if rgb is None:
        raise _undecodable(msg)
    return _own(rgb)


def _undecodable(msg: CompressedImage) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"compressed image ({msg.format[:40]!r}, {len(msg.data)} bytes) cannot be decoded; send jpeg or png."
    )


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


def _own(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture itself where it owns its memory, else a copy."""
    check_rgb(rgb)
    return rgb if rgb.flags.owndata and rgb.flags.writeable else np.array(rgb, order="C")
