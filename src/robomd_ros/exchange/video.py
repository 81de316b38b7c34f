"""Frames in and out of video files, by PyAV."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError, StorageError, TooLargeError
from robomd_ros.recording.reader import MAX_BYTES

CODECS = {"av1": "libsvtav1", "h264": "libx264"}
"""What an export may be encoded with; AV1 is what LeRobot itself writes."""
_SMALLEST = {"av1": 64, "h264": 2}
_OPTIONS = {
    # As LeRobot encodes: a key frame every other frame, so that any frame is read at once.
    "av1": {"crf": "30", "preset": "12", "g": "2"},
    "h264": {"crf": "23", "preset": "veryfast", "g": "2", "bf": "0"},
}


def read_frames(path: Path, times: NDArray[np.float64], tolerance: float) -> NDArray[np.uint8]:
    """The frames that are shown at some times.

    Args:
        path: of the video.
        times: (T,) seconds in the video, increasing.
        tolerance: seconds that a frame may be off.

    Returns:
        (T, H, W, 3) RGB.

    Raises:
        StorageError: damaged, or a frame is missing.
    """
    import av

    try:
        with av.open(str(path)) as container:
            stream: Any = container.streams.video[0]
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = 2
            base = float(stream.time_base)
            container.seek(max(0, int((times[0] - tolerance) / base)), stream=stream)
            return _matching(container.decode(stream), times, tolerance)
    except (StorageError, TooLargeError):
        raise
    except (
        OSError,
        IndexError,
        ValueError,
        TypeError,
    ) as error:  # av's errors are one of the first
        raise StorageError(f"{path.name} is damaged: {type(error).__name__}: {error}") from error


def _matching(
    decoded: Iterable[Any], times: NDArray[np.float64], tolerance: float
) -> NDArray[np.uint8]:
    out: NDArray[np.uint8] | None = None
    at = 0
    for frame in decoded:
        if frame.time is None or frame.time < times[at] - tolerance:
            continue
        if frame.time > times[at] + tolerance:
            break
        if out is None:
            size = len(times) * frame.height * frame.width * 3
            if size > MAX_BYTES:
                raise TooLargeError(f"an episode of {size} bytes of frames; at most {MAX_BYTES}.")
            out = np.empty((len(times), frame.height, frame.width, 3), np.uint8)
        out[at] = frame.to_ndarray(format="rgb24")
        at += 1
        if at == len(times):
            return out
    raise StorageError(
        f"the video has no frame at {times[at]:.3f} s: {at} of {len(times)} are there."
    )


@contextlib.contextmanager
def same_urgency() -> Iterator[None]:
    """Keep this process an ordinary one.

    Run by root, SVT-AV1 makes its own threads and the one that calls it real-time (SCHED_FIFO 99), for good: whatever
    they compute afterwards, and every child they start, leaves nothing of the machine to anybody else.
    """
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        for thread in [0, *(int(t.name) for t in Path("/proc/self/task").glob("[0-9]*"))]:
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if os.sched_getscheduler(thread) != policy:
                    os.sched_setscheduler(thread, policy, parameters)


class VideoWriter:
    """Appends frames to one MP4 file at a constant rate.

    Args:
        path: of the new file.
        size: (height, width), both even.
        fps: frames a second.
        codec: one of CODECS.

    Raises:
        InvalidArgumentError: the codec does not take frames of this size.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: int, codec: str) -> None:
        import av

        height, width = size
        if height % 2 or width % 2 or min(size) < _SMALLEST[codec]:
            raise InvalidArgumentError(
                f"frames of {width}x{height}: {codec} wants even sides of at least {_SMALLEST[codec]}; use --no-video."
            )
        os.environ.setdefault("SVT_LOG", "1")  # else it tells its settings on stderr
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.count, self._fps = path, 0, fps
        self._container = av.open(str(path), "w")
        stream: Any = self._container.add_stream(CODECS[codec], fps, options=_OPTIONS[codec])
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, fps)
        self._stream = stream

    @property
    def seconds(self) -> float:
        """Length so far."""
        return self.count / self._fps

    def write(self, frames: NDArray[np.uint8]) -> None:
        """Append (T, H, W, 3) RGB frames."""
        import av

        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base = self.count, Fraction(1, self._fps)
            with same_urgency():
                self._container.mux(self._stream.encode(frame))
            self.count += 1

    def size(self) -> int:
        """Bytes on the disk so far."""
        return self.path.stat().st_size if self.path.exists() else 0

    def close(self) -> None:
        """Finish the file."""
        with same_urgency():
            self._container.mux(self._stream.encode(None))
        self._container.close()


def video_info(path: Path) -> dict[str, Any]:
    """What LeRobot's info.json says of a video feature."""
    import av

    with av.open(str(path)) as container:
        stream: Any = container.streams.video[0]
        return {
            "video.height": stream.height,
            "video.width": stream.width,
            "video.codec": stream.codec.canonical_name,
            "video.pix_fmt": stream.pix_fmt,
            "video.is_depth_map": False,
            "video.fps": int(stream.base_rate),
            "video.channels": 3,
            "has_audio": False,
        }
