"""Errors with the codes that go over the wire.

Every error says what was wrong, what came, what was expected and what to do. Each class also derives from the
builtin a Python user would catch.
"""

from __future__ import annotations

from enum import IntEnum


class ErrorCode(IntEnum):
    """Codes of `error_code` in every robomd_msgs service and action result."""

    OK = 0
    INVALID_ARGUMENT = 1
    UNKNOWN_ID = 2
    NOT_READY = 3
    BUSY = 4
    TOO_LARGE = 5
    STORAGE = 6
    TIMEOUT = 7
    CANCELLED = 8
    UNAVAILABLE = 9
    SAFETY = 10
    POLICY = 11
    INTERNAL = 99


class RobomdError(Exception):
    """Base of all errors raised on purpose; `code` is what a caller over ROS gets."""

    code = ErrorCode.INTERNAL


class InvalidArgumentError(RobomdError, ValueError):
    """Malformed, NaN, wrong shape or out of range."""

    code = ErrorCode.INVALID_ARGUMENT


class UnknownIdError(RobomdError, KeyError):
    """No such variation, rollout, study or policy."""

    code = ErrorCode.UNKNOWN_ID

    def __str__(self) -> str:  # KeyError would print the repr of its argument
        return str(self.args[0]) if self.args else ""


class NotReadyError(RobomdError, RuntimeError):
    """Nothing trained yet, no image yet, node not active."""

    code = ErrorCode.NOT_READY


class BusyError(RobomdError, RuntimeError):
    """Another goal of the same kind is running."""

    code = ErrorCode.BUSY


class TooLargeError(RobomdError, ValueError):
    """Over a documented limit."""

    code = ErrorCode.TOO_LARGE


class StorageError(RobomdError, OSError):
    """Disk full, file missing, unreadable or corrupt."""

    code = ErrorCode.STORAGE


class DeadlineError(RobomdError, TimeoutError):
    """A deadline passed."""

    code = ErrorCode.TIMEOUT


class CancelledByUserError(RobomdError, RuntimeError):
    """The caller cancelled."""

    code = ErrorCode.CANCELLED


class UnavailableError(RobomdError, RuntimeError):
    """A node, device or package that is needed is not there."""

    code = ErrorCode.UNAVAILABLE


class SafetyError(RobomdError, RuntimeError):
    """The robot is not ready or was stopped."""

    code = ErrorCode.SAFETY


class PolicyError(RobomdError, RuntimeError):
    """The policy under test crashed, answered late or answered nonsense."""

    code = ErrorCode.POLICY


def describe(error: BaseException) -> tuple[ErrorCode, str]:
    """Code and one sentence of any exception, for the result of a service or an action."""
    if isinstance(error, RobomdError):
        return error.code, str(error)
    return ErrorCode.INTERNAL, f"{type(error).__name__}: {error}"
