"""The protocol between a policy in its own process and us: one frame of bytes, nothing that can run code.

A frame is a fixed head, a JSON object and the raw bytes of arrays. The head says the lengths of both, which are checked
against limits before anything is read, and carries the sequence number that an answer has to repeat. Arrays are described in
the JSON by name, dtype (a short list) and shape.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import DeadlineError, PolicyError, TooLargeError, UnavailableError

PROTOCOL_VERSION = 1
MAX_HEADER = 64 * 1024
MAX_ARRAYS = 64 * 1024 * 1024
MAX_NDIM = 4
DTYPES: Mapping[str, np.dtype[Any]] = {"uint8": np.dtype("<u1"), "float32": np.dtype("<f4")}

_MAGIC = b"RMDP"
_HEAD = struct.Struct("!4sBBQII")  # magic, version, kind, sequence, header length, arrays length


class Kind(IntEnum):
    """What a frame is: the client sends HELLO, RESET, ACT, the server OK or ERROR."""

    HELLO = 1
    RESET = 2
    ACT = 3
    OK = 4
    ERROR = 5


@dataclass(frozen=True)
class Frame:
    """One message.

    Attributes:
        kind, sequence: what it is, and which request it is or answers.
        fields: small JSON values.
        arrays: by name; uint8 or float32, at most 4 axes.
    """

    kind: Kind
    sequence: int
    fields: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def encode(frame: Frame) -> bytes:
    """Frame to bytes. Raises TooLargeError over the limits."""
    blobs, described = [], []
    for name, array in frame.arrays.items():
        dtype = array.dtype.name
        if dtype not in DTYPES or array.ndim > MAX_NDIM:
            raise PolicyError(
                f"array {name}: {dtype} with {array.ndim} axes; want {sorted(DTYPES)}, at most {MAX_NDIM}."
            )
        blobs.append(np.ascontiguousarray(array, DTYPES[dtype]).tobytes())
        described.append({"name": name, "dtype": dtype, "shape": list(array.shape)})
    header = json.dumps({"fields": dict(frame.fields), "arrays": described}).encode()
    body = b"".join(blobs)
    _check_lengths(len(header), len(body))
    head = _HEAD.pack(_MAGIC, PROTOCOL_VERSION, frame.kind, frame.sequence, len(header), len(body))
    return head + header + body


def receive(connection: socket.socket, deadline: float) -> Frame:
    """Read one frame.

    Args:
        connection: a stream socket.
        deadline: on time.monotonic() [s]; holds for the whole frame, however slowly it trickles in.

    Raises:
        DeadlineError: it was not there in time; the stream is then unusable.
        UnavailableError: the other side hung up.
        TooLargeError: it announces more than the limits.
        PolicyError: it is not a frame of this protocol.
    """
    head = _read(connection, _HEAD.size, deadline)
    magic, version, kind, sequence, header_length, arrays_length = _HEAD.unpack(head)
    if magic != _MAGIC or version != PROTOCOL_VERSION:
        raise PolicyError(
            f"the other side speaks {magic!r} version {version}; want {_MAGIC!r} version {PROTOCOL_VERSION}: "
            "is it a robomd policy server of the same release?"
        )
    _check_lengths(header_length, arrays_length)
    header = _read(connection, header_length, deadline)
    body = _read(connection, arrays_length, deadline)
    try:
        data = json.loads(header)
        fields, described = dict(data["fields"]), list(data["arrays"])
        return Frame(Kind(kind), sequence, fields, _split(described, body))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise PolicyError(f"malformed frame: {type(error).__name__}: {error}") from None


def send(connection: socket.socket, frame: Frame, deadline: float) -> None:
    """Write one frame. Raises DeadlineError, UnavailableError, TooLargeError."""
    data = encode(frame)
    connection.settimeout(_remaining(deadline))
    try:
        connection.sendall(data)
    except TimeoutError:
        raise DeadlineError("the other side did not take the message in time.") from None
    except OSError as error:
        raise UnavailableError(f"the connection is gone: {error}") from error


def _split(described: list[Any], body: bytes) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    at = 0
    for entry in described:
        dtype, shape = DTYPES[entry["dtype"]], tuple(entry["shape"])
        if len(shape) > MAX_NDIM or not all(type(n) is int and 0 <= n <= MAX_ARRAYS for n in shape):
            raise ValueError(f"array shape {str(shape)[:80]}")
        count = math.prod(shape)
        if at + count * dtype.itemsize > len(body):
            raise ValueError("arrays longer than what was sent")
        array = np.frombuffer(body, dtype, count, at).reshape(shape)
        arrays[str(entry["name"])] = array
        at += array.nbytes
    if at != len(body):
        raise ValueError(f"{len(body) - at} bytes too many")
    return arrays


def _check_lengths(header: int, arrays: int) -> None:
    if header > MAX_HEADER or arrays > MAX_ARRAYS:
        raise TooLargeError(
            f"message of {header} + {arrays} bytes; at most {MAX_HEADER} + {MAX_ARRAYS}."
        )


def _read(connection: socket.socket, size: int, deadline: float) -> bytes:
    parts, missing = [], size
    while missing:
        connection.settimeout(_remaining(deadline))
        try:
            part = connection.recv(min(missing, 1 << 20))
        except TimeoutError:
            raise DeadlineError("no answer in time.") from None
        except OSError as error:
            raise UnavailableError(f"the connection is gone: {error}") from error
        if not part:
            raise UnavailableError("the other side hung up.")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _remaining(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise DeadlineError("no answer in time.")
    return left
