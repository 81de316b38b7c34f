"""A policy behind an openpi server (pi0, pi0-FAST, pi0.5): WebSocket and MessagePack, as openpi-client speaks them.

The server sends its metadata first, then answers each observation with a chunk of actions (H, D), of which the first steps
are executed before it is asked again. Its protocol has no sequence numbers: there is one request in flight, a message that
nobody asked for is an error, and after any trouble the connection is closed, so a late answer is never read.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError, PolicyError, RobomdError, UnavailableError
from robomd_ros.policies.base import MAX_ACTION_DIM, Observation, PolicyInfo, check_action
from robomd_ros.policies.loader import parse_address
from robomd_ros.policies.mapping import MAX_CHUNK, PolicyMapping
from robomd_ros.policies.msgpack_numpy import pack, unpack
from robomd_ros.policies.openpi_mapping import load_mapping, presets
from robomd_ros.policies.websocket import WebSocket, http_status

MAX_MESSAGE = 16 * 1024 * 1024
KEY_VARIABLE = "ROBOMD_OPENPI_KEY"
"""Environment variable with the server's API key, where it wants one."""
_ALIVE = (200, 426)  # 426 Upgrade Required: a server of before /healthz


@dataclass
class OpenpiPolicy:
    """Client of an openpi server.

    Attributes:
        host, port: of the server.
        mapping: what it is sent, and what its actions mean.
        act_timeout: seconds an answer may take.
        reset_timeout: seconds connecting and the very first answer may take each; a server compiles then.
    """

    host: str
    port: int
    mapping: PolicyMapping
    act_timeout: float = 1.0
    reset_timeout: float = 120.0
    metadata: dict[str, Any] = field(default_factory=dict, init=False)
    _socket: WebSocket | None = field(default=None, init=False, repr=False)
    _chunk: deque[NDArray[np.float32]] = field(default_factory=deque, init=False, repr=False)

    def __post_init__(self) -> None:
        check_health(self.host, self.port, min(10.0, self.reset_timeout))
        self.metadata = self._connect()
        self._info = replace(self.mapping.info, id=self._id())
        self._ask(self._blank(), self.reset_timeout)
        self._chunk.clear()

    @property
    def info(self) -> PolicyInfo:
        """The mapping's, its id with a hash of mapping and metadata; the server does not say which weights it has."""
        return self._info

    def reset(self, seed: int) -> None:
        """Start a new rollout on a new connection. The seed stays here: the protocol has none. Raises PolicyError."""
        self.close()
        try:
            metadata = self._connect()
        except UnavailableError as error:
            raise PolicyError(str(error)) from error
        if pack(metadata) != pack(self.metadata):
            self.close()
            raise PolicyError(
                f"{self._where}: another policy is served now, its metadata changed: load it anew."
            )

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """One action; asks the server when the last chunk is used up.

        Raises:
            PolicyError: the answer is late, missing, an error, or no actions.
        """
        self._check_quiet()
        if not self._chunk:
            self._ask(observation, self.act_timeout)
        parts = self.mapping.parts(observation.proprio)
        return check_action(self._info, self.mapping.actions.convert(self._chunk.popleft(), parts))

    def close(self) -> None:
        """Hang up, and forget what is left of the chunk."""
        self._chunk.clear()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @property
    def _where(self) -> str:
        return f"policy at openpi://{self.host}:{self.port}"

    def _id(self) -> str:
        """Another prompt, mapping or metadata is another policy."""
        known = repr((self.mapping, json.dumps(self.metadata, default=repr, sort_keys=True)))
        return f"{self.mapping.info.id}-{hashlib.sha256(known.encode()).hexdigest()[:8]}"

    def _blank(self) -> Observation:
        """A grey image and the hand at the origin: what the very first request shows."""
        info = self.mapping.info
        parts = {name: np.zeros(size, np.float32) for name, size in self.mapping.sizes.items()}
        if "eef_quat" in parts:
            parts["eef_quat"][3] = 1.0
        proprio = np.concatenate([np.zeros(0, np.float32), *parts.values()])
        return Observation(
            np.full((info.image_height, info.image_width, 3), 127, np.uint8), proprio, 0.0
        )

    def _connect(self) -> dict[str, Any]:
        """Open the connection and read the metadata. Raises UnavailableError, PolicyError."""
        key = os.environ.get(KEY_VARIABLE, "")
        headers = {"Authorization": f"Api-Key {key}"} if key else {}
        deadline = time.monotonic() + self.reset_timeout
        try:
            self._socket = WebSocket(self.host, self.port, headers, deadline, MAX_MESSAGE)
        except RobomdError as error:
            raise UnavailableError(
                f"{self._where}: {error} Start it with openpi's scripts/serve_policy.py."
            ) from error
        metadata = self._receive(deadline, "the metadata", self.reset_timeout)
        if not isinstance(metadata, dict):
            self.close()
            raise PolicyError(
                f"{self._where}: its first message is a {type(metadata).__name__}; want a map of metadata."
            )
        return metadata

    def _check_quiet(self) -> None:
        """Answer pings; a message now is one that nobody asked for."""
        if self._socket is None:
            raise PolicyError(f"{self._where}: not connected; reset starts a new rollout.")
        try:
            if self._socket.pending(time.monotonic() + self.act_timeout):
                raise PolicyError("it sent a message that nobody asked for.")
        except RobomdError as error:
            self.close()
            raise PolicyError(f"{self._where}: {error}") from error

    def _ask(self, observation: Observation, timeout: float) -> None:
        """Send one observation and take the chunk that answers it."""
        assert self._socket is not None
        image, parts = observation.image, self.mapping.parts(observation.proprio)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise PolicyError(
                f"{self._where}: image wants (H, W, 3) uint8 RGB; got {image.dtype} {image.shape}."
            )
        request = pack(self.mapping.message(observation, parts))
        deadline = time.monotonic() + timeout
        try:
            self._socket.send(request, deadline)
        except RobomdError as error:
            self.close()
            raise PolicyError(f"{self._where}: {error}") from error
        answer = self._receive(deadline, "an observation", timeout)
        try:
            self._chunk = deque(self._actions(answer)[: self.mapping.chunk_steps])
        except PolicyError:
            self.close()
            raise

    def _receive(self, deadline: float, what: str, timeout: float) -> Any:
        assert self._socket is not None
        try:
            message = self._socket.receive(deadline)
            if isinstance(message, bytes):
                return unpack(message)
        except TimeoutError:
            self.close()
            raise PolicyError(f"{self._where}: no answer to {what} within {timeout:g} s.") from None
        except RobomdError as error:
            self.close()
            raise PolicyError(f"{self._where}: {error}") from error
        self.close()  # a text is a traceback, and the server hangs up after it
        reason = ([line.strip() for line in message.splitlines() if line.strip()] or ["?"])[-1]
        raise PolicyError(f"{self._where}: it failed: {reason[:500]}")

    def _actions(self, answer: Any) -> NDArray[np.float32]:
        """(H, D) float32 out of an answer."""
        key, info = self.mapping.actions.key, self._info
        found = answer.get(key) if isinstance(answer, dict) else None
        if not isinstance(found, np.ndarray) or found.dtype.kind not in "iuf":
            keys = sorted(map(str, answer))[:10] if isinstance(answer, dict) else "no map"
            raise PolicyError(f"{self._where}: its answer holds no array {key!r}; it has {keys}.")
        if found.ndim != 2 or found.shape[1] != info.action_dim or len(found) > MAX_CHUNK:
            raise PolicyError(
                f"{self._where}: its {key} have shape {found.shape}; the mapping says (H, {info.action_dim}), at most "
                f"{MAX_CHUNK} x {MAX_ACTION_DIM}."
            )
        if len(found) < self.mapping.chunk_steps:
            raise PolicyError(
                f"{self._where}: a chunk has {len(found)} actions; the mapping executes {self.mapping.chunk_steps}: lower "
                "chunk_steps."
            )
        actions = found.astype(np.float32)
        if not np.isfinite(actions[: self.mapping.chunk_steps]).all():
            raise PolicyError(f"{self._where}: its {key} are not all finite.")
        return actions


def check_health(host: str, port: int, timeout: float) -> None:
    """Ask GET /healthz. Raises UnavailableError where nobody answers, or not as an openpi server does."""
    where = f"openpi://{host}:{port}"
    try:
        status = http_status(host, port, "/healthz", time.monotonic() + timeout)
    except RobomdError as error:
        raise UnavailableError(
            f"no openpi server at {where}: {error} Start it with openpi's scripts/serve_policy.py."
        ) from error
    if status not in _ALIVE:
        raise UnavailableError(
            f"{where} answers /healthz with HTTP {status}; want 200: is it an openpi server, and is it healthy?"
        )


def load_openpi(rest: str, act_timeout: float = 1.0) -> OpenpiPolicy:
    """Connect to "//HOST:PORT?mapping=NAME_OR_PATH&prompt=TEXT".

    Raises:
        InvalidArgumentError: the address or its mapping is malformed.
        StorageError: the mapping cannot be read.
        UnavailableError: no such server.
        PolicyError: the server's first answer is no actions of this mapping.
    """
    address, _, query = rest.removeprefix("//").partition("?")
    try:
        asked = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError as error:
        raise InvalidArgumentError(f"openpi:{rest[:120]}: {error}.") from None
    if set(asked) - {"mapping", "prompt"} or not asked.get("mapping"):
        raise InvalidArgumentError(
            f"openpi:{rest[:120]}: want openpi://HOST:PORT?mapping=M and perhaps &prompt=TEXT; M is "
            f"{', '.join(presets())} or a JSON file, because an openpi server does not say what it wants."
        )
    mapping = load_mapping(asked["mapping"], asked.get("prompt", ""))
    host, port = parse_address(address.rstrip("/"))
    return OpenpiPolicy(host, port, mapping, act_timeout)
