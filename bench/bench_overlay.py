"""Live risk of a 640x480 camera at 30 Hz, every part a process of its own: what reaches a viewer, and how late."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import ExitStack
from typing import Any

import numpy as np

from bench.bench_query import STUDY, trained_asker
from bench.processes import child, enter_domain, parameters

SECONDS = 30.0
STARTUP = 3.0
"""Seconds after the first live risk that are not counted: the processes still get to know each other."""
RATE = 30.0
HEIGHT, WIDTH = 480, 640


def run() -> dict[str, Any]:
    """Rate of robomd/risk and robomd/overlay/image, and milliseconds from the camera's stamp to a reader of them."""
    enter_domain()
    os.environ["OMP_NUM_THREADS"] = "1"  # of the nodes, too
    trained_asker()
    import psutil
    from sensor_msgs.msg import Image

    from robomd_msgs.msg import RiskScore
    from robomd_ros.adapters import names, qos
    from robomd_ros.cli.wire import Wire

    risks, pictures = _Arrivals(SECONDS), _Arrivals(SECONDS)
    study = parameters(study=str(STUDY))
    with Wire() as wire, ExitStack() as stack:
        wire.node.create_subscription(RiskScore, names.RISK, risks.take, qos.STREAM)
        wire.node.create_subscription(Image, names.OVERLAY_IMAGE, pictures.take, qos.STREAM)
        nodes = {
            "search_service": stack.enter_context(child("robomd_ros.nodes.search_service", *study)),
            "embedding_service": stack.enter_context(
                child("robomd_ros.nodes.embedding_service", *study)
            ),
            "risk_overlay": stack.enter_context(child("robomd_ros.nodes.risk_overlay")),
            "camera": stack.enter_context(child("bench.bench_overlay", "camera")),
        }
        if not risks.first.wait(120.0):
            raise RuntimeError("no live risk within 120 s")
        before = {name: psutil.Process(p.pid).cpu_times() for name, p in nodes.items()}
        began = time.monotonic()
        risks.done.wait(SECONDS + STARTUP + 30.0)
        passed = time.monotonic() - began
        after = {name: psutil.Process(p.pid).cpu_times() for name, p in nodes.items()}
    cpu = {
        name: (after[name].user + after[name].system - before[name].user - before[name].system)
        / passed
        for name in nodes
    }
    return {
        "title": f"{WIDTH}x{HEIGHT} rgb8 at {RATE:g} Hz, compact profile, {SECONDS:g} s",
        "risk": risks.figures(),
        "overlay": pictures.figures(),
        "cores": cpu,
        "target_hz": 5.0,
    }


class _Arrivals:
    """When messages came, and how old the frame was they are of."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._rows: list[tuple[float, float]] = []
        self._start = float("inf")
        self.first, self.done = threading.Event(), threading.Event()

    def take(self, msg: Any) -> None:
        """One message; one without a risk says that the models are being loaded."""
        from robomd_ros.adapters import stamps

        if np.isnan(getattr(msg, "p_failure", 0.0)):
            return
        now = time.time()
        if not self.first.is_set():
            self._start = now + STARTUP
            self.first.set()
        if now > self._start + self._seconds:
            self.done.set()
        elif now > self._start:
            self._rows.append((now, 1e3 * (now - stamps.to_seconds(msg.header.stamp))))

    def figures(self) -> dict[str, float]:
        """Rate [Hz], longest pause [ms], age of the frame on arrival [ms]."""
        came, late = np.array(self._rows).T
        return {
            "hz": (len(came) - 1) / (came[-1] - came[0]),
            "longest_pause_ms": float(1e3 * np.diff(came).max()),
            "latency_p50_ms": float(np.percentile(late, 50)),
            "latency_p99_ms": float(np.percentile(late, 99)),
        }


def camera() -> None:
    """Be a camera that shows the shipped study's frames, enlarged, until it is stopped."""
    import cv2
    from sensor_msgs.msg import Image

    from robomd_ros.adapters import names, qos, stamps
    from robomd_ros.cli.wire import Wire
    from robomd_ros.core.study import Study

    with Study.open(STUDY).store(read_only=True) as store:
        records = store.records(evidence_only=True)[:16]
    frames = [r.first_frame for r in records if r.first_frame is not None]
    large = [cv2.resize(f, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) for f in frames]
    pixels = [np.ascontiguousarray(f).tobytes() for f in large]
    with Wire() as wire:
        publisher = wire.node.create_publisher(Image, names.CAMERA_IMAGE, qos.CAMERA_WRITER)
        stop = threading.Event()
        signal.signal(signal.SIGINT, lambda *_: stop.set())
        start, i = time.time(), 0
        while not stop.wait(max(0.0, start + i / RATE - time.time())):
            msg = Image(height=HEIGHT, width=WIDTH, encoding="rgb8", step=3 * WIDTH)
            msg.data.frombytes(pixels[i // int(RATE) % len(pixels)])
            msg.header.stamp = stamps.from_seconds(time.time())
            publisher.publish(msg)
            i += 1


if __name__ == "__main__" and sys.argv[1:] == ["camera"]:
    camera()
