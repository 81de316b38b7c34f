"""The camera's way: 640x480 at 30 Hz from a driver process through camera_capture to a reader."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import numpy as np

from bench.processes import child, enter_domain

SECONDS = 60
STARTUP = 2.0
"""Seconds in which the processes get to know each other; their frames arrive, later than the rest."""
RATE = 30.0
HEIGHT, WIDTH = 480, 640
ROLLOUT = "bench-camera"


def run() -> dict[str, Any]:
    """Frames lost in a minute, and milliseconds from the driver's stamp to the reader behind camera_capture."""
    enter_domain()
    from robomd_msgs.msg import RolloutFrame
    from robomd_ros.adapters import names, qos, stamps
    from robomd_ros.cli.wire import Wire

    seen: dict[int, float] = {}
    done = threading.Event()

    def on_frame(msg: RolloutFrame) -> None:
        seen[msg.index] = 1e3 * (time.time() - stamps.to_seconds(msg.header.stamp))
        if len(seen) == int(SECONDS * RATE):
            done.set()

    with Wire() as wire, child("robomd_ros.nodes.camera_capture"):
        wire.node.create_subscription(RolloutFrame, names.FRAMES, on_frame, qos.FRAMES)
        with child("bench.bench_camera", "driver") as driver:
            driver.wait(SECONDS + 60.0)
            done.wait(5.0)
    sent = int(SECONDS * RATE)
    latencies = np.array([ms for i, ms in seen.items() if i >= STARTUP * RATE])
    return {
        "title": f"{WIDTH}x{HEIGHT} rgb8 at {RATE:g} Hz for {SECONDS} s, two hops",
        "sent": sent,
        "received": len(seen),
        "lost": sent - len(seen),
        "latency_p50_ms": float(np.percentile(latencies, 50)),
        "latency_p99_ms": float(np.percentile(latencies, 99)),
        "latency_max_ms": float(latencies.max()),
        "startup_max_ms": max(ms for i, ms in seen.items() if i < STARTUP * RATE),
    }


def drive() -> None:
    """Be a camera and a cell: say that a rollout starts, publish frames in time, say that it ended."""
    from sensor_msgs.msg import Image

    from robomd_msgs.msg import RolloutStatus
    from robomd_ros.adapters import names, qos, stamps
    from robomd_ros.cli.wire import Wire

    with Wire() as wire:
        camera = wire.node.create_publisher(Image, names.CAMERA_IMAGE, qos.CAMERA_WRITER)
        status = wire.node.create_publisher(RolloutStatus, names.ROLLOUT_STATUS, qos.ROLLOUT_STATUS)
        while not camera.get_subscription_count() or not status.get_subscription_count():
            time.sleep(0.05)
        time.sleep(1.0)  # the reader behind camera_capture is matched by then
        pixels = np.random.default_rng(0).integers(0, 256, HEIGHT * WIDTH * 3, np.uint8)
        msg = Image(height=HEIGHT, width=WIDTH, encoding="rgb8", step=3 * WIDTH)
        msg.data.frombytes(pixels)
        start = time.time()
        for i in range(int(SECONDS * RATE)):
            time.sleep(max(0.0, start + i / RATE - time.time()))
            msg.header.stamp = stamps.from_seconds(time.time())
            if i == 0:
                _say(status, RolloutStatus.STARTED, msg.header.stamp)
            camera.publish(msg)
        _say(status, RolloutStatus.FINISHED, msg.header.stamp)
        time.sleep(2.0)  # a reliable writer that leaves takes what is unsent with it


def _say(publisher: Any, state: int, stamp: Any) -> None:
    from robomd_msgs.msg import RolloutStatus

    msg = RolloutStatus(state=state, rollout_id=ROLLOUT, task="lift", robot="Panda")
    msg.header.stamp = stamp
    publisher.publish(msg)


if __name__ == "__main__" and sys.argv[1:] == ["driver"]:
    drive()
