"""Put any policy behind a socket. There is no password: serve on localhost, or inside a network you trust."""

from __future__ import annotations

import logging
import socket
import socketserver
import threading
import time
from dataclasses import asdict
from typing import Any

from robomd_ros.core.errors import (
    BusyError,
    DeadlineError,
    InvalidArgumentError,
    PolicyError,
    UnavailableError,
    describe,
)
from robomd_ros.policies.base import Observation, Policy
from robomd_ros.policies.wire import PROTOCOL_VERSION, Frame, Kind, receive, send

log = logging.getLogger(__name__)

DEFAULT_PORT = 5757
SEND_TIMEOUT = 10.0


class PolicyServer:
    """Serves one policy to one client at a time; a second one is told that it is busy.

    Used as a context manager, or `start()` and `stop()`, or `serve_forever()` in the foreground.
    """

    def __init__(
        self,
        policy: Policy,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        idle_timeout: float = 600.0,
    ) -> None:
        """Bind.

        Args:
            policy: what is served; stays the caller's, who closes it.
            host: where to listen; "0.0.0.0" = on every interface, without a password.
            port: 0 = any free one, see `address`.
            idle_timeout: seconds after which a silent client is dropped, so that the next one gets its turn.

        Raises:
            UnavailableError: the address cannot be bound.
        """
        self.policy, self.idle_timeout = policy, idle_timeout
        self.turn = threading.Lock()
        try:
            self._server = _Server((host, port), _Session, self)
        except OSError as error:
            raise UnavailableError(
                f"cannot listen on {host}:{port}: {error}; choose another port."
            ) from error
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port it listens on."""
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    def serve_forever(self) -> None:
        """Serve until `stop` is called from another thread, or Ctrl-C."""
        self._server.serve_forever(poll_interval=0.1)

    def start(self) -> None:
        """Serve in a background thread."""
        self._thread = threading.Thread(
            target=self.serve_forever, name="policy-server", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; a client that is connected is hung up on."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.hang_up()
        self._server.server_close()

    def __enter__(self) -> PolicyServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: Any, owner: PolicyServer) -> None:
        self.owner = owner
        self.connections: set[socket.socket] = set()
        super().__init__(address, handler)

    def hang_up(self) -> None:
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it was faster


class _Session(socketserver.BaseRequestHandler):
    server: _Server

    def setup(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server.connections.add(self.request)

    def finish(self) -> None:
        self.server.connections.discard(self.request)

    def handle(self) -> None:
        """Answer until the client hangs up, is silent for too long, or sends what is no frame."""
        owner = self.server.owner
        has_turn = owner.turn.acquire(blocking=False)
        try:
            while True:
                frame = receive(self.request, time.monotonic() + owner.idle_timeout)
                answer = self._answer(frame) if has_turn else _refusal(frame)
                send(self.request, answer, time.monotonic() + SEND_TIMEOUT)
        except (UnavailableError, DeadlineError) as error:
            log.info("client %s: %s", self.client_address, error)
        except (PolicyError, ValueError) as error:
            log.warning("client %s dropped: %s", self.client_address, error)
        finally:
            if has_turn:
                owner.turn.release()

    def _answer(self, frame: Frame) -> Frame:
        try:
            return self._work(frame)
        except (
            Exception
        ) as error:  # the policy is the user's code: whatever it raises, the client is told
            log.warning("%s failed: %s", frame.kind.name, error)
            code, sentence = describe(error)
            return Frame(Kind.ERROR, frame.sequence, {"code": int(code), "error": sentence[:2000]})

    def _work(self, frame: Frame) -> Frame:
        policy = self.server.owner.policy
        if frame.kind is Kind.HELLO:
            fields = {"protocol": PROTOCOL_VERSION, "info": asdict(policy.info)}
            return Frame(Kind.OK, frame.sequence, fields)
        if frame.kind is Kind.RESET:
            policy.reset(int(frame.fields["seed"]))
            return Frame(Kind.OK, frame.sequence)
        if frame.kind is Kind.ACT:
            action = policy.act(_observation(frame))
            return Frame(Kind.OK, frame.sequence, arrays={"action": action})
        raise InvalidArgumentError(f"a client sends HELLO, RESET or ACT; got {frame.kind.name}.")


def _refusal(frame: Frame) -> Frame:
    error = BusyError("the policy serves another client; try again when that one is done.")
    return Frame(Kind.ERROR, frame.sequence, {"code": int(error.code), "error": str(error)})


def _observation(frame: Frame) -> Observation:
    try:
        return Observation(
            frame.arrays["image"], frame.arrays["proprio"], float(frame.fields["stamp"])
        )
    except KeyError as error:
        raise InvalidArgumentError(
            f"ACT wants image, proprio and stamp; {error} is missing."
        ) from None
