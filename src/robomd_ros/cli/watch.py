"""`robomd label --watch`: the operator's front end in a plain terminal, over ssh, too."""

from __future__ import annotations

import queue
import time
from collections import deque

import typer

from robomd_ros.adapters.operator_desk import OperatorDesk
from robomd_ros.cli.keys import Keys, key_line
from robomd_ros.cli.wire import Wire
from robomd_ros.core.errors import InvalidArgumentError, UnavailableError
from robomd_ros.core.operator import KEYS, REACTION, Intent, parse_line

_TURN = 0.05
_QUIT = ("q", "quit")


def watch(labeler: str, namespace: str, timeout: float) -> None:
    """Show what the cell asks and which rollout waits for a label, and take single keys, until q or Ctrl-C.

    Where standard input is no terminal, each line is one intent ("failure slipped off") that waits until there is
    something it is about, and the end of the lines is the end.

    Args:
        labeler: who labels and answers.
        namespace: of the cell.
        timeout: until a cell or a labeler must have been heard, and a line's occasion have come [s].

    Raises:
        UnavailableError: neither was.
    """
    keys = Keys()
    said: queue.Queue[str] = queue.Queue()
    with Wire(namespace) as wire, keys.raw():
        desk = OperatorDesk(wire.node, labeler, said.put, REACTION if keys.tty else 0.0)
        script = _Script(desk, said, timeout)
        typer.echo(f"{labeler}: {key_line()} · q quit")
        began = time.monotonic()
        while not (keys.ended and script.done and not desk.pending):
            for typed in keys.read(_TURN):
                if typed.strip() in _QUIT:
                    keys.ended = True
                elif keys.tty:
                    _press(desk, typed, said)
                else:
                    script.add(typed)
            script.go_on()
            desk.tick()
            _show(said, keys.tty)
            if not desk.heard and time.monotonic() - began > timeout:
                raise UnavailableError(
                    f"neither a cell nor outcome_labeler was heard for {timeout:g} s: is `robomd up` running, "
                    "with the same ROS_DOMAIN_ID?"
                )
        _show(said, keys.tty)


class _Script:
    """Lines that are carried out one after the other, each when its occasion has come; a stop at once."""

    def __init__(self, desk: OperatorDesk, said: queue.Queue[str], timeout: float) -> None:
        self._desk, self._said, self._timeout = desk, said, timeout
        self._lines: deque[tuple[Intent, str]] = deque()
        self._since = 0.0

    @property
    def done(self) -> bool:
        """No line waits."""
        return not self._lines

    def add(self, line: str) -> None:
        """Take one line."""
        try:
            intent, reason = parse_line(line)
        except InvalidArgumentError as error:
            self._said.put(str(error))
            return
        if intent is Intent.STOP and self._desk.can(intent):
            self._desk.act(intent)
            return
        self._since = self._since if self._lines else time.monotonic()
        self._lines.append((intent, reason))

    def go_on(self) -> None:
        """Carry the next line out, if it is time."""
        if not self._lines or self._desk.pending:
            return
        intent, reason = self._lines[0]
        if self._desk.can(intent) or time.monotonic() - self._since > self._timeout:
            self._lines.popleft()
            self._desk.act(intent, reason)
            self._since = time.monotonic()


def _press(desk: OperatorDesk, key: str, said: queue.Queue[str]) -> None:
    if key in KEYS:
        desk.act(KEYS[key])
    elif key.isprintable():
        said.put(f"{key!r} does nothing: {key_line()}")


def _show(said: queue.Queue[str], bell: bool) -> None:
    """Each sentence with the time; what asks for somebody rings."""
    while not said.empty():
        sentence = said.get()
        asks = bell and (sentence.endswith("waits for a label") or sentence[:7].isupper())
        typer.echo(f"{time.strftime('%H:%M:%S')} {sentence}" + ("\a" if asks else ""))
