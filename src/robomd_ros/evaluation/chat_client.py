"""Client of an OpenAI-compatible chat endpoint that takes images: deadlines, retries, a limit of calls, a key that is never shown."""

from __future__ import annotations

import base64
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import cv2
import httpx
import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError, TooLargeError, UnavailableError
from robomd_ros.core.records import check_rgb

MAX_ANSWER = 1 << 20
MAX_SIDE = 4096
_TRY_AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 529}
_MAX_WAIT = 30.0


@dataclass(frozen=True)
class ChatConfig:
    """Where the endpoint is and what it may cost.

    Attributes:
        url: the API's root, "http://127.0.0.1:8000/v1"; /chat/completions is added.
        model: name that the endpoint knows.
        key: bearer token; "" = none. Never logged, never in a sentence.
        deadline: seconds that one question may take, all its tries together.
        attempts: tries of one question; too many requests, server errors and lost connections are tried again.
        max_calls: requests that may be sent in all, tries included.
        max_tokens: of one answer.
        image_side: longer side of an image that is sent [pixel]; larger ones are made smaller.
        backoff: seconds before the second try; doubled each time, unless the server says how long.
    """

    url: str
    model: str
    key: str = field(default="", repr=False)
    deadline: float = 120.0
    attempts: int = 5
    max_calls: int = 2000
    max_tokens: int = 300
    image_side: int = 336
    backoff: float = 1.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise InvalidArgumentError(
                f"endpoint {parts.hostname or self.url[:80]!r}: want http://HOST/v1 or https://HOST/v1, without a password."
            )
        if not self.model:
            raise InvalidArgumentError("endpoint: want the name of a model (ROBOMD_VLM_MODEL).")
        for name in ("deadline", "attempts", "max_calls", "max_tokens", "image_side"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InvalidArgumentError(f"endpoint: {name} {getattr(self, name)}; want above 0.")


def config_from_environment(environment: Mapping[str, str]) -> ChatConfig:
    """From ROBOMD_VLM_URL, _MODEL, _KEY and _MAX_CALLS.

    Raises:
        UnavailableError: no endpoint is given.
        InvalidArgumentError: one is malformed.
    """
    url = environment.get("ROBOMD_VLM_URL", "").strip()
    if not url:
        raise UnavailableError(
            "no endpoint was given (ROBOMD_VLM_URL, ROBOMD_VLM_MODEL, ROBOMD_VLM_KEY)."
        )
    calls = environment.get("ROBOMD_VLM_MAX_CALLS", "2000").strip()
    if not calls.isdecimal():
        raise InvalidArgumentError(f"ROBOMD_VLM_MAX_CALLS = {calls[:40]!r}: want a whole number.")
    model = environment.get("ROBOMD_VLM_MODEL", "").strip()
    key = environment.get("ROBOMD_VLM_KEY", "").strip()
    return ChatConfig(url, model, key, max_calls=int(calls))


@dataclass(frozen=True)
class Reply:
    """What the model answered.

    Attributes:
        text: its answer.
        refused: it said that it will not answer, or its answer was filtered.
    """

    text: str
    refused: bool = False


Content = list[dict[str, Any]]


def text_part(text: str) -> dict[str, Any]:
    """Text of a message."""
    return {"type": "text", "text": text}


def image_part(image: NDArray[np.uint8], side: int) -> dict[str, Any]:
    """Image of a message: (H, W, 3) uint8 RGB, made smaller to `side`, as a PNG in a data URI."""
    check_rgb(image)
    height, width = image.shape[:2]
    if max(height, width) > MAX_SIDE:
        raise TooLargeError(f"image of {width}x{height}; at most {MAX_SIDE} on a side.")
    scale = min(1.0, side / max(height, width))
    if scale < 1.0:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    _, png = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    uri = "data:image/png;base64," + base64.b64encode(png.tobytes()).decode()
    return {"type": "image_url", "image_url": {"url": uri}}


class ChatClient:
    """Asks one question at a time. Close it, or use it as a context manager."""

    def __init__(self, config: ChatConfig, pause: Callable[[float], None] = time.sleep) -> None:
        """Prepare; nothing is sent yet.

        Args:
            config: of the endpoint.
            pause: waits some seconds before another try.
        """
        self.config, self.calls = config, 0
        self._pause = pause
        self._jitter = random.Random(0)
        self._limits: dict[str, Any] = {"temperature": 0, "max_tokens": config.max_tokens}
        headers = {"Authorization": f"Bearer {config.key}"} if config.key else {}
        self._client = httpx.Client(headers=headers, follow_redirects=False)

    def __enter__(self) -> ChatClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def ask(self, messages: Sequence[Mapping[str, Any]]) -> Reply:
        """Send a conversation and return the model's answer.

        Raises:
            UnavailableError: the endpoint cannot be used: wrong key or model, no answer within the deadline and the
                tries, an answer in another form, or all calls are spent.
        """
        deadline = time.monotonic() + self.config.deadline
        reason = "no time"
        for attempt in range(self.config.attempts):
            status, body, asked_wait = self._send(messages, deadline)
            if status == 200:
                return self._reply(body)
            reason = body if status == 0 else f"HTTP {status}: {_said(body)}"
            if status == 400 and self._without_limit(body):
                continue
            if status and status not in _TRY_AGAIN:
                break
            wait = asked_wait or self.config.backoff * 2**attempt * self._jitter.uniform(0.5, 1.0)
            if attempt + 1 == self.config.attempts or time.monotonic() + wait > deadline:
                break
            self._pause(min(wait, _MAX_WAIT))
        raise self._unavailable(reason)

    def _send(
        self, messages: Sequence[Mapping[str, Any]], deadline: float
    ) -> tuple[int, str, float]:
        """Status (0 = none came), body or what went wrong, and the wait that the server asks for [s]."""
        if self.calls >= self.config.max_calls:
            raise self._unavailable(f"all {self.config.max_calls} calls are spent")
        self.calls += 1
        left = max(0.01, deadline - time.monotonic())
        body = {"model": self.config.model, "messages": list(messages), **self._limits}
        url = self.config.url.rstrip("/") + "/chat/completions"
        try:
            with self._client.stream("POST", url, json=body, timeout=left) as response:
                return response.status_code, _read(response, deadline), _wait(response)
        except httpx.HTTPError as error:
            return 0, f"{type(error).__name__}: {error}", 0.0

    def _without_limit(self, body: str) -> bool:
        """Some models take no temperature, and some call the limit max_completion_tokens: do as they say from now on."""
        said = _said(body)
        if "temperature" in said and self._limits.pop("temperature", None) is not None:
            return True
        if "max_tokens" in said and "max_tokens" in self._limits:
            self._limits["max_completion_tokens"] = self._limits.pop("max_tokens")
            return True
        return False

    def _reply(self, body: str) -> Reply:
        try:
            choice = json.loads(body)["choices"][0]
            message = choice["message"]
            text, refusal = message.get("content") or "", message.get("refusal") or ""
            filtered = choice.get("finish_reason") == "content_filter"
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            raise self._unavailable(f"its answer is no chat completion: {body[:200]!r}") from None
        if isinstance(text, list):
            text = " ".join(str(p.get("text", "")) for p in text if isinstance(p, dict))
        return Reply(str(text), bool(refusal or filtered))

    def _unavailable(self, reason: str) -> UnavailableError:
        """The sentence, without the key, which a server may repeat."""
        if self.config.key:
            reason = reason.replace(self.config.key, "***")
        host = urlsplit(self.config.url).netloc
        return UnavailableError(f"{self.config.model} at {host}: {reason[:400]}.")


def _read(response: httpx.Response, deadline: float) -> str:
    parts, length = [], 0
    for part in response.iter_bytes():
        parts.append(part)
        length += len(part)
        if length > MAX_ANSWER:
            raise httpx.ReadError(f"an answer longer than {MAX_ANSWER} bytes")
        if time.monotonic() > deadline:
            raise httpx.ReadTimeout("the answer trickles in too slowly")
    return b"".join(parts).decode("utf-8", "replace")


def _wait(response: httpx.Response) -> float:
    try:
        return max(0.0, float(response.headers.get("retry-after", "0")))
    except ValueError:
        return 0.0  # a date: wait as long as without it


def _said(body: str) -> str:
    """The error's own words."""
    try:
        error = json.loads(body)["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError, RecursionError):
        return body[:300]
