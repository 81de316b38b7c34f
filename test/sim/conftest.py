"""One simulator for all tests of a process: building it takes seconds."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from robomd_ros.core.errors import UnavailableError
from robomd_ros.core.variations import load_catalogue
from sim_bridge import gl

sys.path.insert(0, str(Path(__file__).parent))  # red_servo, here and in spawned processes


def _missing() -> str:
    """Why the simulator cannot run here; "" = it can."""
    if importlib.util.find_spec("robosuite") is None:
        return "robosuite is not installed"
    try:
        gl.prepare()
    except UnavailableError as error:
        return str(error)
    return ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without robosuite or a GL the tests of this folder are skipped, and say why."""
    here = Path(__file__).parent
    reason = _missing() if any(here in item.path.parents for item in items) else ""
    for item in items:
        if reason and here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def cell():
    """A Panda cell with the red-seeking policy."""
    from red_servo import servo

    from sim_bridge.cell import SimCell
    from sim_bridge.scene import Scene

    made = SimCell(Scene(), servo())
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _nominal(request):
    """Whatever a test applied is taken back."""
    yield
    if "cell" in request.fixturenames:
        from robomd_ros.core.variations import Perturbation

        request.getfixturevalue("cell").apply(Perturbation())


@pytest.fixture(scope="session")
def catalogue():
    return load_catalogue("lift")
