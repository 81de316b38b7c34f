"""Write one rollout as one MCAP file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from mcap.writer import CompressionType, Writer

from robomd_ros.core.errors import InvalidArgumentError, StorageError
from robomd_ros.core.files import atomic_file
from robomd_ros.core.records import RawMessage, Trace
from robomd_ros.recording.messages import TYPES, trace_messages
from robomd_ros.recording.reader import message_counts
from robomd_ros.recording.schemas import schema


def write_recording(
    trace: Trace, folder: Path, rollout_id: str, info: Mapping[str, str] | None = None
) -> str:
    """Write `<rollout_id>.mcap`, read it back and count, and only then give it its name.

    Args:
        trace: the time series; the same one gives the same message bytes.
        folder: recordings/ of the study.
        rollout_id: also the file's name.
        info: further facts for the topic /robomd/rollout, e.g. the perturbation's id.

    Returns:
        The file's name.

    Raises:
        InvalidArgumentError: stamps or shapes do not fit ROS messages.
        StorageError: the disk is full or the file came back incomplete; nothing of it remains.
    """
    _check(trace)
    name = f"{rollout_id}.mcap"
    with atomic_file(folder / name) as temporary:
        wanted = _write(temporary, trace_messages(trace, rollout_id, info or {}))
        found = message_counts(temporary)
        if found != wanted:
            raise StorageError(
                f"{name} came back with {dict(found)} messages, want {dict(wanted)}."
            )
    return name


def _write(path: Path, messages: Iterable[RawMessage]) -> Counter[str]:
    """Write the messages as they come; how many of each topic."""
    counts: Counter[str] = Counter()
    channels: dict[str, int] = {}
    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.ZSTD)
        writer.start(profile="ros2", library="robomd_ros")
        for message in messages:
            topic, stamp = message.topic, message.stamp
            if topic not in channels:
                channels[topic] = _channel(writer, message)
            writer.add_message(channels[topic], stamp, message.data, stamp, counts[topic])
            counts[topic] += 1
        writer.finish()  # type: ignore[no-untyped-call]
    return counts


def _channel(writer: Writer, first: RawMessage) -> int:
    text, digest = schema(first.type)
    schema_id = writer.register_schema(first.type, "ros2msg", text.encode())
    metadata = {"offered_qos_profiles": _qos(first.latched), "topic_type_hash": digest}
    return writer.register_channel(first.topic, "cdr", schema_id, metadata)


def _qos(latched: bool) -> str:
    """How `ros2 bag play` offers a topic; numbers, since rosbag2 of every distribution reads these."""
    ever = "{sec: 9223372036, nsec: 854775807}"
    return (
        f"- {{history: 1, depth: {1 if latched else 10}, reliability: 1, durability: {1 if latched else 2}, "
        f"deadline: {ever}, lifespan: {ever}, liveliness: 1, liveliness_lease_duration: {ever}, "
        "avoid_ros_namespace_conventions: false}"
    )


def _check(trace: Trace) -> None:
    joints = (len(trace.joint_stamps), len(trace.joint_names))
    if trace.joint_velocities.size and trace.joint_velocities.shape != joints:
        raise InvalidArgumentError(
            f"trace: joint_velocities want shape {joints} or none, got {trace.joint_velocities.shape}."
        )
    if len(trace.joint_stamps) and trace.joint_positions.shape != joints:
        raise InvalidArgumentError(
            f"trace: joint_positions want shape {joints}, got {trace.joint_positions.shape}."
        )
    if trace.actions.ndim != 2:
        raise InvalidArgumentError(f"trace: actions want two axes, got {trace.actions.shape}.")
    types: dict[str, str] = dict(TYPES)
    for message in trace.extras:
        if message.topic in TYPES or types.setdefault(message.topic, message.type) != message.type:
            raise InvalidArgumentError(
                f"trace: a further message on {message.topic[:80]} of type {message.type[:80]}: the topic is the trace's "
                "own, or has messages of another type."
            )
        if not 0 <= message.stamp < 2**63 or not message.topic.startswith("/"):
            raise InvalidArgumentError(
                f"trace: a further message on {message.topic[:80]!r} at {message.stamp} ns: want an absolute topic and a "
                "stamp of 0 or more."
            )
