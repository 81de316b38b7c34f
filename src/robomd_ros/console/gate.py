"""Who may use the console: this machine only, or whoever has the token; and no page of another site."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import secrets
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from robomd_ros.core.errors import StorageError

COOKIE = "robomd_console"
_YEAR = 31_536_000


def is_loopback(host: str) -> bool:
    """Is this name or address one that only this machine reaches?"""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def kept_token() -> str:
    """A token of this user's own, made once: a console that was killed and came back still knows its browsers.

    Raises:
        StorageError: it cannot be kept.
    """
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    path = Path(state) / "robomd" / "console_token"
    try:
        if not path.exists() or not path.read_text().strip():
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(fresh, "w") as file:
                file.write(secrets.token_urlsafe(16))
        return path.read_text().strip()
    except OSError as error:
        raise StorageError(
            f"the console's token cannot be kept in {path}: {error}; give the parameter token instead."
        ) from error


class Gate:
    """ASGI middleware before everything: pages, pictures, websocket.

    With a token a request wants the cookie that the first visit with `?token=` sets. Without one the Host header has to
    name this machine, so that no name somebody else points here (DNS rebinding) gets in. A request that a browser sends
    on behalf of another site's page (its Origin is not our Host) is refused either way.

    Args:
        app: what is behind.
        token: "" = none is wanted.
    """

    def __init__(self, app: Any, token: str = "") -> None:
        self.app = app
        self._token = token
        self._pass = hashlib.sha256(f"robomd console {token}".encode()).hexdigest()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Let through, hand out the cookie, or refuse."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        why = self._why_not(headers)
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = dict(query).get("token", "")
        if not why and self._token and scope["type"] == "http" and self._equal(given, self._token):
            rest = urlencode([(k, v) for k, v in query if k != "token"])
            await self._welcome(scope["path"] + (f"?{rest}" if rest else ""), send)
        elif why or (self._token and not self._has_cookie(headers)):
            await _refuse(
                scope, send, why or "this console wants its token: open the address with ?token=..."
            )
        else:
            await self.app(scope, receive, send)

    def _why_not(self, headers: dict[str, str]) -> str:
        host = headers.get("host", "")
        origin = headers.get("origin", "")
        if origin and urlsplit(origin).netloc != host:
            return f"a page of {origin[:100]} may not use this console."
        if not self._token and not is_loopback(urlsplit(f"//{host}").hostname or ""):
            return f"this console answers to this machine only, not to {host[:100]!r}."
        return ""

    def _has_cookie(self, headers: dict[str, str]) -> bool:
        cookies = SimpleCookie(headers.get("cookie", ""))
        return COOKIE in cookies and self._equal(cookies[COOKIE].value, self._pass)

    async def _welcome(self, path: str, send: Any) -> None:
        # A path that begins with two slashes would lead to another host.
        place = "/" + path.lstrip("/")
        cookie = f"{COOKIE}={self._pass}; Path=/; Max-Age={_YEAR}; HttpOnly; SameSite=Lax"
        await _respond(
            send, 303, b"", [(b"location", place.encode()), (b"set-cookie", cookie.encode())]
        )

    @staticmethod
    def _equal(given: str, wanted: str) -> bool:
        return hmac.compare_digest(given.encode(), wanted.encode())


async def _refuse(scope: Any, send: Any, why: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})  # before accept: the browser sees 403
    else:
        await _respond(
            send, 403, f"{why}\n".encode(), [(b"content-type", b"text/plain; charset=utf-8")]
        )


async def _respond(send: Any, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    headers = [*headers, (b"cache-control", b"no-store"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
