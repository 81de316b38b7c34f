"""Further topics of a cell as bytes, for the recording of a rollout: commands, TF, status, and the compressed camera."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from rclpy.exceptions import InvalidTopicNameException
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo
from rclpy.validate_topic_name import validate_topic_name

from robomd_ros.adapters import names
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.adapters.polled_topics import OnMessage, PolledTopics
from robomd_ros.core.errors import InvalidArgumentError, RobomdError, UnavailableError
from robomd_ros.core.message_buffer import CameraClock, MessageBuffer
from robomd_ros.core.records import RawMessage
from robomd_ros.recording.messages import COMPRESSED, TYPES, header_stamp
from robomd_ros.recording.schemas import schema

RECORDED = (
    names.CAMERA_INFO,
    names.EE_POSE,
    names.PERTURBATION,
    names.CELL_STATE,
    names.OPERATOR_REQUEST,
    names.SETUP_CHECK,
    names.RISK,
    names.ALARM,
    names.OVERLAY_MARKERS,
    names.SESSION,
    names.DIAGNOSTICS,
    "/tf",
    "/tf_static",
    "robot_description",
    "forward_position_controller/commands",
    "forward_velocity_controller/commands",
    "scaled_joint_trajectory_controller/joint_trajectory",
    "io_and_status_controller/robot_program_running",
    "io_and_status_controller/robot_mode",
    "io_and_status_controller/safety_mode",
    "speed_scaling_state_broadcaster/speed_scaling",
    "tcp_pose_broadcaster/pose",
)
"""Recorded where somebody publishes them."""

_DEPTH = 2000


class TopicRecorder:
    """Subscribes each topic as soon as somebody publishes it, with the type and quality of service that are offered.

    Args:
        node: a timer of its looks for publishers.
        polled: takes the subscriptions.
        topics: names, relative or absolute; "name:=pkg/msg/Type" takes that type only.
        max_bytes: memory for their messages.
        compressed: also the compressed camera, for Trace.compressed.

    Attributes:
        recorded: topics that are subscribed.
        refused: topic and why its messages cannot be recorded.
    """

    def __init__(
        self,
        node: RobomdNode,
        polled: PolledTopics,
        topics: Iterable[str],
        max_bytes: int,
        compressed: bool = False,
    ) -> None:
        self._node, self._polled = node, polled
        self._wanted = _parse([*topics, *((names.CAMERA_COMPRESSED,) if compressed else ())])
        if not compressed:
            _refuse_own(self._wanted, COMPRESSED)
        self._lock = threading.Lock()
        self._clock = CameraClock()
        self._messages = MessageBuffer(max_bytes)
        self._pictures = MessageBuffer(max_bytes)
        self.recorded: list[str] = []
        self.refused: dict[str, str] = {}
        node.every(0.5, self._look)

    def hear(self, stamp: int, received: int) -> None:
        """A stamp of the camera's clock arrived [ns, ns of the wall clock]: other messages are stamped in that clock."""
        if self._clock.hear(stamp, received):
            with self._lock:
                self._messages.restart()

    @property
    def is_wall(self) -> bool:
        """The camera's clock is the wall clock."""
        return self._clock.is_wall

    def add(self, topic: str, kind: str, data: bytes, received: int) -> None:
        """Keep a message of a latched topic that the node itself listens to; `received` in ns of the wall clock."""
        stamp = self._clock.read(received or time.time_ns())
        message = RawMessage(f"/{topic}", kind, stamp, data, True)
        with self._lock:
            self._messages.add(message)

    def now(self) -> int:
        """Nanoseconds in the camera's clock."""
        return self._clock.read(time.time_ns())

    def compressed(self, start: int, end: int) -> dict[int, bytes]:
        """The compressed pictures of an interval by their stamps [ns]."""
        with self._lock:
            return {m.stamp: m.data for m in self._pictures.between(start, end)}

    def extras(self, start: int, end: int) -> tuple[RawMessage, ...]:
        """Messages of the interval [ns], led by what latched topics said before."""
        with self._lock:
            return self._messages.between(start, end)

    def is_whole_since(self, start: int) -> bool:
        """No message from `start` [ns] on was dropped for want of memory."""
        with self._lock:
            return self._messages.is_whole_since(start)

    def _look(self) -> None:
        """Subscribe what is published by now."""
        for topic, kind in list(self._wanted.items()):
            offers = self._node.get_publishers_info_by_topic(topic)
            if offers:
                del self._wanted[topic]
                try:
                    self._subscribe(topic, kind, offers)
                except RobomdError as error:
                    self.refused[topic] = str(error)
                    self._node.get_logger().warning(f"{topic} is not recorded: {error}")

    def _subscribe(self, topic: str, kind: str, offers: list[TopicEndpointInfo]) -> None:
        offered = offers[0].topic_type
        if kind not in ("", offered):
            raise InvalidArgumentError(f"it has messages of {offered}, not of {kind}.")
        profile = _profile(offers)
        schema(offered)
        keep = self._keeper(f"/{topic.lstrip('/')}", offered, profile.durability)
        self._polled.add(_message_class(offered), topic, profile, keep)
        self.recorded.append(topic)

    def _keeper(self, topic: str, kind: str, durability: DurabilityPolicy) -> OnMessage:
        """What is done with the messages of a topic."""
        latched = durability == DurabilityPolicy.TRANSIENT_LOCAL

        def keep(data: bytes, received: int) -> None:
            if topic == COMPRESSED:
                picture = RawMessage(topic, kind, header_stamp(data), data)
                with self._lock:
                    self._pictures.add(picture)
                return
            message = RawMessage(topic, kind, self._clock.read(received), data, latched)
            with self._lock:
                self._messages.add(message)

        return keep


def _parse(topics: Iterable[str]) -> dict[str, str]:
    """Topic and type ("" = whatever is published) of each entry."""
    wanted = {}
    for entry in topics:
        topic, _, kind = entry.partition(":=")
        try:
            validate_topic_name(topic)
        except InvalidTopicNameException as error:
            raise InvalidArgumentError(
                f"record_topics {entry[:80]!r}: want a topic or topic:=pkg/msg/Type."
            ) from error
        wanted[topic] = kind
    for own in TYPES.keys() - {COMPRESSED}:
        _refuse_own(wanted, own)
    return wanted


def _refuse_own(wanted: Iterable[str], own: str) -> None:
    if own in (f"/{topic.lstrip('/')}" for topic in wanted):
        raise InvalidArgumentError(
            f"record_topics: {own} is part of every recording"
            + (" where parameter compressed says so." if own == COMPRESSED else " by itself.")
        )


def _profile(offers: list[TopicEndpointInfo]) -> QoSProfile:
    """The best that all publishers offer."""
    reliable = all(o.qos_profile.reliability == ReliabilityPolicy.RELIABLE for o in offers)
    latched = all(o.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for o in offers)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=_DEPTH,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def _message_class(kind: str) -> Any:
    package, _, name = kind.partition("/msg/")
    try:
        return getattr(import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError) as error:
        raise UnavailableError(f"its type {kind} is not installed here: {error}") from error
