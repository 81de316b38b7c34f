"""Read a recording back."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mcap.reader import make_reader
from numpy.typing import NDArray

from robomd_ros.core.errors import RobomdError, StorageError
from robomd_ros.core.records import RawMessage, Trace
from robomd_ros.recording.messages import (
    ACTIONS,
    COMPRESSED,
    IMAGES,
    JOINTS,
    ROLLOUT,
    TYPES,
    read_action,
    read_compressed,
    read_image,
    read_joints,
    read_rollout,
    wanted_counts,
)

MAX_BYTES = 4_000_000_000
"""Largest recording that is read into memory."""


def read_recording(path: str | Path) -> Trace:
    """The time series of a recording; stamps to the nanosecond, everything else exactly.

    Raises:
        StorageError: missing, torn, or not written by us.
    """
    path = Path(path)
    raw: defaultdict[str, list[RawMessage]] = defaultdict(list)
    for message in _messages(path):
        raw[message.topic].append(message)
    try:
        info = read_rollout(raw[ROLLOUT][0].data)
        return Trace(
            **_frames(sorted([*raw[IMAGES], *raw[COMPRESSED]], key=lambda m: m.stamp)),
            **_joints([read_joints(m.data) for m in raw[JOINTS]], info),
            actions=np.array([read_action(m.data) for m in raw[ACTIONS]], np.float32).reshape(
                len(raw[ACTIONS]), int(info["action_dim"])
            ),
            action_stamps=np.array([m.stamp * 1e-9 for m in raw[ACTIONS]], np.float64),
            frame_id=info["frame_id"],
            extras=_extras(raw),
        )
    except (RobomdError, KeyError, IndexError, ValueError, TypeError) as error:
        raise StorageError(f"{path} is not a recording of a rollout: {error}") from error


def _frames(messages: list[RawMessage]) -> dict[str, Any]:
    """Fields of the Trace that come from the camera."""
    read = {IMAGES: read_image, COMPRESSED: read_compressed}
    images = [read[m.topic](m.data) for m in messages]
    compressed = tuple(m.data if m.topic == COMPRESSED else b"" for m in messages)
    return {
        "stamps": np.array([stamp for stamp, _, _ in images], np.float64),
        "frames": np.stack([frame for _, _, frame in images])
        if images
        else np.zeros((0, 0, 0, 3), np.uint8),
        "compressed": compressed if any(compressed) else (),
    }


def _joints(
    joints: list[tuple[float, NDArray[np.float64], NDArray[np.float64]]], info: dict[str, str]
) -> dict[str, Any]:
    """Fields of the Trace that come from the joints."""
    names = tuple(info[f"joint_name/{at}"] for at in range(_numbered(info)))
    velocities = [velocity for _, _, velocity in joints if velocity.size]
    return {
        "joint_names": names,
        "joint_stamps": np.array([stamp for stamp, _, _ in joints], np.float64),
        "joint_positions": np.array([p for _, p, _ in joints]).reshape(len(joints), len(names)),
        "joint_velocities": np.array(velocities).reshape(len(velocities), len(names))
        if velocities
        else np.zeros((0, 0)),
    }


def _extras(raw: Mapping[str, list[RawMessage]]) -> tuple[RawMessage, ...]:
    further = (message for topic, found in raw.items() if topic not in TYPES for message in found)
    return tuple(sorted(further, key=lambda m: m.stamp))


def read_info(path: str | Path) -> dict[str, str]:
    """What /robomd/rollout of a recording says."""
    for message in _messages(Path(path), [ROLLOUT]):
        return read_rollout(message.data)
    raise StorageError(f"{path} is not a recording of a rollout: it has no {ROLLOUT}.")


def verify_recording(path: str | Path) -> None:
    """Read every message, with checksums, and compare their numbers with what the recording says. Raises StorageError."""
    path = Path(path)
    counts, info = message_counts(path), read_info(path)
    try:
        wanted = wanted_counts(info)
    except (KeyError, ValueError) as error:
        raise StorageError(f"{path} does not say what it holds: {error}") from error
    for topic in sorted(counts.keys() | wanted.keys()):
        if counts[topic] != wanted[topic]:
            raise StorageError(
                f"{path} holds {counts[topic]} of {wanted[topic]} messages on {topic}."
            )


def message_counts(path: Path) -> Counter[str]:
    """Messages a topic, counted by reading all of them."""
    return Counter(message.topic for message in _messages(path))


def _messages(path: Path, topics: list[str] | None = None) -> Iterator[RawMessage]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise StorageError(f"{path} is larger than {MAX_BYTES} bytes.")
        with path.open("rb") as file:
            reader = make_reader(file, validate_crcs=True)
            for schema, channel, message in reader.iter_messages(topics):
                kind = schema.name if schema else ""
                latched = "durability: 1" in channel.metadata.get("offered_qos_profiles", "")
                yield RawMessage(channel.topic, kind, message.log_time, message.data, latched)
    except StorageError:
        raise
    except FileNotFoundError as error:
        raise StorageError(f"no recording at {path}.") from error
    except Exception as error:  # the decoders below raise whatever torn bytes lead them to
        raise StorageError(f"{path} is damaged: {type(error).__name__}: {error}") from error


def _numbered(info: dict[str, str]) -> int:
    return sum(key.startswith("joint_name/") for key in info)
