"""Keeps the processes of the node table up: prefixed output, respawn with growing pauses, one clean stop.

circus does the work; this module names the processes, writes their parameter files and lengthens the pauses.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import yaml
from circus import get_arbiter, logger
from circus.exc import ConflictError

from robomd_ros.graph import NodeSpec

GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL."""

_LONGEST_PAUSE = 30.0
_SETTLED = 30.0
_COLORS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)


class PrefixedOutput:
    """A circus stream: whole lines of one process, each with the node's name in front."""

    def __init__(self, name: str, width: int, color: int, out: TextIO) -> None:
        tag = f"{name:<{width}} | "
        self._prefix = f"\033[{color}m{tag}\033[0m" if out.isatty() else tag
        self._out = out
        self._rest: dict[int, str] = {}

    def __call__(self, data: dict[str, Any]) -> None:
        """Take a chunk of output."""
        pid = data.get("pid", 0)
        text = self._rest.pop(pid, "") + data["data"].decode(errors="replace")
        lines = text.split("\n")
        if lines[-1]:
            self._rest[pid] = lines[-1]
        self.say(*lines[:-1])

    def say(self, *lines: str) -> None:
        """Write lines of our own under this name."""
        if lines:
            self._out.write("".join(f"{self._prefix}{line}\n" for line in lines))
            self._out.flush()


class Supervisor:
    """Runs the nodes of a table until Ctrl-C or SIGTERM.

    Args:
        table: nodes to run.
        namespace: of all of them; "" = none.
        respawn: start nodes again when they die.
        stop_with: name of a node whose end ends all; "" = none.
        out: where their output goes.
    """

    def __init__(
        self,
        table: Sequence[NodeSpec],
        namespace: str = "",
        respawn: bool = True,
        stop_with: str = "",
        out: TextIO = sys.stdout,
    ) -> None:
        self._table = table
        self._namespace = namespace
        self._respawn = respawn
        self._stop_with = stop_with
        width = max(len(spec.name) for spec in table)
        self._outputs = {
            spec.name: PrefixedOutput(spec.name, width, _COLORS[i % len(_COLORS)], out)
            for i, spec in enumerate(table)
        }
        self._pauses: dict[str, float] = {}
        self._started: dict[str, float] = {}
        self._arbiter: Any = None
        self.exit_code = 0

    def run(self) -> int:
        """Start all, stay until told to stop, stop all.

        Returns:
            0, or the exit code of the node named by `stop_with`.
        """
        logger.setLevel(logging.ERROR)
        logging.getLogger("tornado.application").addFilter(_is_news)
        with tempfile.TemporaryDirectory(prefix="robomd-") as folder:
            self._arbiter = get_arbiter(
                [self._watcher(spec, Path(folder)) for spec in self._table],
                controller=f"ipc://{folder}/control",
                pubsub_endpoint=f"ipc://{folder}/events",
                check_delay=0.5,
            )
            self._arbiter.start()
        return self.exit_code

    def _watcher(self, spec: NodeSpec, folder: Path) -> dict[str, Any]:
        return {
            "name": spec.name,
            "cmd": "nice" if spec.niceness else sys.executable,
            "args": self._arguments(spec, folder),
            "env": environment(),
            "stdout_stream": {"stream": self._outputs[spec.name]},
            "stderr_stream": {"stream": self._outputs[spec.name]},
            "graceful_timeout": GRACE,
            "max_retry": -1,
            "hooks": {
                "after_spawn": (self._after_spawn, True),
                "after_reap": (self._after_reap, True),
            },
        }

    def _arguments(self, spec: NodeSpec, folder: Path) -> list[str]:
        # nice becomes the interpreter: the process stays a child of ours.
        before = ["-n", str(spec.niceness), sys.executable] if spec.niceness else []
        arguments = [*before, "-m", spec.module, "--ros-args", "-r", f"__node:={spec.name}"]
        if self._namespace:
            arguments += ["-r", f"__ns:=/{self._namespace.strip('/')}"]
        for name, other in spec.remappings.items():
            arguments += ["-r", f"{name}:={other}"]
        if spec.params_file:
            arguments += ["--params-file", spec.params_file]
        if spec.parameters:
            path = folder / f"{spec.name}.yaml"
            content = {"/**": {"ros__parameters": dict(spec.parameters)}}
            path.write_text(yaml.safe_dump(content), encoding="utf-8")
            arguments += ["--params-file", str(path)]
        return arguments

    def _after_spawn(self, watcher: Any, **_: Any) -> bool:
        self._started[watcher.name] = time.monotonic()
        return True

    def _after_reap(self, watcher: Any, exit_code: int, **_: Any) -> bool:
        """A node died: start it again after a pause, which doubles while it keeps dying young."""
        if self._arbiter._stopping or watcher.is_stopping():
            return True
        name = watcher.name
        how = f"was killed by signal {-exit_code}" if exit_code < 0 else f"ended with {exit_code}"
        spec = next(s for s in self._table if s.name == name)
        watcher.numprocesses = 0  # circus starts nothing until it is 1 again
        if name == self._stop_with:
            self._outputs[name].say(how)
            self.exit_code = exit_code
            self._arbiter.loop.add_callback(self._arbiter.stop)
        elif not (self._respawn and spec.respawn):
            self._outputs[name].say(how)
        else:
            pause = self._pause(name)
            self._outputs[name].say(f"{how}; started again in {pause:g} s")
            self._arbiter.loop.call_later(pause, setattr, watcher, "numprocesses", 1)
        return True

    def _pause(self, name: str) -> float:
        young = time.monotonic() - self._started.get(name, 0.0) < _SETTLED
        pause = (
            min(2.0 * self._pauses[name], _LONGEST_PAUSE) if young and name in self._pauses else 0.5
        )
        self._pauses[name] = pause
        return pause


def _is_news(record: logging.LogRecord) -> bool:
    """False for circus' own tick, which complains while everything is being stopped."""
    return not (record.exc_info and isinstance(record.exc_info[1], ConflictError))


def environment() -> dict[str, str]:
    """Of the nodes: ours, with defaults that a user can override."""
    env = dict(os.environ)
    # The wheels' bootstrapper leaves its guard behind, which a child of another venv would trip over.
    env.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None)
    env.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    env.setdefault("AMENT_PREFIX_PATH", sys.prefix)
    env.setdefault("PYTHONUNBUFFERED", "1")
    env.setdefault("RCUTILS_LOGGING_BUFFERED_STREAM", "0")
    env["ROS_PYTHON_CHECK_FIELDS"] = "1"
    env["ROBOMD_PARENT"] = str(os.getpid())
    return env
