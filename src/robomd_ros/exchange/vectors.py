"""Numbers out of a command message."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.exchange.mapping import Field

_USUAL = {
    "std_msgs/msg/Float32MultiArray": "data",
    "std_msgs/msg/Float64MultiArray": "data",
    "std_msgs/msg/Float32": "data",
    "std_msgs/msg/Float64": "data",
    "sensor_msgs/msg/JointState": "position",
    "trajectory_msgs/msg/JointTrajectory": "points.0.positions",
    "geometry_msgs/msg/TwistStamped": "twist",
    "geometry_msgs/msg/PoseStamped": "pose",
}
"""Where the numbers of well-known commands stand; geometry is flattened in the order of its fields."""
MAX_NUMBERS = 1024


def numbers(field: Field, message: Any) -> NDArray[np.float32]:
    """(A,) of a message, or of the part of it that the field names.

    Raises:
        InvalidArgumentError: it holds none, or they are not finite.
    """
    path = field.path or _USUAL.get(getattr(message, "__msgtype__", ""), "")
    found: list[float] = []
    _collect(Field(field.name, path).value(message), found)
    values = np.array(found, np.float32)
    if not 0 < len(values) <= MAX_NUMBERS or not np.isfinite(values).all():
        raise InvalidArgumentError(
            f"{field.name}: {len(values)} numbers"
            + (" that are not all finite" if len(values) else "")
            + f" in {getattr(message, '__msgtype__', 'a message')}; --map actions=topic:field names the right ones."
        )
    return values


def _collect(value: Any, into: list[float]) -> None:
    """Numbers in the order of the fields; headers and texts are passed over."""
    if isinstance(value, int | float | np.number):
        into.append(float(value))
    elif isinstance(value, np.ndarray | list | tuple):
        for item in value[: MAX_NUMBERS + 1]:
            _collect(item, into)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            if name not in ("header", "__msgtype__", "layout"):
                _collect(getattr(value, name), into)
