"""The shipped RViz and Foxglove configurations against nodes that run."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_graph import Graph, until
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import String
from synthetic_cell import STEP, SyntheticCell
from visualization_msgs.msg import MarkerArray
from watch_config import (
    Wanted,
    foxglove_wants,
    load_foxglove,
    load_rviz,
    message_class,
    missing,
    placed,
    rviz_wants,
    unknown_classes,
)

from robomd_ros.adapters import names, qos
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.nodes.diagnosis import DiagnosisNode
from robomd_ros.nodes.risk_overlay import RiskOverlayConfig, RiskOverlayNode
from robomd_ros.nodes.ur5e_driver import Ur5eDriverNode
from robomd_ros.recording.messages import IMAGES


class Cell(SyntheticCell):
    """Also the camera's calibration and the robot's model, as their drivers publish them."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.infos = self.create_publisher(CameraInfo, names.CAMERA_INFO, qos.CAMERA_WRITER)
        # As robot_state_publisher does.
        model = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.model = self.create_publisher(String, "robot_description", model)


class Viewer(RobomdNode):
    """Stands where RViz would: launch/diagnose.launch.py starts it in the cell's namespace."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("viewer", **kwargs)


@pytest.fixture
def rviz(root: Path) -> dict[str, Any]:
    return load_rviz(root / "config/robomd.rviz")


@pytest.fixture
def foxglove(root: Path) -> dict[str, Any]:
    return load_foxglove(root / "config/foxglove_layout.json")


def bring_up(graph: Graph, namespace: str | None = None) -> Viewer:
    """The nodes a viewer watches, and a viewer."""
    for kind in (Cell, RiskOverlayNode, DiagnosisNode):
        graph.add(partial(kind, namespace=namespace))
    graph.add(partial(Ur5eDriverNode, namespace=namespace), hardware="standin", policy="")
    return graph.add(partial(Viewer, namespace=namespace))


def all_there(viewer: Viewer, wanted: list[Wanted]) -> None:
    """Discovery takes a moment."""
    try:
        until(lambda: not any(missing(viewer, w) for w in wanted))
    except AssertionError:
        pytest.fail("; ".join(filter(None, (missing(viewer, w) for w in wanted))))


def test_every_class_is_one_of_a_plain_rviz(rviz: dict[str, Any]) -> None:
    assert unknown_classes(rviz) == []
    kinds = {d["Class"].partition("/")[2] for d in rviz["Visualization Manager"]["Displays"]}
    assert {"RobotModel", "TF", "Image", "MarkerArray"} <= kinds


@pytest.mark.parametrize("namespace", [None, "cell_a"])
def test_rviz_fits_the_graph(graph: Graph, rviz: dict[str, Any], namespace: str | None) -> None:
    viewer = bring_up(graph, namespace)
    wanted = rviz_wants(rviz)
    assert {w.topic for w in wanted} == {
        names.CAMERA_IMAGE, names.OVERLAY_IMAGE, names.OVERLAY_MARKERS, "robot_description",
    }  # fmt: skip
    all_there(viewer, wanted)


def test_foxglove_fits_the_graph(graph: Graph, foxglove: dict[str, Any]) -> None:
    viewer = bring_up(graph)
    wanted = foxglove_wants(foxglove)
    assert all(w.topic.startswith("/") for w in wanted)
    assert IMAGES in {w.topic for w in wanted}  # the name it has in a recording
    all_there(viewer, wanted)


def test_both_show_the_same(rviz: dict[str, Any], foxglove: dict[str, Any]) -> None:
    panels = {w.topic for w in foxglove_wants(foxglove)}
    assert {"/" + w.topic for w in rviz_wants(rviz)} <= panels
    live = {names.RISK, names.SESSION, names.CELL_STATE, names.OPERATOR_REQUEST, names.ALARM}
    assert {"/" + name for name in live} | {names.DIAGNOSTICS} <= panels


def test_every_panel_is_placed_once(foxglove: dict[str, Any]) -> None:
    panels = list(placed(foxglove["layout"]))
    assert sorted(panels) == sorted(foxglove["configById"])


def test_rviz_shows_each_namespace_of_the_markers_in_their_frame(
    graph: Graph, rviz: dict[str, Any]
) -> None:
    viewer = bring_up(graph)
    display = next(d for d in rviz["Visualization Manager"]["Displays"] if "Namespaces" in d)
    (topic,) = rviz_wants({"Visualization Manager": {"Displays": [display]}})
    got: list[Any] = []
    viewer.listen(MarkerArray, topic.topic, got.append, topic.profile)
    shown = until(lambda: got)[-1].markers
    assert {m.ns for m in shown} <= set(display["Namespaces"])
    fixed = rviz["Visualization Manager"]["Global Options"]["Fixed Frame"]
    assert fixed == RiskOverlayConfig().work_frame
    assert {m.header.frame_id for m in shown} == {fixed}


def test_an_rviz_that_joins_late_gets_pictures_and_markers(
    graph: Graph, rviz: dict[str, Any]
) -> None:
    """Subscriptions with exactly the QoS of the file receive."""
    cell = graph.add(Cell)
    overlay = graph.add(RiskOverlayNode)
    until(lambda: cell.images.get_subscription_count())
    cell.model.publish(String(data="<robot/>"))
    cell.image(STEP)
    until(lambda: overlay.health().values["drawn"])
    viewer = graph.add(Viewer)
    heard: set[str] = set()
    for wanted in rviz_wants(rviz):
        viewer.listen(
            message_class(wanted.type), wanted.topic,
            lambda _, topic=wanted.topic: heard.add(topic), wanted.profile,
        )  # fmt: skip
    until(lambda: cell.images.get_subscription_count() == 2)
    cell.image(2 * STEP)
    until(lambda: heard == {w.topic for w in rviz_wants(rviz)})


def test_what_does_not_fit_is_found(graph: Graph, rviz: dict[str, Any]) -> None:
    viewer = bring_up(graph)
    all_there(viewer, rviz_wants(rviz))

    def said(change: Any) -> str:
        changed = copy.deepcopy(rviz)
        change(changed["Visualization Manager"]["Displays"])
        return "; ".join(filter(None, (missing(viewer, w) for w in rviz_wants(changed))))

    def display(displays: list[dict[str, Any]], kind: str) -> dict[str, Any]:
        return next(d for d in displays if d["Class"].endswith("/" + kind))

    assert "nobody publishes /camera/image_rwa" in said(
        lambda d: display(d, "Image")["Topic"].update(Value="camera/image_rwa")
    )
    assert "is sensor_msgs/msg/Image, not visualization_msgs" in said(
        lambda d: display(d, "MarkerArray")["Topic"].update(Value=names.CAMERA_IMAGE)
    )
    volatile = {"Durability Policy": "Volatile"}
    assert "latched" in said(lambda d: display(d, "MarkerArray")["Topic"].update(volatile))
    latched = {"Durability Policy": "Transient Local"}
    assert "ERROR" in said(lambda d: display(d, "Image")["Topic"].update(latched))
    wrong = copy.deepcopy(rviz)
    wrong["Visualization Manager"]["Displays"][0]["Class"] = "rviz_default_plugins/Overlay"
    assert unknown_classes(wrong) == ["rviz_default_plugins/Overlay"]
    assert "no field risk" in missing(viewer, Wanted("/robomd/risk", "", "risk"))
    assert missing(viewer, Wanted("/robomd/risk", "", "header.stamp")) == ""
