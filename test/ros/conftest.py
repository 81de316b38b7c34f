"""Real nodes in a context of their own, each spun by its own thread, all joined at the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("robomd_msgs", reason="robomd_msgs is not built")

from ros_graph import Graph


@pytest.fixture
def graph() -> Iterator[Graph]:
    """A graph that is taken down after the test."""
    made = Graph()
    try:
        yield made
    finally:
        made.close()
