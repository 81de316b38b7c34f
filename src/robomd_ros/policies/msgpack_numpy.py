"""MessagePack with NumPy arrays as maps, byte for byte what openpi-client sends and takes.

openpi-client itself cannot be a dependency, it wants another NumPy than ROS does. An array is the map {b"__ndarray__": True,
b"data", b"dtype", b"shape"}, a NumPy scalar {b"__npgeneric__": True, b"data", b"dtype"}. Numbers only: nothing that is
read here can run code, and no length is believed before as many bytes are there.
"""

from __future__ import annotations

import math
import re
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError, PolicyError

MAX_DEPTH = 16
MAX_NDIM = 8
_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")
_LENGTHS = {
    0xC4: ("B", "bin"), 0xC5: ("H", "bin"), 0xC6: ("I", "bin"),
    0xD9: ("B", "str"), 0xDA: ("H", "str"), 0xDB: ("I", "str"),
    0xDC: ("H", "list"), 0xDD: ("I", "list"), 0xDE: ("H", "map"), 0xDF: ("I", "map"),
}  # fmt: skip
_NUMBERS = {
    0xCA: "f", 0xCB: "d", 0xCC: "B", 0xCD: "H", 0xCE: "I", 0xCF: "Q", 0xD0: "b", 0xD1: "h", 0xD2: "i", 0xD3: "q",
}  # fmt: skip
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


def pack(value: object) -> bytes:
    """Value to bytes.

    Args:
        value: None, bool, int, float, str, bytes, NumPy arrays and scalars of numbers, and lists and dicts of these.

    Raises:
        InvalidArgumentError: it holds anything else, or is nested too deeply.
    """
    out: list[bytes] = []
    _pack(value, out, 0)
    return b"".join(out)


def unpack(data: bytes) -> Any:
    """Bytes to value; arrays are read-only.

    Raises:
        PolicyError: it is not one MessagePack value, or holds what `pack` would not write.
    """
    reader = _Reader(data)
    try:
        value = reader.value(0)
    except (IndexError, KeyError, TypeError, ValueError, struct.error, OverflowError) as error:
        raise PolicyError(f"malformed MessagePack: {type(error).__name__}: {error}") from None
    if reader.at != len(data):
        raise PolicyError(f"malformed MessagePack: {len(data) - reader.at} bytes too many.")
    return value


def _pack(value: object, out: list[bytes], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise InvalidArgumentError(f"message nested deeper than {MAX_DEPTH}.")
    if value is None or isinstance(value, bool):
        out.append({None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value])
    elif isinstance(value, np.ndarray | np.generic) and not isinstance(value, float | str | bytes):
        _pack(_described(value), out, depth)
    elif isinstance(value, int):
        out.append(_integer(value))
    elif isinstance(value, float):
        out.append(struct.pack(">Bd", 0xCB, value))
    elif isinstance(value, str):
        text = value.encode()
        out += [_head(len(text), 0xA0, 32, (0xD9, 0xDA, 0xDB)), text]
    elif isinstance(value, bytes):
        out += [_head(len(value), None, 0, (0xC4, 0xC5, 0xC6)), value]
    elif isinstance(value, list | tuple):
        out.append(_head(len(value), 0x90, 16, (None, 0xDC, 0xDD)))
        for item in value:
            _pack(item, out, depth + 1)
    elif isinstance(value, dict):
        out.append(_head(len(value), 0x80, 16, (None, 0xDE, 0xDF)))
        for key, item in value.items():
            _pack(key, out, depth + 1)
            _pack(item, out, depth + 1)
    else:
        raise InvalidArgumentError(f"{type(value).__name__} in a message; want numbers and text.")


def _described(value: NDArray[Any] | np.generic) -> dict[bytes, Any]:
    if not _DTYPE.fullmatch(value.dtype.str):
        raise InvalidArgumentError(f"array of {value.dtype} in a message; want numbers.")
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    return {
        b"__ndarray__": True,
        b"data": value.tobytes(),
        b"dtype": value.dtype.str,
        b"shape": value.shape,
    }


def _integer(value: int) -> bytes:
    if -32 <= value < 128:
        return struct.pack(">b" if value < 0 else ">B", value)
    for code in (0xCC, 0xCD, 0xCE, 0xCF) if value > 0 else (0xD0, 0xD1, 0xD2, 0xD3):
        try:
            return struct.pack(f">B{_NUMBERS[code]}", code, value)
        except struct.error:
            continue
    raise InvalidArgumentError(f"integer {value} in a message; want at most 64 bits.")


def _head(length: int, fixed: int | None, below: int, codes: tuple[int | None, int, int]) -> bytes:
    if fixed is not None and length < below:
        return bytes([fixed | length])
    for code, kind, limit in zip(codes, "BHI", (1 << 8, 1 << 16, 1 << 32), strict=True):
        if code is not None and length < limit:
            return struct.pack(f">B{kind}", code, length)
    raise InvalidArgumentError(f"{length} bytes or items in a message; want less than 4 GiB.")


class _Reader:
    """Reads one value after the other; `at` is the next byte."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at = data, 0

    def value(self, depth: int) -> Any:
        """The next value."""
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH}")
        code = self._take(1)[0]
        if code < 0x80:
            return code
        if code >= 0xE0:
            return code - 0x100
        if code < 0xC0:
            kind, length = _fixed(code)
            return self._sized(kind, length, depth)
        if code in _CONSTANTS:
            return _CONSTANTS[code]
        if code in _NUMBERS:
            return self._number(_NUMBERS[code])
        if code not in _LENGTHS:
            raise ValueError(f"type 0x{code:02x}, an extension, is not read")
        size, kind = _LENGTHS[code]
        return self._sized(kind, self._number(size), depth)

    def _sized(self, kind: str, length: int, depth: int) -> Any:
        if kind in ("bin", "str"):
            raw = self._take(length)
            return raw if kind == "bin" else raw.decode()
        if length > len(self._data) - self.at:  # an item is a byte at least
            raise ValueError("longer than what was sent")
        if kind == "list":
            return [self.value(depth + 1) for _ in range(length)]
        return _revive({self._key(): self.value(depth + 1) for _ in range(length)})

    def _key(self) -> str | bytes:
        key = self.value(MAX_DEPTH)
        if not isinstance(key, str | bytes):
            raise ValueError(f"key of type {type(key).__name__}")
        return key

    def _number(self, kind: str) -> Any:
        return struct.unpack(f">{kind}", self._take(struct.calcsize(kind)))[0]

    def _take(self, length: int) -> bytes:
        part = self._data[self.at : self.at + length]
        if len(part) != length:
            raise ValueError("shorter than it says")
        self.at += length
        return part


def _fixed(code: int) -> tuple[str, int]:
    if code < 0x90:
        return "map", code & 0x0F
    return ("list", code & 0x0F) if code < 0xA0 else ("str", code & 0x1F)


def _revive(found: dict[str | bytes, Any]) -> Any:
    if b"__ndarray__" in found:
        dtype, shape, data = _dtype(found), tuple(found[b"shape"]), found[b"data"]
        if len(shape) > MAX_NDIM or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError(f"array shape {str(shape)[:80]}")
        if math.prod(shape) * dtype.itemsize != len(data):
            raise ValueError(f"array {dtype} {shape} in {len(data)} bytes")
        return np.frombuffer(data, dtype).reshape(shape)
    if b"__npgeneric__" in found:
        return _dtype(found).type(found[b"data"])
    return found


def _dtype(found: dict[str | bytes, Any]) -> np.dtype[Any]:
    text = found[b"dtype"]
    if not isinstance(text, str) or not _DTYPE.fullmatch(text):
        raise ValueError(f"array of {str(text)[:40]!r}")
    return np.dtype(text)
