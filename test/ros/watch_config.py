"""What config/robomd.rviz and config/foxglove_layout.json want of the graph, and what of it is not there."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)

# rviz_default_plugins/plugins_description.xml and rviz_common's panel_factory.cpp, ros2/rviz, branch jazzy.
DISPLAYS = {
    "AccelStamped", "Axes", "Camera", "CameraInfo", "DepthCloud", "Effort", "FluidPressure", "Grid", "GridCells",
    "Illuminance", "Image", "InteractiveMarkers", "LaserScan", "Map", "Marker", "MarkerArray", "Odometry", "Path",
    "PointCloud", "PointCloud2", "PointStamped", "Polygon", "Pose", "PoseArray", "PoseWithCovariance", "Range",
    "RelativeHumidity", "RobotModel", "TF", "Temperature", "TwistStamped", "Wrench",
}  # fmt: skip
VIEWS = {"FPS", "Orbit", "ThirdPersonFollower", "TopDownOrtho", "XYOrbit"}
TOOLS = {
    "FocusCamera", "Interact", "Measure", "MoveCamera", "PublishPoint", "Select", "SetGoal", "SetInitialPose",
}  # fmt: skip
PANELS = {"Displays", "Help", "Selection", "Time", "Tool Properties", "Transformation", "Views"}

TYPES = {
    "Image": "sensor_msgs/msg/Image",
    "MarkerArray": "visualization_msgs/msg/MarkerArray",
    "RobotModel": "std_msgs/msg/String",
}
"""Message type of each display that has a topic."""


@dataclass(frozen=True)
class Wanted:
    """A topic a viewer reads, its type ("" = any), the field it shows ("" = all), and with which QoS (None = any)."""

    topic: str
    type: str = ""
    field: str = ""
    profile: QoSProfile | None = None


# -- RViz -----------------------------------------------------------------------------------------------------------


def load_rviz(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())


def unknown_classes(config: dict[str, Any]) -> list[str]:
    """Classes that a plain RViz does not have."""
    manager = config["Visualization Manager"]
    used = [("rviz_common", PANELS, p["Class"]) for p in config["Panels"]]
    used += [("rviz_default_plugins", DISPLAYS, d["Class"]) for d in manager["Displays"]]
    used += [("rviz_default_plugins", TOOLS, t["Class"]) for t in manager["Tools"]]
    used += [("rviz_default_plugins", VIEWS, manager["Views"]["Current"]["Class"])]
    return [c for package, known, c in used
            if c.partition("/")[0] != package or c.partition("/")[2] not in known]  # fmt: skip


def rviz_wants(config: dict[str, Any]) -> list[Wanted]:
    out = []
    for display in config["Visualization Manager"]["Displays"]:
        topic = display.get("Topic") or display.get("Description Topic")
        if topic is not None:
            kind = TYPES[display["Class"].partition("/")[2]]
            out.append(Wanted(topic["Value"], kind, "", rviz_profile(topic)))
    return out


def rviz_profile(topic: dict[str, Any]) -> QoSProfile:
    """What RViz's QosProfileProperty makes of these words."""
    return QoSProfile(
        history={"Keep Last": HistoryPolicy.KEEP_LAST, "Keep All": HistoryPolicy.KEEP_ALL}[
            topic["History Policy"]
        ],
        depth=topic["Depth"],
        reliability={
            "Reliable": ReliabilityPolicy.RELIABLE,
            "Best Effort": ReliabilityPolicy.BEST_EFFORT,
        }[topic["Reliability Policy"]],
        durability={
            "Transient Local": DurabilityPolicy.TRANSIENT_LOCAL,
            "Volatile": DurabilityPolicy.VOLATILE,
        }[topic["Durability Policy"]],
        liveliness=LivelinessPolicy.AUTOMATIC,
    )


# -- Foxglove -------------------------------------------------------------------------------------------------------


def load_foxglove(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def placed(layout: Any) -> Iterator[str]:
    """Panels in the tree of a layout."""
    if isinstance(layout, str):
        yield layout
    else:
        yield from placed(layout["first"])
        yield from placed(layout["second"])


def foxglove_wants(config: dict[str, Any]) -> list[Wanted]:
    return [
        wanted
        for name, panel in config["configById"].items()
        for wanted in _PANEL_WANTS[name.partition("!")[0]](panel)
    ]


def _image(panel: dict[str, Any]) -> Iterator[Wanted]:
    mode = panel["imageMode"]
    yield Wanted(mode["imageTopic"], "sensor_msgs/msg/Image")
    if "calibrationTopic" in mode:
        yield Wanted(mode["calibrationTopic"], "sensor_msgs/msg/CameraInfo")


def _room(panel: dict[str, Any]) -> Iterator[Wanted]:
    for topic, options in panel["topics"].items():
        if options["visible"]:
            yield Wanted(topic, "visualization_msgs/msg/MarkerArray")
    for layer in panel["layers"].values():
        if layer["layerId"] == "foxglove.Urdf":
            yield Wanted(layer["topic"], "std_msgs/msg/String")


def _paths(panel: dict[str, Any]) -> Iterator[Wanted]:
    for path in panel["paths"]:
        topic, _, field = path["value"].partition(".")
        yield Wanted(topic, "", field)


_PANEL_WANTS = {
    "Image": _image,
    "3D": _room,
    "Plot": _paths,
    "StateTransitions": _paths,
    "DiagnosticSummary": lambda p: [Wanted(p["topicToRender"], "diagnostic_msgs/msg/DiagnosticArray")],
    "RawMessages": lambda p: [Wanted(p["topicPath"])],
}  # fmt: skip
"""The panels in use, each a standard one of Foxglove."""


# -- against the graph ----------------------------------------------------------------------------------------------


def missing(node: Node, wanted: Wanted) -> str:
    """One sentence about what keeps a viewer, a node beside `node`, from showing this; "" = nothing does."""
    topic = node.resolve_topic_name(wanted.topic)
    writers = node.get_publishers_info_by_topic(topic)
    if not writers:
        return f"nobody publishes {topic}"
    for writer in writers:
        if wanted.type and writer.topic_type != wanted.type:
            return f"{topic} is {writer.topic_type}, not {wanted.type}"
        if wanted.field and not has_field(writer.topic_type, wanted.field):
            return f"{topic} has no field {wanted.field}"
        if wanted.profile is None:
            continue
        verdict, why = qos_check_compatible(writer.qos_profile, wanted.profile)
        if verdict != QoSCompatibility.OK:
            return f"{topic}: {why}"
        latched = writer.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
        if latched and wanted.profile.durability != DurabilityPolicy.TRANSIENT_LOCAL:
            return f"{topic} is latched: a reader that is not misses what was said before it came"
    return ""


def message_class(name: str) -> Any:
    """The class of "package/msg/Name" or "package/Name"."""
    parts = name.split("/")
    return getattr(importlib.import_module(f"{parts[0]}.msg"), parts[-1])


def has_field(message_type: str, path: str) -> bool:
    """Does a message of this type have this field? A path ends at an array or a number."""
    fields = message_class(message_type).get_fields_and_field_types()
    name, _, rest = path.partition(".")
    if name not in fields or not rest:
        return name in fields
    return "/" in fields[name] and "[" not in fields[name] and has_field(fields[name], rest)
