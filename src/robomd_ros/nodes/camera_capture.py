"""camera_capture: says which camera frame belongs to which rollout."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image

from robomd_msgs.msg import RolloutFrame, RolloutStatus
from robomd_ros.adapters import names, qos, stamps
from robomd_ros.adapters.base import ERROR, WARN, Health, RobomdNode
from robomd_ros.adapters.images import image_from_compressed, image_from_msg, image_to_msg
from robomd_ros.adapters.parameters import declare, parameter
from robomd_ros.adapters.runner import run
from robomd_ros.core.association import FrameAssociator, TaggedFrame

_LUMA = np.array([0.299, 0.587, 0.114]) / 255.0  # ITU-R BT.601


@dataclass(frozen=True)
class CameraCaptureConfig:
    """Parameters of camera_capture."""

    compressed: bool = parameter(False, "read image_raw/compressed instead of image_raw")
    buffer: float = parameter(
        5.0, "frames wait this long for their rollout", low=0.1, high=120.0, unit="s"
    )
    buffer_frames: int = parameter(200, "frames that wait at most", low=1, high=10_000)
    silence: float = parameter(
        3.0,
        "without a frame for this long the camera counts as silent",
        low=0.1,
        high=600.0,
        unit="s",
    )


class CameraCaptureNode(RobomdNode):
    """Publishes the frames of each rollout.

    Subscribes: camera/image_raw (or camera/image_raw/compressed), robomd/rollout_status.
    Publishes: robomd/frames.
    Parameters: CameraCaptureConfig.

    Reads the camera reliably, so that no frame is lost, and falls back to best effort where the camera offers no more.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("camera_capture", **kwargs)
        self._config = declare(self, CameraCaptureConfig)
        self._associator: FrameAssociator[Image | CompressedImage] = FrameAssociator(
            int(self._config.buffer * 1e9), self._config.buffer_frames
        )
        self._received = 0
        self._published = 0
        self._arrivals: deque[float] = deque(maxlen=100)
        self._started = time.monotonic()
        self._frames = self.create_publisher(RolloutFrame, names.FRAMES, qos.FRAMES)
        self.listen(RolloutStatus, names.ROLLOUT_STATUS, self._on_status, qos.ROLLOUT_STATUS)
        self._mismatch = False
        self._camera = self._open_camera(qos.CAMERA_RELIABLE)
        self.every(0.5, self._adapt)

    def _open_camera(self, profile: QoSProfile) -> Any:
        compressed = self._config.compressed
        return self.listen(
            CompressedImage if compressed else Image,
            names.CAMERA_COMPRESSED if compressed else names.CAMERA_IMAGE,
            self._on_image,
            profile,
            event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=self._on_mismatch, use_default_callbacks=False
            ),
        )

    def _on_mismatch(self, _: Any) -> None:
        self._mismatch = True

    def _adapt(self) -> None:
        if not self._mismatch:
            return
        self._mismatch = False
        self.get_logger().warning(
            "the camera offers best effort only: frames may be lost on the way"
        )
        self.destroy_subscription(self._camera)
        self._camera = self._open_camera(qos.SENSOR_DATA)

    def _on_image(self, msg: Image | CompressedImage) -> None:
        self._received += 1
        self._arrivals.append(time.monotonic())
        self._publish(self._associator.frame(stamps.to_ns(msg.header.stamp), msg))

    def _on_status(self, msg: RolloutStatus) -> None:
        stamp = stamps.to_ns(msg.header.stamp)
        if msg.state == RolloutStatus.STARTED:
            self._publish(self._associator.started(msg.rollout_id, stamp))
        elif msg.state == RolloutStatus.FINISHED:
            self._publish(self._associator.finished(msg.rollout_id, stamp))

    def _publish(self, tagged: list[TaggedFrame[Image | CompressedImage]]) -> None:
        for frame in tagged:
            self.guard(self._publish_one, frame)

    def _publish_one(self, frame: TaggedFrame[Image | CompressedImage]) -> None:
        image, rgb = _as_rgb8(frame.payload)
        msg = RolloutFrame(
            rollout_id=frame.rollout_id,
            index=frame.index,
            before_motion=frame.before_motion,
            exposure_time=math.nan,
            gain=math.nan,
            mean_luminance=float(np.dot(cv2.mean(rgb)[:3], _LUMA)),
            image=image,
        )
        msg.header = image.header
        self._frames.publish(msg)
        self._published += 1

    def health(self) -> Health:
        """Frame rate, age of the newest frame, and what was odd."""
        now = time.monotonic()
        age = now - (self._arrivals[-1] if self._arrivals else self._started)
        recent = [t for t in self._arrivals if now - t <= 2.0]
        rate = (len(recent) - 1) / (recent[-1] - recent[0]) if len(recent) > 1 else 0.0
        out = Health(
            values={
                "rate_hz": rate,
                "age_s": age,
                "received": self._received,
                "published": self._published,
                "duplicates": self._associator.duplicates,
                "clock_resets": self._associator.clock_resets,
                "rollout": self._associator.current,
            }
        )
        if age > self._config.silence:
            out.level = ERROR if self._associator.current else WARN
            topic = self._camera.topic_name
            seen = "no frame" if self._received else "no frame ever"
            out.message = f"{seen} for {age:.1f} s on {topic}: is the camera running?"
        return out


def _as_rgb8(msg: Image | CompressedImage) -> tuple[Image, np.ndarray]:
    """The frame as an rgb8 message and as an array; a message that is rgb8 already is passed on as it is."""
    if isinstance(msg, CompressedImage):
        rgb = image_from_compressed(msg)
    else:
        rgb = image_from_msg(msg)
        if msg.encoding == "rgb8" and msg.step == 3 * msg.width:
            return msg, rgb
    return image_to_msg(rgb, msg.header.stamp, msg.header.frame_id), rgb


def main() -> None:
    """Run the node."""
    run(CameraCaptureNode)


if __name__ == "__main__":
    main()
