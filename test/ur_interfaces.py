"""Message packages of a UR driver (control_msgs, ur_msgs, ...) for tests: built once, seen by test processes only.

No wheel of them exists, and users get them with their UR driver. `test/interfaces` holds stand-ins of the same wire
format. They lie in a folder below the environment that no process looks into by itself: without the variables of
`environment()` a process is a machine without a UR driver.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

SOURCES = Path(__file__).resolve().parent / "interfaces"
ROOT = SOURCES.parents[1]
PACKAGES = tuple(path.parent.name for path in sorted(SOURCES.glob("*/package.xml")))
_SUFFIXES = (".msg", ".srv", ".action", ".cmake", ".toml", ".xml", ".txt")


def folder() -> Path:
    """Where the interfaces of these sources and this Python belong."""
    digest = hashlib.sha256(sys.implementation.cache_tag.encode())
    for path in sorted(p for p in SOURCES.rglob("*") if p.suffix in _SUFFIXES):
        digest.update(path.relative_to(SOURCES).as_posix().encode() + b"\0" + path.read_bytes())
    return Path(sys.prefix) / ".robomd" / f"test_interfaces-{digest.hexdigest()[:16]}"


def build() -> Path:
    """The interfaces' prefix; the first process builds it (1 to 2 min), others wait for it."""
    target = folder()
    target.parent.mkdir(exist_ok=True)
    with open(target.parent / "test_interfaces.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            for old in target.parent.glob("test_interfaces-*"):
                shutil.rmtree(old)
            _build(target)
    return target


def _build(target: Path) -> None:
    new = target.with_suffix(".new")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(new)]
    pins = ["--build-constraint", str(ROOT / "constraints.txt")]
    environment = os.environ | {"CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count() or 1)}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [*pip, *pins, str(SOURCES)], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        shutil.rmtree(new, ignore_errors=True)
        raise RuntimeError(f"the test interfaces could not be built:\n{done.stderr[-4000:]}")
    (wheel,) = new.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(new)
    (data,) = new.glob("*.data/data")
    data.rename(target)
    shutil.rmtree(new)


def environment() -> dict[str, str]:
    """Variables for a child process that shall find the interfaces; to be laid over os.environ."""
    prefix = build()
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    wanted = {
        "PYTHONPATH": prefix / "lib" / python / "site-packages",
        "LD_LIBRARY_PATH": prefix / "lib",
        "AMENT_PREFIX_PATH": prefix,
    }
    default = {"AMENT_PREFIX_PATH": sys.prefix}
    theirs = {name: os.environ.get(name) or default.get(name, "") for name in wanted}
    return {k: os.pathsep.join(filter(None, [str(v), theirs[k]])) for k, v in wanted.items()}


@contextlib.contextmanager
def here() -> Iterator[None]:
    """Make the interfaces importable in this process for a while; LD_LIBRARY_PATH is read only when a process starts."""
    packages = environment()["PYTHONPATH"].split(os.pathsep)[0]
    for library in sorted((folder() / "lib").glob("lib*__rosidl_typesupport_*_c.so")):
        ctypes.CDLL(str(library))  # rmw asks for it by its bare name, which finds what is loaded
    sys.path.insert(0, packages)
    try:
        yield
    finally:
        sys.path.remove(packages)
        for name in [n for n in sys.modules if n.split(".")[0] in PACKAGES]:
            del sys.modules[name]
