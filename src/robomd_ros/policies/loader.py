"""From one string to a policy: what `--policy` and the parameter `policy` take."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from robomd_ros.core.errors import InvalidArgumentError, UnknownIdError
from robomd_ros.policies.base import Policy
from robomd_ros.policies.sidecars.kinds import KINDS

CONFIG_NAME = "policy.json"
MAX_ACT_TIMEOUT = 600.0
_ACT_TIMEOUT = re.compile(r"([?&])act_timeout=([^&]*)(&?)")
FORMS = "a shipped name, a folder, torchscript:PATH.pt, robomimic:PATH.pth, lerobot:FOLDER, python:package.module:factory, tcp://HOST:PORT or openpi://HOST:PORT?mapping=M"


def shipped_folder() -> Path:
    """Where the policies that come with the package lie."""
    return Path(str(resources.files("robomd_ros"))) / "assets" / "policies"


def list_policies() -> tuple[str, ...]:
    """Names of the shipped policies, sorted."""
    return tuple(sorted(p.parent.name for p in shipped_folder().glob(f"*/{CONFIG_NAME}")))


def load_policy(spec: str, act_timeout: float = 1.0) -> Policy:
    """Load the policy under test.

    Args:
        spec: a shipped name ("lift_panda_bc"), a policy folder, "torchscript:/path.pt", "robomimic:/path.pth",
            "lerobot:/folder", "python:package.module:factory", "tcp://host:port" or "openpi://host:port?mapping=libero".
        act_timeout: seconds one action of a policy in another process may take; "?act_timeout=5" in the spec comes first.

    Raises:
        UnknownIdError: no such shipped policy, folder, module or function.
        InvalidArgumentError: the spec, or what a file says about its policy, is malformed.
        StorageError: a file cannot be read or is something else.
        UnavailableError: the remote policy does not answer; the environment of a sidecar is not there.
        PolicyError: what was loaded is not a policy.
    """
    scheme, colon, rest = spec.partition(":")
    if colon and scheme in ("tcp", "openpi", *KINDS):
        rest, act_timeout = split_timeout(rest, act_timeout)
    if colon and scheme == "tcp":
        from robomd_ros.policies.remote import RemotePolicy

        return RemotePolicy(*parse_address(rest.removeprefix("//")), act_timeout=act_timeout)
    if colon and scheme == "python":
        from robomd_ros.policies.entry_point import load_entry_point

        return load_entry_point(rest)
    if colon and scheme == "torchscript":
        from robomd_ros.policies.torchscript import load_torchscript

        return load_torchscript(Path(rest).expanduser())
    if colon and scheme == "openpi":
        from robomd_ros.policies.openpi import load_openpi

        return load_openpi(rest, act_timeout)
    if colon and scheme in KINDS:
        from robomd_ros.policies.sidecar import load_sidecar

        return load_sidecar(scheme, rest, act_timeout)
    return _load_folder(spec)


def split_timeout(text: str, default: float) -> tuple[str, float]:
    """Take "act_timeout=SECONDS" out of the query of a spec. Raises InvalidArgumentError."""
    found = _ACT_TIMEOUT.search(text)
    if found is None:
        return text, default
    try:
        seconds = float(found[2])
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds <= MAX_ACT_TIMEOUT:
        raise InvalidArgumentError(
            f"act_timeout={found[2][:40]}: want seconds, more than 0, up to {MAX_ACT_TIMEOUT:g}."
        )
    return text[: found.start()] + (found[1] if found[3] else "") + text[found.end() :], seconds


def parse_address(text: str) -> tuple[str, int]:
    """Split "host:port". Raises InvalidArgumentError."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InvalidArgumentError(f"address {text[:80]!r}: want HOST:PORT, e.g. 127.0.0.1:5757.")
    return host.strip("[]"), int(port)


def _load_folder(spec: str) -> Policy:
    known = list_policies()
    folder = shipped_folder() / spec if spec in known else Path(spec).expanduser()
    if not (folder / CONFIG_NAME).is_file():
        raise UnknownIdError(
            f"no policy {spec[:120]!r}; shipped: {', '.join(known) or 'none'}; or give {FORMS}."
        )
    from robomd_ros.policies.bc import load_bc

    return load_bc(folder)
