"""A usable OpenGL without a screen: found, or refused in one sentence, before anything is built up."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
from functools import cache
from typing import Any

from robomd_ros.core.errors import UnavailableError

ADVICE = (
    "no usable OpenGL for rendering without a screen (EGL and OSMesa were tried): "
    "install it with `apt install libegl1 libgl1-mesa-dri`."
)
_PLATFORM_DEVICE = 0x313F  # EGL_PLATFORM_DEVICE_EXT
_MAX_DEVICES = 16


def egl_works() -> bool:
    """A libEGL that knows a device whose display can be initialised (what mujoco.egl will ask for)."""
    try:
        egl = ctypes.CDLL("libEGL.so.1")
    except OSError:
        return False
    egl.eglGetProcAddress.restype = ctypes.c_void_p
    query = egl.eglGetProcAddress(b"eglQueryDevicesEXT")
    display_of = egl.eglGetProcAddress(b"eglGetPlatformDisplayEXT")
    if not query or not display_of:
        return False
    devices, count = (ctypes.c_void_p * _MAX_DEVICES)(), ctypes.c_int(0)
    signature = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    if not signature(query)(_MAX_DEVICES, devices, ctypes.byref(count)):
        return False
    to_display = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p)(
        display_of
    )
    displays = (to_display(_PLATFORM_DEVICE, devices[i], None) for i in range(count.value))
    return any(d and egl.eglInitialize(ctypes.c_void_p(d), None, None) for d in displays)


def osmesa_works() -> bool:
    """A libOSMesa can be loaded."""
    for name in ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so"):
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


_PROBES = {"egl": egl_works, "osmesa": osmesa_works}


def load_triton_first() -> None:
    """Load torch's triton, if there is one, before any GL.

    Both triton and Mesa carry an LLVM. Mesa's first and triton's second ends the process with a segmentation fault as soon
    as a torch optimizer is made; the other order works.
    """
    with contextlib.suppress(ImportError):
        importlib.import_module("triton._C.libtriton")


def choose() -> str:
    """The first of EGL and OSMesa that works, beginning with the one MUJOCO_GL names.

    Raises:
        UnavailableError: none works.
    """
    load_triton_first()
    # Mesa's shader cache keeps a thread of the least priority: on a busy machine a process waits seconds for its end. What it
    # saves is nothing here.
    os.environ.setdefault("MESA_SHADER_CACHE_DISABLE", "true")
    wanted = os.environ.get("MUJOCO_GL", "").lower()
    for name in sorted(_PROBES, key=lambda n: n != wanted):
        if _PROBES[name]():
            return name
    raise UnavailableError(ADVICE)


@cache
def prepare() -> str:
    """Choose a GL and set MUJOCO_GL and PYOPENGL_PLATFORM; to be called before mujoco is imported.

    Returns:
        "egl" or "osmesa".

    Raises:
        UnavailableError: none works.
    """
    name = choose()
    os.environ["MUJOCO_GL"] = os.environ["PYOPENGL_PLATFORM"] = name
    return name


def make_context(width: int, height: int) -> Any:
    """A GL context of the chosen platform, current on no thread yet.

    Raises:
        UnavailableError: the platform is there but gives no context.
    """
    try:
        if prepare() == "egl":
            from mujoco.egl import GLContext
        else:
            from mujoco.osmesa import GLContext
        return GLContext(width, height)
    except (ImportError, RuntimeError, AttributeError) as error:
        if isinstance(error, UnavailableError):
            raise
        raise UnavailableError(f"{ADVICE} ({type(error).__name__}: {error})") from error
