"""A node that publishes what a cell publishes, with frames, stamps and order chosen by the test."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from sensor_msgs.msg import Image, JointState

from robomd_msgs.msg import LabeledRollout, Outcome, RolloutFrame, RolloutStatus, RolloutSummary
from robomd_msgs.srv import ApplyPerturbation
from robomd_ros.adapters import names, qos, stamps
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.adapters.conversions import perturbation_to_msg
from robomd_ros.adapters.images import image_to_msg
from robomd_ros.core.variations import Perturbation, load_catalogue

STEP = 100_000_000
"""Nanoseconds between two frames."""

CATALOGUE = load_catalogue("lift")


def picture(value: int, height: int = 12, width: int = 16) -> np.ndarray:
    """A frame that can be told from others: a gradient plus a value."""
    base = np.arange(height * width * 3, dtype=np.uint32).reshape(height, width, 3)
    return ((base + 7 * value) % 256).astype(np.uint8)


class SyntheticCell(RobomdNode):
    """Publishes frames, joints and statuses; keeps what the nodes under test publish."""

    threads = 2

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("synthetic_cell", **kwargs)
        self.images = self.create_publisher(Image, names.CAMERA_IMAGE, qos.CAMERA_WRITER)
        self.joints = self.create_publisher(JointState, names.JOINT_STATES, qos.CAMERA_WRITER)
        self.statuses = self.create_publisher(
            RolloutStatus, names.ROLLOUT_STATUS, qos.ROLLOUT_STATUS
        )
        self.frames: list[RolloutFrame] = []
        self.labeled: list[LabeledRollout] = []
        self.summaries: list[RolloutSummary] = []
        self.listen(RolloutFrame, names.FRAMES, self.frames.append, qos.FRAMES)
        self.listen(LabeledRollout, names.LABELED_ROLLOUT, self.labeled.append, qos.EVENTS)
        self.listen(RolloutSummary, names.ROLLOUTS, self.summaries.append, qos.LATCHED)
        self.now = 10 * STEP
        self.brightness = 0
        self.answers = True
        self.asked: list[list[str]] = []
        self.released = threading.Event()
        self.serve(
            ApplyPerturbation, names.CELL_APPLY_PERTURBATION, self._apply, group=self.reentrant
        )

    def _apply(self, request: Any, response: Any) -> None:
        self.asked.append(list(request.variation_ids))
        if not self.answers:
            self.released.wait(20.0)
            return
        applied = CATALOGUE.perturbation(list(request.variation_ids))
        self.brightness = 100 * len(applied.variations)
        response.perturbation = perturbation_to_msg(applied, "lift", stamps.from_ns(self.now))
        response.apply_time = 0.001
        self.image(self.now + STEP // 2)

    def image(self, stamp: int, rgb: np.ndarray | None = None) -> None:
        """One camera frame."""
        frame = picture(stamp // STEP) if rgb is None else rgb
        frame = np.clip(frame.astype(int) // 2 + self.brightness, 0, 255).astype(np.uint8)
        self.images.publish(image_to_msg(frame, stamps.from_ns(stamp), "camera"))

    def joint(self, stamp: int) -> None:
        """One joint state."""
        msg = JointState(name=["a", "b"], position=[stamp * 1e-9, 1.0], velocity=[0.5, 0.0])
        msg.header.stamp = stamps.from_ns(stamp)
        self.joints.publish(msg)

    def status(
        self,
        rollout_id: str,
        state: int,
        stamp: int,
        frames: int = 0,
        outcome: int = Outcome.UNKNOWN,
        perturbation: Perturbation | None = None,
        **fields: Any,
    ) -> None:
        """One rollout status."""
        applied = perturbation or CATALOGUE.perturbation("cube_red")
        msg = RolloutStatus(
            rollout_id=rollout_id, state=state, task="lift", robot="Panda", policy_id="bc-1",
            purpose=fields.pop("purpose", "search"), seed=5, steps=max(frames - 1, 0),
            frames=frames, duration=frames * STEP * 1e-9, **fields,
        )  # fmt: skip
        msg.header.stamp = stamps.from_ns(stamp)
        msg.perturbation = perturbation_to_msg(applied, "lift", msg.header.stamp)
        msg.outcome = Outcome(value=outcome, labeler="sim" if outcome else "")
        self.statuses.publish(msg)

    def rollout(
        self, rollout_id: str, count: int, outcome: int, skip: int = -1, **fields: Any
    ) -> int:
        """A whole rollout of `count` frames in order; frame `skip` is left out. Returns its first stamp."""
        start = self.now
        for index in range(count):
            stamp = start + index * STEP
            if index != skip:
                self.image(stamp)
            self.joint(stamp)
            if index == 0:
                self.status(rollout_id, RolloutStatus.STARTED, stamp, **fields)
        last = start + (count - 1) * STEP
        self.status(rollout_id, RolloutStatus.FINISHED, last, count, outcome, **fields)
        self.now = last + 5 * STEP
        return start
