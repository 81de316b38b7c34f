"""A policy in another process or on another machine, over TCP. See wire.py for the protocol, serve.py for the server."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import DeadlineError, PolicyError, RobomdError, UnavailableError
from robomd_ros.policies.base import Observation, PolicyInfo, check_action, info_from_dict
from robomd_ros.policies.wire import PROTOCOL_VERSION, Frame, Kind, receive, send


@dataclass
class RemotePolicy:
    """Client of a policy server.

    Every call has a deadline. An answer counts only if it repeats the sequence number of the request it answers; after
    any trouble the connection is closed, so an answer that comes late is never read. The next `reset` connects anew.

    Attributes:
        host, port: of the server.
        act_timeout: seconds one action may take, transport included.
        reset_timeout: seconds connecting, the greeting and a reset may take each; a server may load a model then.
    """

    host: str
    port: int
    act_timeout: float = 1.0
    reset_timeout: float = 30.0
    _connection: socket.socket | None = field(default=None, init=False, repr=False)
    _sequence: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        self._info = self._connect()

    @property
    def info(self) -> PolicyInfo:
        """What the server said when it was first greeted."""
        return self._info

    @property
    def connected(self) -> bool:
        """The connection is well: what was raised last came from the policy itself."""
        return self._connection is not None

    def reset(self, seed: int) -> None:
        """Start a new rollout; connects again where the connection was lost. Raises PolicyError."""
        if self._connection is None:
            info = self._connect()
            if info != self._info:
                self.close()
                raise PolicyError(
                    f"{self._where}: now serves {info.id}, was {self._info.id}: load the policy anew."
                )
        self._call(Frame(Kind.RESET, 0, {"seed": int(seed)}), self.reset_timeout)

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """One action. Raises PolicyError when it is late, missing, stale or not an action."""
        request = Frame(
            Kind.ACT,
            0,
            {"stamp": float(observation.stamp)},
            {"image": observation.image, "proprio": np.asarray(observation.proprio, np.float32)},
        )
        answer = self._call(request, self.act_timeout)
        if "action" not in answer.arrays:
            raise PolicyError(f"{self._where}: its answer holds no action.")
        return check_action(self._info, answer.arrays["action"])

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def _where(self) -> str:
        return f"policy at tcp://{self.host}:{self.port}"

    def _connect(self) -> PolicyInfo:
        try:
            self._connection = socket.create_connection((self.host, self.port), self.reset_timeout)
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise UnavailableError(
                f"{self._where}: cannot connect: {error}; start it with `robomd policy serve`."
            ) from error
        answer = self._call(
            Frame(Kind.HELLO, 0, {"protocol": PROTOCOL_VERSION}), self.reset_timeout
        )
        try:
            return info_from_dict(answer.fields.get("info"))
        except RobomdError as error:
            self.close()
            raise PolicyError(f"{self._where}: {error}") from error

    def _call(self, request: Frame, timeout: float) -> Frame:
        if self._connection is None:
            raise PolicyError(f"{self._where}: not connected; reset starts a new rollout.")
        self._sequence += 1
        request = Frame(request.kind, self._sequence, request.fields, request.arrays)
        deadline = time.monotonic() + timeout
        try:
            send(self._connection, request, deadline)
            answer = receive(self._connection, deadline)
        except DeadlineError:
            self.close()
            raise PolicyError(
                f"{self._where}: no answer to {request.kind.name} within {timeout:g} s."
            ) from None
        except RobomdError as error:
            self.close()
            raise PolicyError(f"{self._where}: {error}") from error
        return self._accept(request, answer)

    def _accept(self, request: Frame, answer: Frame) -> Frame:
        if answer.sequence != request.sequence:
            self.close()
            raise PolicyError(
                f"{self._where}: answered request {answer.sequence}, asked was {request.sequence}; a stale answer is never used."
            )
        if answer.kind is Kind.ERROR:
            raise PolicyError(
                f"{self._where}: {str(answer.fields.get('error', 'no reason given'))[:500]}"
            )
        if answer.kind is not Kind.OK:
            self.close()
            raise PolicyError(f"{self._where}: answered {answer.kind.name}; want OK or ERROR.")
        return answer
