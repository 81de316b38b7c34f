"""The node graph as a child process: `robomd up`, its output in a file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from robomd_ros.core.errors import UnavailableError

_GRACE = 20.0
"""Seconds the graph has to stop its nodes; `robomd up` itself kills those that do not listen."""


class GraphProcess:
    """`robomd up` inside a `with`: started on entering, stopped with all its nodes on leaving.

    Args:
        arguments: of `robomd up`.
        log: file that gets the output of all nodes.
    """

    def __init__(self, arguments: list[str], log: Path) -> None:
        self._arguments, self.log = arguments, log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> GraphProcess:
        command = [sys.executable, "-m", "robomd_ros.cli.main", "up", *self._arguments]
        # A plain SIGTERM would leave the nodes behind.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        environment = {k: v for k, v in os.environ.items() if k != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
        with self.log.open("wb") as output:
            # A session of its own: Ctrl-C is ours to handle, so that the goal is cancelled before the nodes stop.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def check(self) -> None:
        """Raise UnavailableError with the end of the log when the graph is not running any more."""
        code = self._process.poll() if self._process is not None else None
        if code is not None:
            raise UnavailableError(
                f"the nodes stopped with exit code {code}: {self.last_words()} (all of it: {self.log})"
            )

    def wait(self) -> None:
        """Stay until the graph ends."""
        if self._process is not None:
            self._process.wait()

    def last_words(self, lines: int = 3) -> str:
        """The end of the log in one line."""
        text = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return " | ".join(text[-lines:]) or "no output"
