"""The text that tells a reader what a message type is made of: standard types, and those that this machine has installed."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from robomd_ros.core.errors import UnavailableError


@cache
def typestore() -> Typestore:
    """The message types of ROS 2 Jazzy, and those that `schema` was asked for."""
    return get_typestore(Stores.ROS2_JAZZY)


@cache
def schema(name: str) -> tuple[str, str]:
    """Definition with all that it needs (MCAP's "ros2msg"), and hash (RIHS01, as the wire has it), of a message type.

    Args:
        name: "pkg/msg/Type".

    Raises:
        UnavailableError: neither standard nor installed, or its definition cannot be read.
    """
    try:
        _learn(name)
        text, _ = typestore().generate_msgdef(name, ros_version=2)
        return text, str(typestore().hash_rihs01(name))
    except (TypesysError, OSError, UnicodeDecodeError) as error:
        raise UnavailableError(f"definition of {name[:80]} cannot be read: {error}") from error


def _learn(name: str) -> None:
    """Register a type and the types of its fields, unless they are known."""
    if name in typestore().fielddefs:
        return
    types = get_types_from_msg(_definition(name).read_text(encoding="utf-8"), name)
    for _, fields in types.values():
        for _, field in fields:
            for needed in _names(field):
                if needed not in types:
                    _learn(needed)
    typestore().register(types)


def _names(field: Any) -> Iterator[str]:
    kind, what = field
    if kind == Nodetype.NAME:
        yield what
    elif kind in (Nodetype.ARRAY, Nodetype.SEQUENCE):
        yield from _names(what[0])


def _definition(name: str) -> Path:
    """The installed .msg file of a type."""
    parts = name.split("/")
    if len(parts) != 3 or parts[1] != "msg" or not all(p.isidentifier() for p in parts):
        raise UnavailableError(f"message type {name[:80]!r}: want pkg/msg/Type.")
    package, _, kind = parts
    for prefix in _prefixes(package):
        path = prefix / "share" / package / "msg" / f"{kind}.msg"
        if path.is_file():
            return path
    raise UnavailableError(f"{package} has no {kind}.msg here: is its workspace sourced?")


def _prefixes(package: str) -> Iterator[Path]:
    """Where a package may be installed; first where its Python code lies."""
    spec = importlib.util.find_spec(package)
    if spec is not None and spec.origin:
        yield from list(Path(spec.origin).parents)[
            4:5
        ]  # <prefix>/lib/pythonX/site-packages/<package>
    yield from map(Path, filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)))
    yield Path(sys.prefix)
