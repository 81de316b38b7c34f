"""Keys from a plain terminal, one by one, and lines from anything else."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from robomd_ros.core.operator import KEYS

_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Za-z]|\x1b")
"""Arrow and function keys: one sequence each, whose letters nobody has typed."""


class Keys:
    """Standard input as a stream of what the operator typed, inside a `with`.

    A terminal gives single keys without Enter (ssh and tmux, too), and has its old mode back afterwards, however the
    program ends: Ctrl-C, SIGTERM and SIGHUP included, SIGKILL not. Anything else gives whole lines.

    Attributes:
        tty: standard input is a terminal.
    """

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno()
        self.tty = os.isatty(self._fd)
        self._buffer = b""
        self.ended = False

    @contextlib.contextmanager
    def raw(self) -> Iterator[Keys]:
        """Read keys; the terminal is given back at the end."""
        if not self.tty:
            yield self
            return
        before = termios.tcgetattr(self._fd)
        handlers = {s: signal.signal(s, _leave) for s in (signal.SIGTERM, signal.SIGHUP)}
        handlers[signal.SIGCONT] = signal.signal(signal.SIGCONT, lambda *_: tty.setcbreak(self._fd))
        try:
            tty.setcbreak(self._fd)
            yield self
        finally:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, before)
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def read(self, timeout: float) -> list[str]:
        """What was typed since the last call, waited for at most `timeout` seconds; `ended` is set at the end of input."""
        if self.ended or not select.select([self._fd], [], [], timeout)[0]:
            return []
        data = os.read(self._fd, 4096)
        self.ended = not data
        if self.tty:
            return list(_ESCAPES.sub("", data.decode(errors="replace")))
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if self.ended and self._buffer:
            lines.append(self._buffer)
        return [line.decode(errors="replace") for line in lines if line.strip()]


def key_line() -> str:
    """What the keys do, on one line."""
    shown = {" ": "Space", "\r": "Enter"}
    names: dict[str, list[str]] = {}
    for key, intent in KEYS.items():
        if key != "\n":
            names.setdefault(intent, []).append(shown.get(key, key))
    return " · ".join(f"{'/'.join(keys)} {intent}" for intent, keys in names.items())


def _leave(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
