"""A live recording at a UR cell's rates: 640x480 at 30 Hz, joints and tool pose at 500 Hz, commands at 100 Hz."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from bench.processes import child, enter_domain, parameters

SECONDS = 10
CAMERA_HZ, STATE_HZ, COMMAND_HZ, TF_HZ = 30, 500, 100, 20
HEIGHT, WIDTH = 480, 640
ROLLOUT = "bench-recording"
COMMANDS = "/forward_position_controller/commands"
POSE = "/tcp_pose_broadcaster/pose"
SCALING = "/speed_scaling_state_broadcaster/speed_scaling"


def run() -> dict[str, Any]:
    """For the raw and the compressed camera: what was lost, the labeler's memory and load, seconds until it is stored."""
    enter_domain()
    return {
        "title": f"rollout of {SECONDS} s at {WIDTH}x{HEIGHT}, {CAMERA_HZ} Hz; states {STATE_HZ} Hz",
        "raw": _record(False),
        "compressed": _record(True),
    }


def _record(compressed: bool) -> dict[str, Any]:
    from robomd_msgs.msg import LabeledRollout
    from robomd_ros.adapters import names, qos
    from robomd_ros.cli.wire import Wire

    stored = threading.Event()
    with tempfile.TemporaryDirectory() as folder, Wire() as wire:
        given = {"compressed": str(compressed).lower()}
        labeler = ("robomd_ros.nodes.outcome_labeler", *parameters(study=folder, **given))
        camera = ("robomd_ros.nodes.camera_capture", *parameters(**given))
        with child(*camera), child(*labeler) as process:
            wire.node.create_subscription(
                LabeledRollout, names.LABELED_ROLLOUT, lambda _: stored.set(), qos.EVENTS
            )
            with child("bench.bench_recording", "driver", *given.values()) as driver:
                peak, percent = _watch(process.pid, driver)
                finished = time.monotonic()
                after = _peak_until(process.pid, stored)
            seconds = time.monotonic() - finished
        return {
            "labeler_peak_mib": max(peak, after),
            "labeler_cpu_percent": percent,
            "finished_to_stored_s": seconds,
            **_compare(Path(folder) / "recordings" / f"{ROLLOUT}.mcap"),
        }


def _watch(pid: int, driver: Any) -> tuple[float, float]:
    """The labeler's peak memory [MiB] while the driver runs, and its load [% of a core]."""
    process = psutil.Process(pid)
    peak, started = 0.0, time.monotonic()
    before = process.cpu_times()
    while driver.poll() is None and time.monotonic() - started < 10 * SECONDS:
        time.sleep(0.05)
        peak = max(peak, process.memory_info().rss / 2**20)
    used = process.cpu_times()
    busy = used.user + used.system - before.user - before.system
    return peak, 100 * busy / (time.monotonic() - started)


def _peak_until(pid: int, done: threading.Event) -> float:
    peak, deadline = 0.0, time.monotonic() + 60
    process = psutil.Process(pid)
    while not done.wait(0.02) and time.monotonic() < deadline:
        peak = max(peak, process.memory_info().rss / 2**20)
    return peak


def _compare(path: Path) -> dict[str, Any]:
    """Messages that are missing in the recording, and what reading all of it takes."""
    from robomd_ros.recording import verify_recording
    from robomd_ros.recording.messages import COMPRESSED, IMAGES, JOINTS
    from robomd_ros.recording.reader import message_counts

    started = time.perf_counter()
    verify_recording(path)
    seconds = time.perf_counter() - started
    found = message_counts(path)
    sent = {
        JOINTS: STATE_HZ * SECONDS,
        POSE: STATE_HZ * SECONDS,
        SCALING: COMMAND_HZ * SECONDS,
        COMMANDS: COMMAND_HZ * SECONDS,
    }
    lost = {topic.split("/")[-1]: number - found[topic] for topic, number in sent.items()}
    lost["frames"] = CAMERA_HZ * SECONDS - found[IMAGES] - found[COMPRESSED]
    size = path.stat().st_size / 2**20
    return {"lost": lost, "recording_mib": size, "verify_s": seconds}


class _Driver:
    """A UR cell: publishes at its rates between STARTED and FINISHED."""

    def __init__(self, node: Any, compressed: bool) -> None:
        from geometry_msgs.msg import PoseStamped
        from sensor_msgs.msg import CompressedImage, Image, JointState
        from std_msgs.msg import Float64, Float64MultiArray

        from robomd_msgs.msg import RolloutStatus
        from robomd_ros.adapters import names, qos

        topic = names.CAMERA_COMPRESSED if compressed else names.CAMERA_IMAGE
        kind = CompressedImage if compressed else Image
        self.camera = node.create_publisher(kind, topic, qos.CAMERA_WRITER)
        self.joints = node.create_publisher(JointState, names.JOINT_STATES, 10)
        self.pose = node.create_publisher(PoseStamped, POSE, 10)
        self.scaling = node.create_publisher(Float64, SCALING, 10)
        self.commands = node.create_publisher(Float64MultiArray, COMMANDS, 10)
        self.status = node.create_publisher(RolloutStatus, names.ROLLOUT_STATUS, qos.ROLLOUT_STATUS)
        self.messages = self._messages(compressed)
        self._scaling, self._commands = Float64(data=100.0), Float64MultiArray(data=[0.0] * 6)

    def _messages(self, compressed: bool) -> tuple[Any, Any, Any]:
        import cv2
        from geometry_msgs.msg import PoseStamped
        from sensor_msgs.msg import CompressedImage, Image, JointState

        ramp = (
            np.linspace(0, 200, WIDTH)[None, :, None] * np.linspace(0.3, 1, HEIGHT)[:, None, None]
        )
        noise = np.random.default_rng(0).normal(20, 4, (HEIGHT, WIDTH, 3))
        pixels = np.clip(ramp + noise, 0, 255).astype(np.uint8)
        if compressed:
            image = CompressedImage(format="jpeg")
            image.data.frombytes(cv2.imencode(".jpg", pixels)[1].tobytes())
        else:
            image = Image(height=HEIGHT, width=WIDTH, encoding="rgb8", step=3 * WIDTH)
            image.data.frombytes(pixels.tobytes())
        joints = JointState(name=[f"joint_{n}" for n in range(6)])
        joints.position = joints.velocity = joints.effort = [0.0] * 6
        return image, joints, PoseStamped()

    def tick(self, number: int) -> None:
        """One cycle at STATE_HZ."""
        from robomd_msgs.msg import RolloutStatus
        from robomd_ros.adapters import stamps

        image, joints, pose = self.messages
        now = stamps.from_seconds(time.time())
        joints.header.stamp = pose.header.stamp = now
        if number * CAMERA_HZ // STATE_HZ != (number - 1) * CAMERA_HZ // STATE_HZ:
            image.header.stamp = now
            if number == 0:
                self.say(RolloutStatus.STARTED, now)
            self.camera.publish(image)
        self.joints.publish(joints)
        self.pose.publish(pose)
        if number % (STATE_HZ // COMMAND_HZ) == 0:
            self.scaling.publish(self._scaling)
            self.commands.publish(self._commands)

    def say(self, state: int, stamp: Any) -> None:
        """One status."""
        from robomd_msgs.msg import RolloutStatus

        msg = RolloutStatus(state=state, rollout_id=ROLLOUT, task="lift", robot="UR5e")
        msg.purpose, msg.frames = "manual", CAMERA_HZ * SECONDS
        msg.header.stamp = msg.perturbation.header.stamp = stamp
        msg.perturbation.id = "nominal"
        self.status.publish(msg)


def drive(compressed: bool) -> None:
    """Be the cell for one rollout."""
    from robomd_msgs.msg import RolloutStatus
    from robomd_ros.adapters import stamps
    from robomd_ros.cli.wire import Wire

    with Wire() as wire:
        driver = _Driver(wire.node, compressed)
        while not all(
            p.get_subscription_count() for p in (driver.camera, driver.pose, driver.status)
        ):
            time.sleep(0.05)
        time.sleep(2.0)  # all subscriptions are matched by then
        start = time.time()
        for number in range(STATE_HZ * SECONDS):
            time.sleep(max(0.0, start + number / STATE_HZ - time.time()))
            driver.tick(number)
        driver.say(RolloutStatus.FINISHED, stamps.from_seconds(time.time()))
        time.sleep(0.5)  # a reliable writer that leaves takes what is unsent with it


if __name__ == "__main__" and sys.argv[1:2] == ["driver"]:
    drive(sys.argv[2] == "true")
