"""Write one rollout as one MCAP file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from mcap.writer import CompressionType, Writer

from robomd_ros.core.errors import InvalidArgumentError, StorageError
from robomd_ros.core.files import atomic_file
from robomd_ros.core.records import Trace
from robomd_ros.recording.messages import TYPES, trace_messages, typestore
from robomd_ros.recording.reader import message_counts


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
    messages = list(trace_messages(trace, rollout_id, info or {}))
    with atomic_file(folder / name) as temporary:
        _write(temporary, messages)
        wanted, found = Counter(topic for topic, _, _ in messages), message_counts(temporary)
        if found != wanted:
            raise StorageError(
                f"{name} came back with {dict(found)} messages, want {dict(wanted)}."
            )
    return name


def _write(path: Path, messages: list[tuple[str, int, bytes]]) -> None:
    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.ZSTD)
        writer.start(profile="ros2", library="robomd_ros")
        channels = {topic: _channel(writer, topic) for topic in TYPES}
        counts: Counter[str] = Counter()
        for topic, stamp, data in sorted(messages, key=lambda m: m[1]):
            writer.add_message(channels[topic], stamp, data, stamp, counts[topic])
            counts[topic] += 1
        writer.finish()  # type: ignore[no-untyped-call]


def _channel(writer: Writer, topic: str) -> int:
    text, _ = typestore().generate_msgdef(TYPES[topic], ros_version=2)
    schema = writer.register_schema(TYPES[topic], "ros2msg", text.encode())
    return writer.register_channel(topic, "cdr", schema, {"offered_qos_profiles": ""})


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
