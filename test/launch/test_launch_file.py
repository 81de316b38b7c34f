"""diagnose.launch.py through the real launch machinery, where ROS 2 launch is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

launch = pytest.importorskip("launch", reason="ROS 2 launch is not installed (it is not on PyPI)")
pytest.importorskip("launch_ros", reason="ROS 2 launch_ros is not installed (it is not on PyPI)")

if not hasattr(launch, "LaunchDescription"):
    pytest.skip("another package of the name launch is installed", allow_module_level=True)

from launch_ros.actions import Node  # noqa: E402

from robomd_ros.graph import GraphOptions, node_table  # noqa: E402


def wired(root: Path, **arguments: str) -> list[Any]:
    """The actions of the launch file under these arguments."""
    path = root / "launch" / "diagnose.launch.py"
    spec = importlib.util.spec_from_file_location("diagnose_launch", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    context = launch.LaunchContext()
    context.launch_configurations.update(arguments)
    for argument in [*module.ARGUMENTS, *module.DRIVER_ARGUMENTS]:
        argument.visit(context)
    return module.wire(context)


def test_table_becomes_nodes(root: Path) -> None:
    actions = wired(root, study="/tmp/s", rollouts="3")
    table = node_table(GraphOptions(study="/tmp/s", rollouts=3))
    assert all(isinstance(a, Node) for a in actions)
    assert [(a.node_package, a.node_executable) for a in actions] == [
        (s.package, s.executable) for s in table
    ]


def test_rviz_is_added(root: Path) -> None:
    assert wired(root, rviz="true")[-1].node_package == "rviz2"


def test_wrong_choice_is_refused(root: Path) -> None:
    with pytest.raises(RuntimeError, match="mode"):
        wired(root, mode="moon")


def test_ur5e_starts_the_drivers_of_arm_and_camera(root: Path) -> None:
    def drivers(**arguments: str) -> tuple[int, int]:
        actions = wired(root, mode="ur5e", robot_ip="192.0.2.1", **arguments)
        arm = sum(isinstance(a, launch.actions.GroupAction) for a in actions)
        nodes = [a.node_package for a in actions if isinstance(a, Node)]
        return arm, sum(p in ("realsense2_camera", "usb_cam", "v4l2_camera") for p in nodes)

    assert drivers() == (1, 1)
    assert drivers(camera="none") == (1, 0)
    assert drivers(start_ur_driver="false", camera="usb_cam") == (0, 1)
    assert drivers(hardware="standin") == (0, 0)
