"""A core Trace as ROS 2 messages with their stamps, and back. CDR by rosbags, no rclpy."""

from __future__ import annotations

import heapq
import math
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError, StorageError
from robomd_ros.core.records import RawMessage, Trace
from robomd_ros.recording.pixels import file_rgb
from robomd_ros.recording.schemas import typestore

IMAGES = "/camera/image_raw"
COMPRESSED = "/camera/image_raw/compressed"
JOINTS = "/joint_states"
ACTIONS = "/robomd/actions"
ROLLOUT = "/robomd/rollout"
TYPES = {
    IMAGES: "sensor_msgs/msg/Image",
    COMPRESSED: "sensor_msgs/msg/CompressedImage",
    JOINTS: "sensor_msgs/msg/JointState",
    ACTIONS: "std_msgs/msg/Float32MultiArray",
    ROLLOUT: "diagnostic_msgs/msg/DiagnosticArray",
}
"""Topics of the trace itself. Only types that every ROS 2 has, so that nothing of ours is needed to open one."""

MESSAGES = "messages"
"""Of further topics the description counts them: "messages/robomd/cell_state" = "3"."""

_NANO = 1_000_000_000


def nanoseconds(stamp: float) -> int:
    """Seconds to nanoseconds; split first, since a double holds no nanoseconds of the wall clock."""
    if not math.isfinite(stamp) or not 0 <= stamp < 2**31:
        raise InvalidArgumentError(
            f"stamp {stamp}: want seconds from 0 to 2**31 (builtin_interfaces/Time)."
        )
    whole = math.floor(stamp)
    return int(whole) * _NANO + round((stamp - whole) * _NANO)


def seconds(stamp: Any) -> float:
    """A builtin_interfaces/Time as seconds."""
    return float(stamp.sec + stamp.nanosec * 1e-9)


def header_stamp(raw: bytes) -> int:
    """Nanoseconds of the stamp of a CDR message that begins with a std_msgs/Header."""
    if len(raw) < 12:
        raise InvalidArgumentError(f"message of {len(raw)} bytes has no header.")
    sec, nanosec = struct.unpack_from("<iI" if raw[1] & 1 else ">iI", raw, 4)
    return int(sec) * _NANO + int(nanosec)


def trace_messages(trace: Trace, rollout_id: str, info: Mapping[str, str]) -> Iterator[RawMessage]:
    """Every message in the order of the stamps, made when it is asked for.

    An action is stamped with the frame that it answers.
    """
    types, store = typestore().types, typestore()

    def encoded(topic: str, stamp: int, message: Any, latched: bool = False) -> RawMessage:
        data = bytes(store.serialize_cdr(message, TYPES[topic]))
        return RawMessage(topic, TYPES[topic], stamp, data, latched)

    def image(at: int) -> RawMessage:
        if trace.compressed and trace.compressed[at]:
            data = trace.compressed[at]
            return RawMessage(COMPRESSED, TYPES[COMPRESSED], stamps[at], data)
        made = _image(types, trace.frames[at], stamps[at], trace.frame_id)
        return encoded(IMAGES, stamps[at], made)

    stamps = [nanoseconds(s) for s in trace.stamps]
    joint_stamps = [nanoseconds(s) for s in trace.joint_stamps]
    extra_stamps = [m.stamp for m in trace.extras]
    first = min([*stamps[:1], *joint_stamps[:1], *extra_stamps[:1]], default=0)
    about = encoded(ROLLOUT, first, _rollout(types, trace, rollout_id, info, first), True)
    answered = [nanoseconds(s) for s in trace.action_stamps] or [
        stamps[min(k, len(stamps) - 1)] if stamps else first for k in range(len(trace.actions))
    ]
    return heapq.merge(
        iter([about]),
        map(image, range(len(stamps))),
        (encoded(JOINTS, t, _joints(types, trace, n, t)) for n, t in enumerate(joint_stamps)),
        (encoded(ACTIONS, t, _action(types, trace.actions[k])) for k, t in enumerate(answered)),
        trace.extras,
        key=lambda m: m.stamp,
    )


def wanted_counts(info: Mapping[str, str]) -> Counter[str]:
    """Messages a topic that a recording must hold by its own description.

    Raises:
        KeyError, ValueError: it is not one of ours.
    """
    counts = Counter({JOINTS: int(info["joint_states"]), ACTIONS: int(info["actions"]), ROLLOUT: 1})
    counts[COMPRESSED] = int(info.get("compressed", 0))
    counts[IMAGES] = int(info["frames"]) - counts[COMPRESSED]
    for key, number in info.items():
        if key.startswith(f"{MESSAGES}/"):
            counts[key.removeprefix(MESSAGES)] = int(number)
    return +counts


def read_image(raw: bytes) -> tuple[float, str, NDArray[np.uint8]]:
    """Stamp [s], frame id and (H, W, 3) RGB of a sensor_msgs/Image."""
    message: Any = typestore().deserialize_cdr(raw, TYPES[IMAGES])
    if message.encoding != "rgb8":
        raise StorageError(f"recorded image is {message.encoding}, want rgb8.")
    frame = message.data.reshape(message.height, message.step)[:, : message.width * 3]
    pixels = frame.reshape(message.height, message.width, 3)
    return seconds(message.header.stamp), message.header.frame_id, pixels


def read_compressed(raw: bytes) -> tuple[float, str, NDArray[np.uint8]]:
    """Stamp [s], frame id and (H, W, 3) RGB of a sensor_msgs/CompressedImage; the pixels camera_capture sees."""
    message: Any = typestore().deserialize_cdr(raw, TYPES[COMPRESSED])
    pixels = file_rgb(np.asarray(message.data, np.uint8))
    if pixels is None:
        raise StorageError(f"recorded image of {len(message.data)} bytes cannot be decoded.")
    return seconds(message.header.stamp), message.header.frame_id, pixels


def read_joints(raw: bytes) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Stamp [s], positions and velocities of a sensor_msgs/JointState."""
    message: Any = typestore().deserialize_cdr(raw, TYPES[JOINTS])
    return seconds(message.header.stamp), message.position, message.velocity


def read_action(raw: bytes) -> NDArray[np.float32]:
    """The numbers of a std_msgs/Float32MultiArray."""
    message: Any = typestore().deserialize_cdr(raw, TYPES[ACTIONS])
    return np.asarray(message.data, np.float32)


def read_rollout(raw: bytes) -> dict[str, str]:
    """Keys and values of the rollout's description."""
    message: Any = typestore().deserialize_cdr(raw, TYPES[ROLLOUT])
    return {pair.key: pair.value for status in message.status for pair in status.values}


def _header(types: Mapping[str, Any], stamp: int, frame_id: str) -> Any:
    time = types["builtin_interfaces/msg/Time"](sec=stamp // _NANO, nanosec=stamp % _NANO)
    return types["std_msgs/msg/Header"](stamp=time, frame_id=frame_id)


def _image(types: Mapping[str, Any], frame: NDArray[np.uint8], stamp: int, frame_id: str) -> Any:
    height, width = frame.shape[:2]
    return types["sensor_msgs/msg/Image"](
        header=_header(types, stamp, frame_id),
        height=height,
        width=width,
        encoding="rgb8",
        is_bigendian=0,
        step=3 * width,
        data=np.ascontiguousarray(frame).reshape(-1),
    )


def _joints(types: Mapping[str, Any], trace: Trace, at: int, stamp: int) -> Any:
    velocity = trace.joint_velocities[at] if trace.joint_velocities.size else np.zeros(0)
    return types["sensor_msgs/msg/JointState"](
        header=_header(types, stamp, ""),
        name=list(trace.joint_names),
        position=np.asarray(trace.joint_positions[at], np.float64),
        velocity=np.asarray(velocity, np.float64),
        effort=np.zeros(0),
    )


def _action(types: Mapping[str, Any], action: NDArray[np.float32]) -> Any:
    size = len(action)
    dimension = types["std_msgs/msg/MultiArrayDimension"](label="action", size=size, stride=size)
    layout = types["std_msgs/msg/MultiArrayLayout"](dim=[dimension], data_offset=0)
    return types["std_msgs/msg/Float32MultiArray"](
        layout=layout, data=np.asarray(action, np.float32)
    )


def _rollout(
    types: Mapping[str, Any], trace: Trace, rollout_id: str, info: Mapping[str, str], stamp: int
) -> Any:
    own = {
        "rollout_id": rollout_id,
        "frame_id": trace.frame_id,
        "frames": str(len(trace.frames)),
        "joint_states": str(len(trace.joint_stamps)),
        "compressed": str(sum(map(bool, trace.compressed))),
        "actions": str(len(trace.actions)),
        "action_dim": str(trace.actions.shape[1] if trace.actions.ndim == 2 else 0),
    }
    counts = Counter(message.topic for message in trace.extras)
    own |= {f"{MESSAGES}{topic}": str(number) for topic, number in counts.items()}
    own |= {f"joint_name/{at}": name for at, name in enumerate(trace.joint_names)}
    pair = types["diagnostic_msgs/msg/KeyValue"]
    status = types["diagnostic_msgs/msg/DiagnosticStatus"](
        level=0,
        name="robomd rollout",
        message=info.get("sentence", ""),
        hardware_id=info.get("robot", ""),
        values=[pair(key=k, value=v) for k, v in {**info, **own}.items()],
    )
    return types["diagnostic_msgs/msg/DiagnosticArray"](
        header=_header(types, stamp, ""), status=[status]
    )
