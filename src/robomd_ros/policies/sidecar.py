"""A policy in a process and environment of its own, started and ended for the user: `robomimic:PATH.pth`.

The sidecar (sidecars/child.py) loads the policy there and serves it on localhost; here it is a RemotePolicy. Nothing of
the other side is ever unpickled here. The process ends when the policy is closed and when this process dies, however it dies:
then its standard input ends.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import PolicyError, RobomdError, StorageError
from robomd_ros.policies.base import Observation, PolicyInfo
from robomd_ros.policies.remote import RemotePolicy
from robomd_ros.policies.sidecars import child
from robomd_ros.policies.sidecars.environment import python_of
from robomd_ros.policies.sidecars.kinds import kind_of

START_TIMEOUT = 180.0  # [s] a library as large as torch, read from a cold disk
END_TIMEOUT = 3.0

_LEFT_OUT = {"PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"}
T = TypeVar("T")


def load_sidecar(name: str, argument: str, act_timeout: float = 1.0) -> SidecarPolicy:
    """Start the sidecar of a family and connect to it.

    Args:
        name: of the family, e.g. "robomimic".
        argument: what its factory is called with, e.g. the path of a checkpoint.
        act_timeout: seconds one action may take.

    Raises:
        UnknownIdError: no such family.
        StorageError: no such file.
        UnavailableError: its environment is not there; the sentence says how to make it.
        PolicyError: the policy cannot be loaded there.
    """
    kind = kind_of(name)
    if kind.takes_path:
        path = Path(argument).expanduser()
        if not argument or not path.exists():
            raise StorageError(f"{name}:{argument}: there is no such file or folder.")
        argument = str(path.resolve())
    command = [str(python_of(kind)), child.__file__, kind.factory, argument]
    return SidecarPolicy(f"{name}:{argument}", command, act_timeout)


@dataclass
class SidecarPolicy:
    """A policy behind a process that is ours.

    After any trouble with the process or the connection, the process is ended; the next `reset` starts a new one. What the
    policy itself raises is passed on, and the process stays.

    Attributes:
        spec: what the user asked for, for sentences.
        command: that starts the sidecar.
        act_timeout: seconds one action may take.
        start_timeout: seconds the sidecar may take to load the policy.
    """

    spec: str
    command: Sequence[str]
    act_timeout: float = 1.0
    start_timeout: float = START_TIMEOUT
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _remote: RemotePolicy | None = field(default=None, init=False, repr=False)
    _words: IO[bytes] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self._info = self._start().info

    @property
    def info(self) -> PolicyInfo:
        """What the policy needs and gives, as it said when it was first started."""
        return self._info

    def reset(self, seed: int) -> None:
        """Start a new rollout, with a new process where the last one is gone. Raises PolicyError."""
        remote = self._remote or self._start()
        self._guarded(remote, lambda: remote.reset(seed))

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """One action. Raises PolicyError."""
        remote = self._remote
        if remote is None:
            raise PolicyError(f"{self.spec}: its process is not running; reset starts a new one.")
        return self._guarded(remote, lambda: remote.act(observation))

    def close(self) -> None:
        """End the process."""
        self._end()

    def _start(self) -> RemotePolicy:
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 it lives as long as the process
        try:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._words,
                env=sidecar_environment(os.environ),
                start_new_session=True,  # Ctrl-C is for us; it ends when we close its standard input
            )
        except OSError as error:
            raise PolicyError(f"{self.spec}: cannot start {self.command[0]}: {error}.") from error
        try:
            port = self._announced(self._process)
            remote = RemotePolicy("127.0.0.1", port, self.act_timeout)
        except RobomdError:
            self._end()
            raise
        known = getattr(self, "_info", remote.info)
        if known != remote.info:
            remote.close()
            self._end()
            raise PolicyError(
                f"{self.spec}: is now {remote.info.id}, was {known.id}: load the policy anew."
            )
        self._remote = remote
        return remote

    def _announced(self, process: subprocess.Popen[bytes]) -> int:
        """Port that the sidecar says it listens on."""
        assert process.stdout is not None
        line = _read_line(process.stdout, time.monotonic() + self.start_timeout)
        try:
            said: Any = json.loads(line or b"{}")
            if "error" in said:
                raise PolicyError(f"{self.spec}: {said['error']}")
            return int(said["port"])
        except (ValueError, KeyError, TypeError):
            how = "said nothing" if line is None else "ended before it was ready"
            reason = f" within {self.start_timeout:g} s" if line is None else self._end()
            raise PolicyError(f"{self.spec}: its process {how}{reason}.") from None

    def _guarded(self, remote: RemotePolicy, call: Callable[[], T]) -> T:
        try:
            return call()
        except RobomdError as error:
            if remote.connected:
                raise  # the policy's own error: its process is well
            raise PolicyError(f"{self.spec}: {error}{self._end()}") from error

    def _end(self) -> str:
        """End the process; says how it ended where it was not us who ended it."""
        if self._remote is not None:
            self._remote.close()
            self._remote = None
        process, self._process = self._process, None
        if process is None:
            return ""
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            code = process.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
            return " It did not answer any more and was killed."
        finally:
            process.stdout.close()
        return f" (exit code {code}){self._last_words()}" if code else ""

    def _last_words(self) -> str:
        if self._words is None:
            return ""
        size = self._words.seek(0, os.SEEK_END)
        self._words.seek(max(0, size - 4096))
        lines = [
            line.strip() for line in self._words.read().decode("utf-8", "replace").splitlines()
        ]
        said = [line for line in lines if line]
        return f": {said[-1][:300]}" if said else ""


def sidecar_environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Our environment variables without those that would mix our packages into another environment's; one thread."""
    kept = {name: value for name, value in ours.items() if name not in _LEFT_OUT}
    return kept | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def _read_line(stream: IO[bytes], deadline: float) -> bytes | None:
    """One line, what there was before the stream ended, or None at the deadline."""
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return None
            part = os.read(stream.fileno(), 4096)
            if not part:
                break
            line += part
    return line
