"""An environment of its own for a family of policies: a virtual environment with the versions of one file, made once.

torch, torchvision and numpy are linked from our own environment unless asked otherwise: they are gigabytes, and the same
wheels would come again.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from importlib import metadata
from pathlib import Path

from robomd_ros.core.errors import UnavailableError
from robomd_ros.policies.sidecars.kinds import SidecarKind

LINKED = ("torch", "torchvision", "numpy")
STAMP = "robomd.json"
_BUILDER = "setuptools"

Say = Callable[[str], None]


def pins_file(kind: SidecarKind) -> Path:
    """Every version of the environment; all of them, so that nothing is resolved when it is made."""
    return Path(__file__).with_name(f"{kind.name}.txt")


def read_pins(text: str) -> dict[str, str]:
    """Requirement line by package name; comments and empty lines are left out."""
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    return {line.partition("==")[0].strip().lower(): line for line in lines if line}


def default_folder(kind: SidecarKind) -> Path:
    """Where the environment lies unless the user says otherwise; another place for other versions or another Python."""
    key = sha256("\n".join(_key(kind, own_torch=False)).encode()).hexdigest()[:8]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "robomd_ros" / f"{kind.name}-{key}"


def python_in(folder: Path) -> Path:
    """The interpreter of a virtual environment."""
    return folder / "bin" / "python"


def python_of(kind: SidecarKind) -> Path:
    """The Python that a sidecar of this family is started with.

    Raises:
        UnavailableError: there is none; the sentence says the command that makes it.
    """
    named = os.environ.get(kind.variable)
    if named:
        if not os.access(named, os.X_OK):
            raise UnavailableError(f"{kind.variable} = {named}: that is no Python to start.")
        return Path(named)
    folder = default_folder(kind)
    if not (folder / STAMP).is_file():
        raise UnavailableError(
            f"{kind.name} policies run in an environment of their own, which is not there: make it with "
            f"`robomd policy env {kind.name}`, or name a Python that has {kind.name} in {kind.variable}."
        )
    return python_in(folder)


def make_environment(
    kind: SidecarKind, say: Say, folder: Path | None = None, own_torch: bool = False
) -> Path:
    """Make the environment; where it is already there, nothing is done.

    Args:
        kind: the family.
        say: told each step in a sentence.
        folder: of the new environment; the user's cache when None.
        own_torch: install torch, torchvision and numpy, too, instead of linking ours.

    Returns:
        The interpreter.

    Raises:
        UnavailableError: a step failed.
    """
    folder = (folder or default_folder(kind)).expanduser().absolute()
    key = _key(kind, own_torch)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _only_one(folder.with_name(f".{folder.name}.lock")):
        if _stamped(folder) == key:
            say(f"{folder} is there, with {_pinned(kind)}.")
            return python_in(folder)
        if folder.exists() and not (folder / "pyvenv.cfg").is_file() and any(folder.iterdir()):
            raise UnavailableError(f"{folder} holds something else: name an empty or new folder.")
        _build(kind, folder, own_torch, say)
        (folder / STAMP).write_text(json.dumps(key))
    say(f"{folder} is ready.")
    return python_in(folder)


def _build(kind: SidecarKind, folder: Path, own_torch: bool, say: Say) -> None:
    pins = read_pins(pins_file(kind).read_text(encoding="utf-8"))
    linked = [] if own_torch else [name for name in LINKED if name in pins]
    say(f"making {folder}")
    shutil.rmtree(folder, ignore_errors=True)
    venv.EnvBuilder(symlinks=True).create(folder)
    for name in linked:
        say(f"linking {name} {_link(name, folder)} of this environment")
    if own_torch:
        heavy = [pins[name] for name in LINKED if name in pins]
        say(f"installing {', '.join(heavy)} and what they need (gigabytes)")
        _pip(folder, [*heavy])
    rest = [line for name, line in pins.items() if name not in LINKED]
    say(f"installing {len(rest)} packages, {_pinned(kind)} among them")
    _pip(folder, ["--no-deps", *(line for line in rest if line.startswith(_BUILDER))])
    # what comes as source is built with the pinned setuptools, not with one that pip fetches
    _pip(folder, ["--no-deps", "--no-build-isolation", *rest])
    _run([str(python_in(folder)), "-c", f"import {kind.probe}"], f"import of {kind.probe}")


def _link(name: str, folder: Path) -> str:
    """Link all of an installed package into the environment; returns its version."""
    try:
        package = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        raise UnavailableError(
            f"{name} is not installed here, so it cannot be linked: use --own-torch."
        ) from None
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    target = folder / "lib" / version / "site-packages"
    roots = {
        file.parts[0] for file in package.files or () if file.parts[0] not in ("..", "__pycache__")
    }
    for root in sorted(roots):
        (target / root).symlink_to(Path(str(package.locate_file(root))).resolve())
    return package.version


def _pip(folder: Path, arguments: Sequence[str]) -> None:
    pip = [sys.executable, "-m", "pip", "--python", str(python_in(folder)), "install", "--quiet"]
    _run([*pip, "--no-input", *arguments], "pip install")


def _run(command: Sequence[str], what: str) -> None:
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PIP_CONSTRAINT")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=kept)
    if done.returncode:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise UnavailableError(f"{what} failed: {said[-1][:400] if said else 'it said nothing'}")


def _pinned(kind: SidecarKind) -> str:
    return read_pins(pins_file(kind).read_text(encoding="utf-8")).get(kind.name, kind.name)


def _key(kind: SidecarKind, own_torch: bool) -> list[str]:
    """What an environment depends on."""
    pins = sha256(pins_file(kind).read_bytes()).hexdigest()
    return [kind.name, pins, sys.version.split()[0], sys.prefix, "own" if own_torch else "linked"]


def _stamped(folder: Path) -> list[str] | None:
    try:
        return list(json.loads((folder / STAMP).read_text()))
    except (OSError, ValueError):
        return None


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
