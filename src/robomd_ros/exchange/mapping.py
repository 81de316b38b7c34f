"""Which topic or column means what: `--map camera=/cam/image_raw --map success=/verdict:ok`, or a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robomd_ros.core.errors import InvalidArgumentError, UnknownIdError

ROLES = ("camera", "joints", "velocities", "actions", "success", "split")
"""What can be mapped; "velocities" only in datasets, "split" only in bags."""


@dataclass(frozen=True)
class Field:
    """A topic (or column), and where in its messages the value stands: "twist.linear"; "" = as usual for the type."""

    name: str
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> Field:
        """From "name" or "name:path"."""
        name, _, path = text.partition(":")
        return cls(name, path)

    def value(self, message: Any) -> Any:
        """The value inside a message. Raises InvalidArgumentError when there is none."""
        for part in self.path.split(".") if self.path else ():
            try:
                message = message[int(part)] if part.isdecimal() else getattr(message, part)
            except (AttributeError, IndexError, TypeError):
                raise InvalidArgumentError(
                    f"{self.name}: its messages have no field {self.path[:80]!r}."
                ) from None
        return message


def parse_map(entries: Iterable[str], roles: tuple[str, ...]) -> dict[str, Field]:
    """The mapping of the command line; later entries win.

    Args:
        entries: "role=topic", "role=topic:field", or the path of a TOML file of such pairs.
        roles: those that the source knows.

    Raises:
        InvalidArgumentError: an unknown role, or no pair.
        UnknownIdError: no such file.
    """
    found: dict[str, Field] = {}
    for entry in entries:
        role, equals, name = entry.partition("=")
        pairs = {role: name} if equals else _pairs(Path(entry))
        for key, text in pairs.items():
            if key not in roles or not isinstance(text, str) or not text:
                raise InvalidArgumentError(
                    f"map {key[:40]!r}={text!r:.80}: want {', '.join(roles)} = a name."
                )
            found[key] = Field.parse(text)
    return found


def _pairs(path: Path) -> Mapping[str, Any]:
    if path.suffix != ".toml":
        raise InvalidArgumentError(f"map {str(path)[:80]!r}: want role=name, or a .toml file.")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UnknownIdError(f"map {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise InvalidArgumentError(f"map {path} is not TOML: {error}") from error
