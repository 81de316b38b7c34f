"""A WebSocket client with a deadline on every call and a limit on every message; no threads of its own.

Deadlines are on time.monotonic() [s] and hold for a whole call, however slowly an answer trickles in.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Mapping

from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, PayloadTooBig
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from robomd_ros.core.errors import DeadlineError, TooLargeError, UnavailableError

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})\b")


class WebSocket:
    """One connection. After any error it is unusable: close it."""

    def __init__(
        self, host: str, port: int, headers: Mapping[str, str], deadline: float, max_size: int
    ) -> None:
        """Connect and shake hands.

        Args:
            host: of the server.
            port: of the server.
            headers: sent with the handshake.
            deadline: of the handshake.
            max_size: longest message that is taken [byte].

        Raises:
            UnavailableError: nobody listens, or it is no WebSocket server.
            DeadlineError: no handshake in time.
        """
        name = f"[{host}]" if ":" in host else host
        self._protocol = ClientProtocol(parse_uri(f"ws://{name}:{port}"), max_size=max_size)
        self._parts: list[bytes] = []
        self._is_text = False
        self._messages: list[str | bytes] = []
        self._socket = _connect(host, port, deadline)
        try:
            self._shake_hands(headers, deadline)
        except BaseException:
            self.close()
            raise

    def send(self, message: bytes, deadline: float) -> None:
        """Send one message, which answers what has arrived before (pings) first. Raises DeadlineError, UnavailableError."""
        try:
            self._protocol.send_binary(message)
        except ConnectionClosed as error:
            raise UnavailableError(f"the connection is closed: {error}.") from None
        self._flush(deadline)

    def receive(self, deadline: float) -> str | bytes:
        """The next message. Raises DeadlineError, UnavailableError, TooLargeError."""
        while not self._messages:
            self._read(deadline)
        return self._messages.pop(0)

    def pending(self, deadline: float) -> bool:
        """A message is here already? Reads what has arrived, without waiting. Raises DeadlineError, UnavailableError."""
        while not self._messages:
            _remaining(deadline)
            self._socket.setblocking(False)
            try:
                data = self._socket.recv(1 << 20)
            except (BlockingIOError, InterruptedError):
                return False
            except OSError as error:
                raise UnavailableError(f"the connection is gone: {error}.") from error
            self._take(data, deadline)
        return True

    def close(self) -> None:
        """Hang up without ceremony: nothing that comes later is read."""
        self._socket.close()

    def _shake_hands(self, headers: Mapping[str, str], deadline: float) -> None:
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = self._protocol.connect()
        request.headers.update(headers)
        self._protocol.send_request(request)
        self._flush(deadline)
        while self._protocol.state is State.CONNECTING:
            self._read(deadline)

    def _read(self, deadline: float) -> None:
        self._take(_receive(self._socket, deadline), deadline)

    def _take(self, data: bytes, deadline: float) -> None:
        protocol = self._protocol
        if data:
            protocol.receive_data(data)
        else:
            protocol.receive_eof()
        for event in protocol.events_received():
            if isinstance(event, Frame):
                self._add(event)
        if protocol.handshake_exc is not None:
            raise UnavailableError(f"no WebSocket: {protocol.handshake_exc}.") from None
        if isinstance(protocol.parser_exc, PayloadTooBig):
            raise TooLargeError(f"its message is too long: {protocol.parser_exc}.")
        self._flush(deadline)  # pongs, and our half of a close
        if not self._messages and protocol.state in (State.CLOSING, State.CLOSED):
            raise UnavailableError(f"the other side hung up{self._reason()}.")

    def _reason(self) -> str:
        received = self._protocol.close_rcvd
        return f": {received.code} {received.reason}".rstrip() if received else ""

    def _add(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._is_text, self._parts = frame.opcode is Opcode.TEXT, []
        elif frame.opcode is not Opcode.CONT:
            return
        self._parts.append(bytes(frame.data))
        if frame.fin:
            whole = b"".join(self._parts)
            self._parts = []
            self._messages.append(whole.decode(errors="replace") if self._is_text else whole)

    def _flush(self, deadline: float) -> None:
        for data in self._protocol.data_to_send():
            self._socket.settimeout(_remaining(deadline))
            try:
                if data:
                    self._socket.sendall(data)
                else:
                    self._socket.shutdown(socket.SHUT_WR)
            except TimeoutError:
                raise DeadlineError("the other side did not take the message in time.") from None
            except OSError as error:
                if self._protocol.state is State.OPEN:
                    raise UnavailableError(f"the connection is gone: {error}.") from error


def http_status(host: str, port: int, path: str, deadline: float) -> int:
    """The status of GET path; the body is not read. Raises DeadlineError, UnavailableError."""
    head = b""
    with _connect(host, port, deadline) as connection:
        request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
        connection.settimeout(_remaining(deadline))
        try:
            connection.sendall(request.encode())
        except OSError as error:
            raise UnavailableError(f"the connection is gone: {error}.") from error
        while b"\n" not in head and len(head) < 1024:
            part = _receive(connection, deadline)
            if not part:
                break
            head += part
    found = _STATUS.match(head)
    if found is None:
        raise UnavailableError(f"it does not speak HTTP: {head[:40]!r}.")
    return int(found[1])


def _connect(host: str, port: int, deadline: float) -> socket.socket:
    try:
        return socket.create_connection((host, port), _remaining(deadline))
    except TimeoutError:
        raise DeadlineError("cannot connect in time.") from None
    except OSError as error:
        raise UnavailableError(f"cannot connect: {error}.") from error


def _receive(connection: socket.socket, deadline: float) -> bytes:
    connection.settimeout(_remaining(deadline))
    try:
        return connection.recv(1 << 20)
    except TimeoutError:
        raise DeadlineError("no answer in time.") from None
    except OSError as error:
        raise UnavailableError(f"the connection is gone: {error}.") from error


def _remaining(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise DeadlineError("no answer in time.")
    return left
