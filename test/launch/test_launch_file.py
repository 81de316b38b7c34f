"""diagnose.launch.py through the real launch machinery, where ROS 2 launch is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

launch = pytest.importorskip("launch", reason="ROS 2 launch is not installed (it is not on PyPI)")
pytest.importorskip("launch_ros", reason="ROS 2 launch_ros is not installed (it is not on PyPI)")

if not hasattr(launch, "LaunchDescription"):
    pytest.skip("another package of the name launch is installed", allow_module_level=True)

from launch_ros.actions import Node  # noqa: E402

from robomd_ros.core.errors import UnavailableError  # noqa: E402
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


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes packages of these names, and no others, look installed."""

    def only(*packages: str) -> None:
        index = tmp_path / "share/ament_index/resource_index/packages"
        index.mkdir(parents=True, exist_ok=True)
        for package in packages:
            (index / package).touch()
        monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))

    return only


def test_table_becomes_nodes(root: Path) -> None:
    actions = wired(root, study="/tmp/s", rollouts="3")
    table = node_table(GraphOptions(study="/tmp/s", rollouts=3))
    assert all(isinstance(a, Node) for a in actions)
    assert [(a.node_package, a.node_executable) for a in actions] == [
        (s.package, s.executable) for s in table
    ]


def test_rviz_is_added(root: Path, installed: Callable[..., None]) -> None:
    installed("rviz2")
    assert wired(root, rviz="true")[-1].node_package == "rviz2"


def test_wrong_choice_is_refused(root: Path) -> None:
    with pytest.raises(RuntimeError, match="mode"):
        wired(root, mode="moon")


@pytest.mark.parametrize(
    ("there", "missing", "instead"),
    [
        ((), "ur_robot_driver", "start_ur_driver:=false"),
        (("ur_robot_driver",), "realsense2_camera", "camera:=none"),
        (("ur_robot_driver", "realsense2_camera"), "rviz2", "rviz:=false"),
    ],
)
def test_a_missing_package_is_noticed_before_a_node_starts(
    root: Path, installed: Callable[..., None], there: tuple[str, ...], missing: str, instead: str
) -> None:
    installed(*there)
    with pytest.raises(UnavailableError, match=f"{missing} is not installed.*{instead}"):
        wired(root, mode="ur5e", robot_ip="192.0.2.1", rviz="true")


def test_ur5e_starts_the_drivers_of_arm_and_camera(
    root: Path, installed: Callable[..., None]
) -> None:
    installed("ur_robot_driver", "realsense2_camera", "usb_cam")

    def drivers(**arguments: str) -> tuple[int, int]:
        actions = wired(root, mode="ur5e", robot_ip="192.0.2.1", **arguments)
        arm = sum(isinstance(a, launch.actions.GroupAction) for a in actions)
        nodes = [a.node_package for a in actions if isinstance(a, Node)]
        return arm, sum(p in ("realsense2_camera", "usb_cam", "v4l2_camera") for p in nodes)

    assert drivers() == (1, 1)
    assert drivers(camera="none") == (1, 0)
    assert drivers(start_ur_driver="false", camera="usb_cam") == (0, 1)
    assert drivers(hardware="standin") == (0, 0)
