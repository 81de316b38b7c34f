"""RGB of every encoding: by its definition, by the conversions cv_bridge makes, and by cv_bridge itself where it runs."""

from __future__ import annotations

import builtins
import io
import math
import sys
import types
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as PilImage
from sensor_msgs.msg import CompressedImage, Image

from robomd_ros.adapters import pixels
from robomd_ros.adapters.images import image_from_compressed, image_from_msg
from robomd_ros.core.errors import InvalidArgumentError

RED, GREEN, BLUE = 200, 100, 50
HEIGHT, WIDTH = 6, 8
RGB = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)

# What vision_opencv's getConversionCodes() lists as the way of each encoding to RGB.
CV_BRIDGE_CODES = {
    "bgr": cv2.COLOR_BGR2RGB,
    "rgba": cv2.COLOR_RGBA2RGB,
    "bgra": cv2.COLOR_BGRA2RGB,
    "mono": cv2.COLOR_GRAY2RGB,
    "bayer_rggb": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg": cv2.COLOR_BayerGB2RGB,
    "yuv422": cv2.COLOR_YUV2RGB_UYVY,
    "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUY2,
}
CHANNELS = {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4, "yuv422": 2, "yuv422_yuy2": 2}
BITS_8 = ("rgb8", "bgr8", "rgba8", "bgra8", "mono8", "yuv422", "yuv422_yuy2",
          "bayer_rggb8", "bayer_bggr8", "bayer_gbrg8", "bayer_grbg8")  # fmt: skip
BITS_16 = ("rgb16", "bgr16", "rgba16", "bgra16", "mono16", "bayer_rggb16", "bayer_grbg16")


def message(
    image: np.ndarray, encoding: str, padding: int = 0, big_endian: bool = False, **fields: int
) -> Image:
    """The pixels as a camera sends them."""
    sent = image.astype(image.dtype.newbyteorder(">" if big_endian else "<"))
    rows = np.frombuffer(sent.tobytes(), np.uint8).reshape(image.shape[0], -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    size = {"height": image.shape[0], "width": image.shape[1], "step": rows.shape[1]} | fields
    msg = Image(encoding=encoding, is_bigendian=int(big_endian), **size)
    msg.data.frombytes(rows.tobytes())
    return msg


def kind(encoding: str) -> str:
    """Without the bits: "mono16" is "mono"."""
    return encoding.removesuffix("16").removesuffix("8")


def raw(encoding: str) -> np.ndarray:
    """Random pixels of an encoding."""
    dtype = np.uint16 if encoding.endswith("16") else np.uint8
    channels = CHANNELS.get(kind(encoding), 1)
    shape = (HEIGHT, WIDTH, channels) if channels > 1 else (HEIGHT, WIDTH)
    return np.random.default_rng(1).integers(0, np.iinfo(dtype).max + 1, shape, dtype)


def converted(image: np.ndarray, encoding: str) -> np.ndarray:
    """What cv_bridge does to them: colour first, then the depth, rounded."""
    code = CV_BRIDGE_CODES.get(kind(encoding))
    rgb = image if code is None else cv2.cvtColor(image, code)
    return np.rint(rgb * (255.0 / 65535.0)).astype(np.uint8) if rgb.dtype == np.uint16 else rgb


@pytest.mark.parametrize("padding", [0, 1, 12])
@pytest.mark.parametrize("encoding", BITS_8 + BITS_16)
def test_identical_pixels(encoding: str, padding: int) -> None:
    image = raw(encoding)
    msg = message(image, encoding, padding)
    wanted = converted(image, encoding)

    np.testing.assert_array_equal(pixels.to_rgb(msg), wanted)
    np.testing.assert_array_equal(image_from_msg(msg), wanted)
    bridge = pixels.cv_bridge()
    if bridge is not None:
        np.testing.assert_array_equal(pixels.to_rgb(msg, bridge), wanted)
        if not padding:
            np.testing.assert_array_equal(bridge.imgmsg_to_cv2(msg, "rgb8"), wanted)


@pytest.mark.parametrize("encoding", BITS_16)
def test_big_endian(encoding: str) -> None:
    image = raw(encoding)
    got = image_from_msg(message(image, encoding, padding=3, big_endian=True))
    np.testing.assert_array_equal(got, converted(image, encoding))


@pytest.mark.parametrize("order", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_bayer_mosaic_is_its_colour(order: str, bits: int) -> None:
    """One colour, laid out as the name says (first row, then second): inside, all of it comes back."""
    tile = np.array([{"r": RED, "g": GREEN, "b": BLUE}[c] for c in order]).reshape(2, 2)
    mosaic = np.tile(tile, (4, 4)).astype(np.uint8)
    if bits == 16:
        mosaic = mosaic.astype(np.uint16) * 257
    got = image_from_msg(message(mosaic, f"bayer_{order}{bits}"))
    assert (got[1:-1, 1:-1] == (RED, GREEN, BLUE)).all()


@pytest.mark.parametrize(
    ("encoding", "order"),
    [("yuv422", "uyvy"), ("uyvy", "uyvy"), ("yuv422_yuy2", "yuyv"), ("yuyv", "yuyv")],
)
def test_yuv_is_bt601(encoding: str, order: str) -> None:
    y, u, v = 90, 100, 180
    values = {"y": y, "u": u, "v": v}
    chroma = iter("uv")
    pair = [values["y"] if c == "y" else values[next(chroma)] for c in order]
    image = np.tile(np.array(pair, np.uint8).reshape(1, 2, 2), (4, 3, 1))
    got = image_from_msg(message(image, encoding)).astype(int)
    light = 1.164 * (y - 16)
    wanted = (
        light + 1.596 * (v - 128),
        light - 0.813 * (v - 128) - 0.391 * (u - 128),
        light + 2.018 * (u - 128),
    )
    assert np.abs(got - wanted).max() <= 1.5


@pytest.mark.parametrize("big_endian", [False, True])
def test_depth_is_grey_by_one_scale(big_endian: bool) -> None:
    metres = np.array([[0.0, 0.5, 1.2, 1.5, 2.0, 9.0]])
    wanted = [0, 64, 153, 191, 255, 255]
    millimetres = (1000 * metres).astype(np.uint16)
    for image, encoding in ((millimetres, "16UC1"), (metres.astype(np.float32), "32FC1")):
        got = image_from_msg(message(image, encoding, padding=5, big_endian=big_endian))
        assert got[0, :, 0].tolist() == wanted
        assert (got == got[:, :, :1]).all()


def test_no_depth_is_black() -> None:
    image = np.array([[math.nan, math.inf, -math.inf, -0.5, 1e30]], np.float32)
    assert image_from_msg(message(image, "32FC1"))[0, :, 0].tolist() == [0, 0, 0, 0, 255]


def test_depth_as_cv_bridge_shows_it() -> None:
    """cvtColorForDisplay(min 0, max 2 m) where cv_bridge runs, else its formula: (pixel - min) * 255 / (max - min)."""
    depth = np.linspace(0.0, 2.0, 48, dtype=np.float32).reshape(6, 8)
    got = image_from_msg(message(depth, "32FC1"))
    if pixels.cv_bridge() is None:
        wanted = np.rint(depth * np.float32(255.0 / 2.0)).astype(np.uint8)[:, :, None].repeat(3, 2)
    else:
        from cv_bridge import cvtColorForDisplay

        wanted = cvtColorForDisplay(depth, "32FC1", "rgb8", False, 0.0, pixels.DEPTH_RANGE)
    np.testing.assert_array_equal(got, wanted)


def compressed(image: np.ndarray, suffix: str, **options: Any) -> CompressedImage:
    """A file by another library than the one that reads it."""
    buffer = io.BytesIO()
    PilImage.fromarray(image).save(buffer, suffix, **options)
    msg = CompressedImage(format=suffix)
    msg.data.frombytes(buffer.getvalue())
    return msg


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        (RGB, RGB),
        (np.dstack([RGB, np.full((HEIGHT, WIDTH), 9, np.uint8)]), RGB),
        (RGB[:, :, 0], RGB[:, :, :1].repeat(3, 2)),
        (RGB[:, :, 0].astype(np.uint16) * 257, RGB[:, :, :1].repeat(3, 2)),
    ],
    ids=["rgb", "rgba", "grey", "grey 16"],
)
def test_png(image: np.ndarray, wanted: np.ndarray) -> None:
    msg = compressed(image, "png")
    np.testing.assert_array_equal(image_from_compressed(msg), wanted)
    np.testing.assert_array_equal(pixels.decode(msg), wanted)


@pytest.mark.parametrize("grey", [False, True])
def test_jpeg(grey: bool) -> None:
    smooth = cv2.resize(RGB, (64, 48), interpolation=cv2.INTER_CUBIC)
    image = np.ascontiguousarray(smooth[:, :, 0]) if grey else smooth
    msg = compressed(image, "jpeg", quality=95, subsampling=0)
    got = image_from_compressed(msg)
    wanted = image[:, :, None].repeat(3, 2) if grey else image
    assert np.abs(got.astype(int) - wanted).mean() < 2.0
    np.testing.assert_array_equal(pixels.decode(msg), got)
    bridge = pixels.cv_bridge()
    if bridge is not None and not grey:  # of a grey file cv_bridge's Python half makes an error
        np.testing.assert_array_equal(bridge.compressed_imgmsg_to_cv2(msg, "rgb8"), got)


@pytest.mark.parametrize(
    ("msg", "says"),
    [
        (message(RGB, "rgb8", step=3 * WIDTH - 1), "want step >= 24"),
        (message(RGB, "rgb8", height=HEIGHT + 1), "step x height bytes"),
        (message(RGB, "8UC3"), "8UC3' is not known; send one of rgb8"),
        (message(RGB[:, :7, :2], "yuv422"), "cannot be turned into RGB"),
        (message(RGB[:, :, 0], "16UC1"), "want step >= 16"),
    ],
    ids=["step", "rows", "no order of colours", "odd yuv", "half the bytes"],
)
def test_what_cannot_be_read_is_said(msg: Image, says: str) -> None:
    with pytest.raises(InvalidArgumentError, match=says):
        image_from_msg(msg)


@pytest.fixture
def broken_bridge(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """A cv_bridge that was built against another numpy: its compiled half fails at the first conversion."""

    class CvBridge:
        def imgmsg_to_cv2(self, msg: Image, encoding: str) -> np.ndarray:
            raise AttributeError("_ARRAY_API not found")

    module = types.ModuleType("cv_bridge")
    module.CvBridge = CvBridge  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cv_bridge", module)
    pixels.cv_bridge.cache_clear()
    yield module
    pixels.cv_bridge.cache_clear()


def test_a_broken_cv_bridge_is_named_once(
    broken_bridge: types.ModuleType, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        np.testing.assert_array_equal(image_from_msg(message(RGB, "rgb8")), RGB)
    said = capfd.readouterr().err
    assert said.count("cv_bridge is installed and does not run") == 1
    assert "_ARRAY_API not found" in said


def test_one_that_fails_at_the_import_is_named(
    monkeypatch: pytest.MonkeyPatch,
    broken_bridge: types.ModuleType,
    capfd: pytest.CaptureFixture[str],
) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "cv_bridge":
            raise ImportError("numpy.core.multiarray failed to import")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert pixels.cv_bridge() is None
    assert "numpy.core.multiarray failed to import" in capfd.readouterr().err
