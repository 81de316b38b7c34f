"""The families of policies that run in an environment of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from robomd_ros.core.errors import UnknownIdError


@dataclass(frozen=True)
class SidecarKind:
    """One family.

    Attributes:
        name: scheme of the spec ("robomimic:PATH"), and of its environment.
        factory: "module:function" that is called in the sidecar with the text after the colon; returns a Policy.
        probe: a module that can be imported where the environment is whole.
        takes_path: the text after the colon is a file or folder, which has to be there.
    """

    name: str
    factory: str
    probe: str
    takes_path: bool = True

    @property
    def variable(self) -> str:
        """Environment variable that names the Python of another environment."""
        return f"ROBOMD_{self.name.upper()}_PYTHON"


_HERE = "robomd_ros.policies.sidecars"
KINDS: Mapping[str, SidecarKind] = {
    kind.name: kind
    for kind in (
        SidecarKind("robomimic", f"{_HERE}.robomimic_policy:load", "robomimic.utils.train_utils"),
        SidecarKind("lerobot", f"{_HERE}.lerobot_policy:load", "lerobot.policies.factory"),
    )
}


def kind_of(name: str) -> SidecarKind:
    """Look a family up. Raises UnknownIdError."""
    if name not in KINDS:
        raise UnknownIdError(f"no sidecar {name[:80]!r}; known: {', '.join(KINDS)}.")
    return KINDS[name]
