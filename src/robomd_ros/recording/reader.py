"""Read a recording back."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from mcap.reader import make_reader

from robomd_ros.core.errors import RobomdError, StorageError
from robomd_ros.core.records import Trace
from robomd_ros.recording.messages import (
    ACTIONS,
    IMAGES,
    JOINTS,
    ROLLOUT,
    read_action,
    read_image,
    read_joints,
    read_rollout,
)

MAX_BYTES = 4_000_000_000
"""Largest recording that is read into memory."""


def read_recording(path: str | Path) -> Trace:
    """The time series of a recording; stamps to the nanosecond, everything else exactly.

    Raises:
        StorageError: missing, torn, or not written by us.
    """
    path = Path(path)
    raw = _messages(path)
    try:
        info = read_rollout(raw[ROLLOUT][0])
        images = [read_image(data) for data in raw[IMAGES]]
        joints = [read_joints(data) for data in raw[JOINTS]]
        actions = [read_action(data) for data in raw[ACTIONS]]
        names = tuple(info[f"joint_name/{at}"] for at in range(_numbered(info)))
        velocities = [velocity for _, _, velocity in joints if velocity.size]
        return Trace(
            stamps=np.array([stamp for stamp, _, _ in images], np.float64),
            frames=np.stack([frame for _, _, frame in images]),
            joint_names=names,
            joint_stamps=np.array([stamp for stamp, _, _ in joints], np.float64),
            joint_positions=np.array([p for _, p, _ in joints]).reshape(len(joints), len(names)),
            joint_velocities=np.array(velocities).reshape(len(velocities), len(names))
            if velocities
            else np.zeros((0, 0)),
            actions=np.array(actions, np.float32).reshape(len(actions), int(info["action_dim"])),
            frame_id=info["frame_id"],
        )
    except (RobomdError, KeyError, IndexError, ValueError, TypeError) as error:
        raise StorageError(f"{path} is not a recording of a rollout: {error}") from error


def read_info(path: str | Path) -> dict[str, str]:
    """What /robomd/rollout of a recording says."""
    raw = _messages(Path(path), [ROLLOUT])
    if not raw[ROLLOUT]:
        raise StorageError(f"{path} is not a recording of a rollout: it has no {ROLLOUT}.")
    return read_rollout(raw[ROLLOUT][0])


def verify_recording(path: str | Path) -> None:
    """Read every message, with checksums, and compare their numbers with what the recording says. Raises StorageError."""
    path = Path(path)
    counts, info = message_counts(path), read_info(path)
    for topic, key in ((IMAGES, "frames"), (JOINTS, "joint_states"), (ACTIONS, "actions")):
        if counts[topic] != int(info.get(key, -1)):
            raise StorageError(
                f"{path} holds {counts[topic]} of {info.get(key)} messages on {topic}."
            )


def message_counts(path: Path) -> Counter[str]:
    """Messages a topic, counted by reading all of them."""
    return Counter({topic: len(found) for topic, found in _messages(path).items() if found})


def _messages(path: Path, topics: list[str] | None = None) -> defaultdict[str, list[bytes]]:
    found: defaultdict[str, list[bytes]] = defaultdict(list)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise StorageError(f"{path} is larger than {MAX_BYTES} bytes.")
        with path.open("rb") as file:
            for _, channel, message in make_reader(file, validate_crcs=True).iter_messages(topics):
                found[channel.topic].append(message.data)
    except StorageError:
        raise
    except FileNotFoundError as error:
        raise StorageError(f"no recording at {path}.") from error
    except Exception as error:  # the decoders below raise whatever torn bytes lead them to
        raise StorageError(f"{path} is damaged: {type(error).__name__}: {error}") from error
    return found


def _numbered(info: dict[str, str]) -> int:
    return sum(key.startswith("joint_name/") for key in info)
