"""Real nodes in a context of their own, each spun by its own thread, all joined at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("robomd_msgs", reason="robomd_msgs is not built")

from ros_graph import Graph


@pytest.fixture(autouse=True)
def domain_of_the_test(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, next_domain: Callable[[], str]
) -> None:
    """A domain for each test, but in files with nodes that all tests share (ONE_DOMAIN).

    Now and then the services of a node that was destroyed stay in a domain's discovery, and an action looks unserved.
    """
    if not getattr(request.module, "ONE_DOMAIN", False):
        monkeypatch.setenv("ROS_DOMAIN_ID", next_domain())


@pytest.fixture
def graph() -> Iterator[Graph]:
    """A graph that is taken down after the test."""
    made = Graph()
    try:
        yield made
    finally:
        made.close()
