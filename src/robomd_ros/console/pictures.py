"""Pictures as browsers take them: the newest camera frame as JPEG, a recording as an animation."""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from sensor_msgs.msg import CompressedImage, Image

from robomd_ros.adapters.images import frame_rgb
from robomd_ros.recording import read_recording

_QUALITY = 82
_FILM_RATE = 10.0
_FILM_FRAMES = 300
_HOLD_MS = 1500


class LivePicture:
    """The newest frame; encoded once, and only when somebody looks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._message: Image | CompressedImage | None = None
        self._arrived = 0.0
        self.number = 0
        self._encoded = 0
        self._jpeg = b""

    def keep(self, message: Image | CompressedImage) -> None:
        """Take the place of the frame before."""
        self._message, self._arrived = message, time.monotonic()
        self.number += 1

    @property
    def age(self) -> float:
        """Seconds since the newest frame came; infinite when none did."""
        return time.monotonic() - self._arrived if self.number else float("inf")

    def jpeg(self) -> tuple[int, bytes]:
        """Number of the newest frame and its JPEG; (0, b"") when none came.

        Raises:
            RobomdError: the frame cannot be decoded.
        """
        with self._lock:
            number, message = self.number, self._message
            if message is None or number == self._encoded:
                return self._encoded, self._jpeg
            if isinstance(message, CompressedImage):
                is_jpeg = "jpeg" in message.format or "jpg" in message.format
                data = bytes(message.data) if is_jpeg else to_jpeg(frame_rgb(message))
            else:
                data = to_jpeg(frame_rgb(message))
            self._encoded, self._jpeg = number, data
            return number, data


def to_jpeg(rgb: NDArray[np.uint8]) -> bytes:
    """(H, W, 3) RGB as JPEG."""
    options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    return cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def film(recording: Path) -> bytes:
    """A recording as an animated WebP at its own speed, ten frames a second at most, the last one held for a while.

    Raises:
        StorageError: missing or damaged.
    """
    trace = read_recording(recording)
    picked = _at_rate(trace.stamps)
    durations = np.diff(trace.stamps[picked], append=trace.stamps[picked[-1]]) * 1e3
    durations[-1] = _HOLD_MS
    frames = [PilImage.fromarray(trace.frames[at]) for at in picked]
    out = io.BytesIO()
    frames[0].save(
        out,
        "WEBP",
        save_all=True,
        append_images=frames[1:],
        duration=[max(int(d), 20) for d in durations],
        loop=0,
        quality=75,
        method=0,
    )
    return out.getvalue()


def _at_rate(stamps: NDArray[np.float64]) -> list[int]:
    """Indices of frames at most _FILM_RATE a second and _FILM_FRAMES in all, first and last included."""
    step = max(1.0 / _FILM_RATE, float(stamps[-1] - stamps[0]) / _FILM_FRAMES) - 1e-3
    picked, due = [0], float(stamps[0]) + step
    for at, stamp in enumerate(stamps):
        if stamp >= due:
            picked.append(at)
            due = float(stamp) + step
    return picked if picked[-1] == len(stamps) - 1 else [*picked, len(stamps) - 1]
