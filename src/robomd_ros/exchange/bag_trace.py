"""The messages of one rollout on one clock, the camera's, as a Trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError, TooLargeError
from robomd_ros.core.outcome import Outcome
from robomd_ros.core.records import Trace
from robomd_ros.exchange.bag_file import BagFile
from robomd_ros.exchange.images import decode
from robomd_ros.exchange.mapping import Field
from robomd_ros.exchange.vectors import numbers
from robomd_ros.recording.messages import COMPRESSED, TYPES, nanoseconds, seconds, typestore
from robomd_ros.recording.reader import MAX_BYTES

_SAME_CLOCK = 1.0
"""Seconds by which the clocks of two headers may differ, seen from the times of receipt, and still be one."""


_FRAME_ID = "camera"
_File = tuple[str, NDArray[np.uint8]]
"""Format and bytes of a compressed image."""


@dataclass(frozen=True)
class Topics:
    """What is read of a bag; None = nothing."""

    camera: Field
    joints: Field | None = None
    actions: Field | None = None
    success: Field | None = None

    @property
    def names(self) -> list[str]:
        """Names of the topics."""
        return [f.name for f in (self.camera, self.joints, self.actions, self.success) if f]

    def facts(self) -> dict[str, str]:
        """For the rollout's facts."""
        return {
            f"topic_{role}": f"{found.name}:{found.path}".rstrip(":")
            for role in ("camera", "joints", "actions", "success")
            if (found := getattr(self, role)) is not None
        }


@dataclass
class _Series:
    """Stamped values of one topic.

    Attributes:
        received: times of receipt [s].
        stamped: header stamps [s]; 0 = none.
        values: one each.
    """

    received: list[float] = field(default_factory=list)
    stamped: list[float] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def add(self, received: int, message: Any, value: Any) -> None:
        header = getattr(message, "header", None)
        self.received.append(received * 1e-9)
        self.stamped.append(seconds(header.stamp) if header is not None else 0.0)
        self.values.append(value)

    @property
    def offset(self) -> float:
        """Header minus receipt [s], the median; NaN without headers."""
        if not self.stamped or min(self.stamped) <= 0:
            return float("nan")
        return float(np.median(np.subtract(self.stamped, self.received)))


def read_trace(
    bag: BagFile, topics: Topics, start: int | None, stop: int | None, rate: float = 0.0
) -> tuple[Trace, Outcome, dict[str, str]]:
    """Read one rollout.

    Args:
        bag: open.
        topics: what is read; their types decide how.
        start: nanoseconds of receipt; None = from the beginning.
        stop: nanoseconds of receipt, not included; None = to the end.
        rate: frames a second that are kept at most; 0 = all.

    Returns:
        The trace, the outcome of the newest success flag, and what was dropped.

    Raises:
        InvalidArgumentError: no frames, frames of several sizes, values that are no numbers.
        TooLargeError: more frames than a recording may hold.
    """
    frames, joints, actions = _Series(), _Series(), _Series()
    files: list[_File | None] = []
    outcome, size, newest = Outcome.UNKNOWN, 0, -1.0
    period = 1.0 / rate if rate > 0 else 0.0

    def wanted(topic: str, stamp: int) -> bool:
        # A tenth of a period early is not too early: cameras are not that regular.
        return topic != topics.camera.name or stamp * 1e-9 - newest >= 0.9 * period

    for topic, stamp, message in bag.messages(topics.names, start, stop, wanted):
        if topic == topics.camera.name:
            picture = topics.camera.value(message)
            frame = decode(picture)
            frames.add(stamp, picture, frame)
            files.append(_file(picture))
            size, newest = size + frame.nbytes, stamp * 1e-9
            if size > MAX_BYTES:
                raise TooLargeError(
                    f"more than {MAX_BYTES} bytes of frames in one rollout: split the bag, or --rate 10."
                )
        if topics.joints and topic == topics.joints.name:
            joints.add(stamp, message, _joint_state(topics.joints, message))
        if topics.actions and topic == topics.actions.name:
            actions.add(stamp, message, numbers(topics.actions, message))
        if topics.success and topic == topics.success.name:
            outcome = _flag(topics.success, message)
    trace, dropped = _assemble(frames, files, joints, actions)
    return trace, outcome, {key: str(n) for key, n in dropped.items() if n}


def _assemble(
    frames: _Series, files: list[_File | None], joints: _Series, actions: _Series
) -> tuple[Trace, dict[str, int]]:
    if not frames.values:
        raise InvalidArgumentError("it has no frame.")
    if len({frame.shape for frame in frames.values}) > 1:
        raise InvalidArgumentError("its frames have several sizes.")
    stamps = _frame_stamps(frames)
    keep = _increasing(stamps)
    names, joint_stamps, positions, velocities, unknown = _joint_arrays(
        joints, _on_camera_clock(joints, frames)
    )
    trace = Trace(
        stamps=stamps[keep],
        frames=_stacked(frames.values, keep),
        joint_names=names,
        joint_stamps=joint_stamps,
        joint_positions=positions,
        joint_velocities=velocities,
        actions=actions_at(stamps[keep], _on_camera_clock(actions, frames), actions.values),
        frame_id=_FRAME_ID,
        compressed=_compressed([files[k] for k in keep], stamps[keep]),
    )
    return trace, {"frames_out_of_order": len(stamps) - len(keep), "joints_unknown": unknown}


def _stacked(frames: list[Any], keep: NDArray[np.intp]) -> NDArray[np.uint8]:
    """np.stack that lets go of each frame as it is taken: a long rollout is in memory once, not twice."""
    out = np.empty((len(keep), *frames[0].shape), np.uint8)
    for at, k in enumerate(keep):
        out[at], frames[k] = frames[k], None
    return out


def _joint_state(field: Field, message: Any) -> Any:
    value = field.value(message)
    if not all(hasattr(value, name) for name in ("name", "position", "velocity")):
        raise InvalidArgumentError(f"{field.name} is no sensor_msgs/JointState.")
    return value


def _file(picture: Any) -> _File | None:
    return (picture.format, picture.data) if hasattr(picture, "format") else None


def _compressed(files: list[_File | None], stamps: NDArray[np.float64]) -> tuple[bytes, ...]:
    """CDR messages of the camera's own jpegs or pngs, so that a recording is no larger than the bag."""
    if not all(files):
        return ()
    types, kind = typestore().types, TYPES[COMPRESSED]
    made = []
    for (text, data), stamp in zip(filter(None, files), map(nanoseconds, stamps), strict=True):
        time = types["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
        header = types["std_msgs/msg/Header"](stamp=time, frame_id=_FRAME_ID)
        message = types[kind](header=header, format=text, data=data)
        made.append(bytes(typestore().serialize_cdr(message, kind)))
    return tuple(made)


def _frame_stamps(frames: _Series) -> NDArray[np.float64]:
    return np.array(frames.received if np.isnan(frames.offset) else frames.stamped, np.float64)


def _on_camera_clock(series: _Series, frames: _Series) -> NDArray[np.float64]:
    """Own header stamps where they are of the camera's clock; else the times of receipt, as the camera's map them."""
    camera = frames.offset
    if np.isnan(camera):
        return np.array(series.received, np.float64)
    if abs(series.offset - camera) <= _SAME_CLOCK:  # False for NaN
        return np.array(series.stamped, np.float64)
    return np.array(series.received, np.float64) + camera


def _increasing(stamps: NDArray[np.float64]) -> NDArray[np.intp]:
    """Indices of the stamps that are newer than all before them."""
    newest = np.concatenate([[-np.inf], np.maximum.accumulate(stamps)])[: len(stamps)]
    return np.flatnonzero(stamps > newest)


def _joint_arrays(
    series: _Series, stamps: NDArray[np.float64]
) -> tuple[tuple[str, ...], NDArray, NDArray, NDArray, int]:
    """Names, stamps, positions, velocities; messages that name other joints each are put together.

    A joint whose position was ever not a number is left out and counted.
    """
    nothing = (), np.zeros(0), np.zeros((0, 0)), np.zeros((0, 0)), 0
    keep = _increasing(stamps)
    names = list(dict.fromkeys(name for k in keep for name in series.values[k].name))
    at = {name: n for n, name in enumerate(names)}
    state = np.full((2, len(names)), np.nan)
    rows, times, heard = [], [], np.zeros(len(names), bool)
    last = tuple(series.values[keep[-1]].name) if len(keep) else ()
    for k in keep:
        message = series.values[k]
        where = [at[name] for name in message.name]
        if len(message.position) != len(where):
            continue
        state[0, where] = message.position
        state[1, where] = message.velocity if len(message.velocity) == len(where) else np.nan
        heard[where] = True
        if heard.all() and (len(names) == len(where) or tuple(message.name) == last):
            rows.append(state.copy())
            times.append(stamps[k])
    if not rows:
        return nothing
    table = np.stack(rows)
    good = np.isfinite(table[:, 0]).all(axis=0)
    if not good.any():
        return (*nothing[:4], len(names))
    # Indexed by a mask they lie column by column in memory, which no message takes.
    positions, velocities = (np.ascontiguousarray(table[:, n, good]) for n in (0, 1))
    return (
        tuple(name for name, is_good in zip(names, good, strict=True) if is_good),
        np.array(times),
        positions,
        velocities if np.isfinite(velocities).all() else np.zeros((0, 0)),
        int((~good).sum()),
    )


def actions_at(
    frames: NDArray[np.float64], stamps: NDArray[np.float64], values: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """(K, A): for each frame the first action at or after it, up to the frame that none follows."""
    if not len(values):
        return np.zeros((0, 0), np.float32)
    if len({value.shape for value in values}) > 1:
        raise InvalidArgumentError("its actions have several lengths.")
    order = np.argsort(stamps, kind="stable")
    first = np.searchsorted(stamps[order], frames - 1e-9, "left")
    return np.stack(values)[order[first[first < len(order)]]]


def _flag(success: Field, message: Any) -> Outcome:
    value = success.value(message)
    value = getattr(value, "data", value)
    if isinstance(value, bool | np.bool_ | int | np.integer) and value in (0, 1):
        return Outcome.SUCCESS if value else Outcome.FAILURE
    raise InvalidArgumentError(
        f"success flag {success.name}: want a Bool, got {value!r:.40}; --map success=topic:field."
    )
