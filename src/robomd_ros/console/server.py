"""The web server on a thread of its own, with NiceGUI behind the gate."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

import uvicorn
from fastapi import FastAPI
from nicegui import ui

from robomd_ros.console.gate import Gate
from robomd_ros.core.errors import UnavailableError

_CLOSING = 1.5


class WebServer:
    """Serves the app until `close`.

    Args:
        app: with the console's routes; NiceGUI's pages are mounted into it.
        host: address to listen on.
        port: 0 = any free one.
        token: see Gate.

    Raises:
        UnavailableError: the address cannot be had.
    """

    def __init__(self, app: FastAPI, host: str, port: int, token: str) -> None:
        self._socket = listen(host, port)
        self.port: int = self._socket.getsockname()[1]
        ui.run_with(
            app,
            title="RoboMD console",
            dark=None,
            tailwind=False,
            show_welcome_message=False,
            reconnect_timeout=5.0,
        )
        config = uvicorn.Config(
            Gate(app, token),
            log_level="warning",
            access_log=False,
            ws="wsproto",
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._thread = threading.Thread(target=self._run, name="console web", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])

    def close(self) -> None:
        """Stop serving; open pages see the connection close and try again."""
        self._server.should_exit = True
        self._thread.join(_CLOSING)
        self._server.force_exit = True
        self._thread.join(_CLOSING)


class _Server(uvicorn.Server):
    """Leaves the signals to the node's runner."""

    def capture_signals(self) -> Any:
        return contextlib.nullcontext()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; the address of a console that was killed a moment ago can be had again."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        out = socket.socket(family, socket.SOCK_STREAM)
        out.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        out.bind((host, port))
        out.listen(128)
    except OSError as error:
        raise UnavailableError(
            f"the console cannot listen on {host}:{port}: {error.strerror or error}; "
            "choose another port, or stop what uses it."
        ) from error
    return out
