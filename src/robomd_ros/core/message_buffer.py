"""The newest messages of any topics, to be cut into rollouts afterwards."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from robomd_ros.core.records import RawMessage

TF_STATIC = "/tf_static"
"""Has many publishers, and what each of them said last stays true: all of it is kept, not the last message only."""

_JUMP = 1_000_000_000
_OVERHEAD = 200
"""Bytes that Python needs for a message besides its data."""
_MAX_STATIC = 64


class CameraClock:
    """The time in the camera's clock when something without a stamp of that clock arrives.

    A real camera is stamped with the wall clock, so that is read. Where stamps are far from it (a simulator), the newest
    stamp heard is the time.

    Attributes:
        is_wall: the camera's clock is the wall clock.
    """

    def __init__(self) -> None:
        self._newest = 0
        self.is_wall = True

    def hear(self, stamp: int, wall: int) -> bool:
        """A stamp of the camera's clock arrived at `wall`, both in nanoseconds. True = what was read before is void."""
        is_wall = abs(wall - stamp) < 10 * _JUMP
        jumped = is_wall != self.is_wall or stamp < self._newest - _JUMP
        self._newest, self.is_wall = stamp, is_wall
        return jumped

    def read(self, wall: int) -> int:
        """Now, in nanoseconds of the camera's clock."""
        return wall if self.is_wall else self._newest


class MessageBuffer:
    """Keeps messages up to a limit of memory; of latched topics what was said last is never forgotten.

    Args:
        max_bytes: of the messages kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._messages: deque[RawMessage] = deque()
        self._known = _Known()
        self._forgotten = 0  # stamp of the newest message that had to make room

    def add(self, message: RawMessage) -> None:
        """Keep a message. A jump back of the clock starts anew."""
        if self._messages and message.stamp < self._messages[-1].stamp - _JUMP:
            self.restart()
        self._messages.append(message)
        self._bytes += len(message.data) + _OVERHEAD
        while self._bytes > self._max_bytes:
            old = self._messages.popleft()
            self._bytes -= len(old.data) + _OVERHEAD
            self._forgotten = max(self._forgotten, old.stamp)
            self._known.update([old])

    def restart(self) -> None:
        """The clock jumped: of what came until now only what latched topics said last still counts."""
        self._known.update(self._messages)
        self._messages.clear()
        self._bytes = self._forgotten = 0

    def between(self, start: int, end: int) -> tuple[RawMessage, ...]:
        """What latched topics said before `start`, stamped with it, and the messages of the closed interval [ns]."""
        known = self._known.copy()
        known.update(m for m in self._messages if m.stamp < start)
        inside = sorted(
            (m for m in self._messages if start <= m.stamp <= end), key=lambda m: m.stamp
        )
        return (*(replace(m, stamp=start) for m in known.values()), *inside)

    def is_whole_since(self, start: int) -> bool:
        """Nothing from `start` on had to make room."""
        return self._forgotten < start


class _Known(dict[tuple[str, bytes], RawMessage]):
    """The last message of each latched topic, in the order in which they were said."""

    def update(self, messages: Iterable[RawMessage]) -> None:  # type: ignore[override]
        for message in messages:
            if message.latched:
                key = (message.topic, message.data if message.topic == TF_STATIC else b"")
                self.pop(key, None)
                self[key] = message
        static = [key for key in self if key[0] == TF_STATIC]
        for key in static[:-_MAX_STATIC]:
            del self[key]

    def copy(self) -> _Known:
        return _Known(self)
