"""Mappings of openpi servers: those that ship, and the user's, which may begin with {"preset": "libero"}."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.policies.mapping import PolicyMapping, build_mapping, read_object


def presets() -> tuple[str, ...]:
    """Names of the mappings that ship."""
    return tuple(sorted(p.stem for p in _preset_folder().glob("*.json")))


def load_mapping(name: str, prompt: str = "") -> PolicyMapping:
    """A mapping that ships, or one from a file.

    Args:
        name: one of `presets()`, or a path.
        prompt: instead of the mapping's, where given.

    Raises:
        StorageError: the file cannot be read.
        InvalidArgumentError: it is malformed; the sentence says where.
    """
    data = _read(name)
    if "preset" in data:
        base = _read(_known(data.pop("preset")))
        data = {**base, **data, "info": _merged(base["info"], data.get("info", {}))}
    if prompt:
        data["prompt"] = prompt
    try:
        return build_mapping(data)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{name}: {error}") from None


def _read(name: str) -> dict[str, Any]:
    if name in presets():
        return read_object(_preset_folder() / f"{name}.json")
    return read_object(Path(name).expanduser())


def _known(name: object) -> str:
    if name not in presets():
        raise InvalidArgumentError(
            f"preset {str(name)[:80]!r}: want one of {', '.join(presets())}."
        )
    return str(name)


def _merged(base: dict[str, Any], ours: object) -> object:
    return {**base, **ours} if isinstance(ours, dict) else ours


def _preset_folder() -> Path:
    return Path(str(resources.files("robomd_ros"))) / "assets" / "openpi"
