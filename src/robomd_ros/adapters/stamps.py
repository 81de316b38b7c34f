"""Time on the wire: whole nanoseconds for comparing, float seconds for arithmetic, wall clock for the store."""

from __future__ import annotations

import math
import time

from builtin_interfaces.msg import Time

from robomd_ros.core.errors import InvalidArgumentError

_SECOND = 1_000_000_000


def to_ns(stamp: Time) -> int:
    """Whole nanoseconds: exact, so equal stamps compare equal."""
    return stamp.sec * _SECOND + stamp.nanosec


def from_ns(nanoseconds: int) -> Time:
    """Message of whole nanoseconds >= 0."""
    return Time(sec=int(nanoseconds // _SECOND), nanosec=int(nanoseconds % _SECOND))


def to_seconds(stamp: Time) -> float:
    """Float seconds; 0.2 microseconds fine for wall-clock stamps."""
    return stamp.sec + stamp.nanosec * 1e-9


def from_seconds(seconds: float) -> Time:
    """Message of float seconds within the 32 bits of Time.sec."""
    if not math.isfinite(seconds) or not 0 <= seconds < 2**31:
        raise InvalidArgumentError(f"stamp of {seconds} s: want 0 to 2^31.")
    return from_ns(round(seconds * _SECOND))


def wall() -> Time:
    """Now on the wall clock, also where the node runs on simulated time."""
    return from_ns(time.time_ns())
