"""What every test stands on: a headless, offline environment, a ROS domain of its own, and the slow ones on demand."""

from __future__ import annotations

import itertools
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


DOMAINS = 100 // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
"""ROS domains of one test process."""


def ros_domain(turn: int = 0) -> int:
    """A ROS domain for this test process and turn: different for each worker, and most likely for each run on this machine."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return 1 + (zlib.crc32(run.encode()) + worker * DOMAINS + turn % DOMAINS) % 100


TURNS = itertools.count(1)

# Before anything imports rclpy, mujoco or torch: they read these once.
os.environ["ROS_DOMAIN_ID"] = str(ros_domain())
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"
os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)
os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The folder says what a test needs: test/ros, test/sim, test/launch and test/browser get the mark of their name.

    These run processes that talk over DDS on a machine that may be busy: one that fails is run once more, and the summary names it.
    """
    for item in items:
        folder = item.path.relative_to(ROOT / "test").parts[0]
        if folder in ("ros", "sim", "launch", "browser"):
            item.add_marker(getattr(pytest.mark, folder))
            if item.config.pluginmanager.hasplugin("rerunfailures"):
                item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="session")
def next_domain() -> Callable[[], str]:
    """Gives a ROS domain that no test of this process used lately."""
    return lambda: str(ros_domain(next(TURNS)))


@pytest.fixture(scope="module", autouse=True)
def own_domain(next_domain: Callable[[], str]) -> Iterator[None]:
    """The next domain: nodes that another file's test killed linger in a domain's discovery for 20 s, and an action looks unserved.

    Of the module, for nodes that all its tests share.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_DOMAIN_ID", next_domain())
        yield


@pytest.fixture(scope="session")
def root() -> Path:
    """Folder of the repository."""
    return ROOT
