"""What a recording holds besides frames and joint states: the cell's other topics, as they were on the wire."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import ur_interfaces
from geometry_msgs.msg import TransformStamped
from rclpy.serialization import deserialize_message
from ros_graph import Graph, until
from rosbags.highlevel import AnyReader
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Bool, Float64MultiArray, String
from synthetic_cell import SyntheticCell, picture

from robomd_msgs.msg import CellState, Outcome, RolloutStatus
from robomd_ros.adapters import names, qos, stamps
from robomd_ros.adapters.images import image_from_compressed
from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.records import RawMessage
from robomd_ros.core.study import Study
from robomd_ros.nodes.camera_capture import CameraCaptureNode
from robomd_ros.nodes.outcome_labeler import OutcomeLabelerNode
from robomd_ros.recording import read_recording, verify_recording
from robomd_ros.recording.messages import COMPRESSED

COMMANDS = "forward_position_controller/commands"
MS = 1_000_000


@pytest.fixture
def cell(graph: Graph) -> SyntheticCell:
    return graph.add(SyntheticCell)


def start(
    graph: Graph, cell: SyntheticCell, study: Path, compressed: bool = False, **parameters: Any
) -> OutcomeLabelerNode:
    graph.add(CameraCaptureNode, compressed=compressed)
    node = graph.add(OutcomeLabelerNode, study=str(study), compressed=compressed, **parameters)
    until(lambda: cell.images.get_subscription_count() >= 1 or compressed)
    until(lambda: cell.statuses.get_subscription_count() == 2)
    until(lambda: cell.joints.get_subscription_count() == 1)
    until(lambda: cell.count_publishers(names.LABELED_ROLLOUT) == 1)
    until(lambda: node.count_publishers(names.FRAMES) == 1)
    return node


def heard(node: OutcomeLabelerNode, topic: str) -> list[RawMessage]:
    """Messages of a topic that wait for a rollout that claims them."""
    return [m for m in node._recorder.extras(0, time.time_ns()) if m.topic == f"/{topic}"]


def recorded(study: Path, rollout_id: str) -> dict[str, list[RawMessage]]:
    """Further messages of a stored rollout, by topic; read by a foreign reader as well."""
    with Study.open(study).store(read_only=True) as store:
        name = store.get(rollout_id).recording
    path = study / "recordings" / name
    verify_recording(path)
    found = defaultdict(list)
    for message in read_recording(path).extras:
        found[message.topic].append(message)
    with AnyReader([path]) as bag:
        foreign = defaultdict(list)
        for connection, _, data in bag.messages():
            bag.deserialize(data, connection.msgtype)
            foreign[connection.topic].append(data)
    for topic, messages in found.items():
        assert foreign[topic] == [m.data for m in messages]
    return found


def test_commands_and_status_are_recorded_in_the_camera_s_clock(
    graph: Graph, cell: SyntheticCell, tmp_path: Path
) -> None:
    node = start(
        graph, cell, tmp_path / "s", record_topics=["lab/door", "lab/wrong:=std_msgs/msg/Bool"]
    )
    commands = cell.create_publisher(Float64MultiArray, COMMANDS, 10)
    states = cell.create_publisher(CellState, names.CELL_STATE, qos.LATCHED)
    door = cell.create_publisher(Bool, "lab/door", qos.SENSOR_DATA)
    cell.create_publisher(String, "lab/wrong", 10)
    states.publish(CellState(state=CellState.READY, message="ready"))
    until(lambda: {COMMANDS, names.CELL_STATE, "lab/door"} <= set(node._recorder.recorded))
    until(lambda: "lab/wrong" in node._recorder.refused)
    assert "std_msgs/msg/String" in node._recorder.refused["lab/wrong"]
    until(lambda: commands.get_subscription_count() and door.get_subscription_count())
    until(lambda: heard(node, names.CELL_STATE))
    begin = cell.now = time.time_ns() // MS * MS
    cell.image(begin)
    cell.joint(begin)
    cell.status("r1", RolloutStatus.STARTED, begin)
    until(lambda: "r1" in node._rollouts and node._rollouts["r1"].assembly.frames)
    for value in range(20):
        commands.publish(Float64MultiArray(data=[float(value)] * 6))
    door.publish(Bool(data=True))
    until(lambda: len(heard(node, COMMANDS)) == 20 and heard(node, "lab/door"))
    end = time.time_ns() // MS * MS
    cell.image(end)
    cell.joint(end)
    cell.status("r1", RolloutStatus.FINISHED, end, 2, Outcome.SAFETY_STOP)
    until(lambda: cell.labeled)

    found = recorded(tmp_path / "s", "r1")
    sent = [deserialize_message(m.data, Float64MultiArray).data[0] for m in found[f"/{COMMANDS}"]]
    assert sent == list(range(20))
    assert all(begin <= m.stamp <= end for m in found[f"/{COMMANDS}"])
    (state,) = found[f"/{names.CELL_STATE}"]
    assert (state.stamp, state.latched) == (
        begin,
        True,
    )  # said before: the recording starts with it
    assert deserialize_message(state.data, CellState).message == "ready"
    assert [m.latched for m in found["/lab/door"]] == [False]
    statuses = [
        deserialize_message(m.data, RolloutStatus) for m in found[f"/{names.ROLLOUT_STATUS}"]
    ]
    assert [s.state for s in statuses] == [RolloutStatus.STARTED, RolloutStatus.FINISHED]
    assert "/lab/wrong" not in found


def test_on_simulated_time_messages_get_the_newest_stamp(
    graph: Graph, cell: SyntheticCell, tmp_path: Path
) -> None:
    node = start(graph, cell, tmp_path / "s")
    commands = cell.create_publisher(Float64MultiArray, COMMANDS, 10)
    until(lambda: COMMANDS in node._recorder.recorded and commands.get_subscription_count())
    begin = cell.now
    cell.image(begin)
    cell.joint(begin)
    cell.status("r1", RolloutStatus.STARTED, begin)
    until(lambda: node._recorder.now() == begin)
    commands.publish(Float64MultiArray(data=[1.0]))
    until(lambda: heard(node, COMMANDS))
    cell.image(begin + 7 * MS)
    cell.joint(begin + 7 * MS)
    cell.status("r1", RolloutStatus.FINISHED, begin + 7 * MS, 2, Outcome.SUCCESS)
    until(lambda: cell.labeled)
    assert [m.stamp for m in recorded(tmp_path / "s", "r1")[f"/{COMMANDS}"]] == [begin]


@pytest.fixture
def driver_types() -> Iterator[None]:
    with ur_interfaces.here():
        yield


@pytest.mark.usefixtures("driver_types")
def test_transforms_of_all_static_publishers_are_in_each_recording(
    graph: Graph, cell: SyntheticCell, tmp_path: Path
) -> None:
    from tf2_msgs.msg import TFMessage

    node = start(graph, cell, tmp_path / "s")
    for child in ("camera_link", "table"):
        publisher = cell.create_publisher(TFMessage, "/tf_static", qos.LATCHED)
        publisher.publish(TFMessage(transforms=[TransformStamped(child_frame_id=child)]))
    until(lambda: "/tf_static" in node._recorder.recorded)
    until(lambda: len(heard(node, "tf_static")) == 2)
    for rollout_id in ("r1", "r2"):
        cell.rollout(rollout_id, 2, Outcome.SUCCESS)
        until(lambda i=rollout_id: any(r.rollout_id == i for r in cell.labeled))
        found = recorded(tmp_path / "s", rollout_id)["/tf_static"]
        read = [deserialize_message(m.data, TFMessage).transforms[0] for m in found]
        assert {t.child_frame_id for t in read} == {"camera_link", "table"}
        assert all(m.latched for m in found)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_compressed_camera_is_kept_as_it_came(
    graph: Graph, cell: SyntheticCell, tmp_path: Path, suffix: str
) -> None:
    node = start(graph, cell, tmp_path / "s", compressed=True)
    camera = cell.create_publisher(CompressedImage, names.CAMERA_COMPRESSED, qos.SENSOR_DATA)
    until(lambda: camera.get_subscription_count() == 2)
    until(lambda: names.CAMERA_COMPRESSED in node._recorder.recorded)
    sent = []
    for index in range(3):
        stamp = cell.now + index * 100 * MS
        message = CompressedImage(format=suffix[1:])
        message.header.stamp = stamps.from_ns(stamp)
        grey_or_colour = picture(index)[:, :, 0] if index == 1 else picture(index)
        message.data.frombytes(cv2.imencode(suffix, grey_or_colour)[1].tobytes())
        camera.publish(message)
        cell.joint(stamp)
        sent.append(message)
        if index == 0:
            cell.status("r1", RolloutStatus.STARTED, stamp)
        until(lambda n=index: len(cell.frames) > n)
    cell.status("r1", RolloutStatus.FINISHED, stamp, 3, Outcome.FAILURE)
    until(lambda: cell.labeled)
    path = tmp_path / "s" / "recordings" / "r1.mcap"
    trace = read_recording(path)
    verify_recording(path)
    for at, message in enumerate(sent):
        kept = deserialize_message(trace.compressed[at], CompressedImage)
        assert kept == message
        # What is decoded later is what camera_capture saw.
        assert np.array_equal(trace.frames[at], image_from_compressed(message))
    with AnyReader([path]) as bag:
        assert {c.topic for c in bag.connections} >= {COMPRESSED}
        assert Image.__name__ not in {c.msgtype.split("/")[-1] for c in bag.connections}


def test_too_little_memory_for_messages_is_said_and_stored(
    graph: Graph, cell: SyntheticCell, tmp_path: Path
) -> None:
    node = start(graph, cell, tmp_path / "s", max_message_bytes=1 << 16)
    commands = cell.create_publisher(Float64MultiArray, COMMANDS, 10)
    until(lambda: COMMANDS in node._recorder.recorded and commands.get_subscription_count())
    begin = cell.now
    cell.image(begin)
    cell.joint(begin)
    cell.status("r1", RolloutStatus.STARTED, begin)
    until(lambda: node._recorder.now() == begin)
    for _ in range(20):
        commands.publish(Float64MultiArray(data=[0.0] * 1000))
    until(lambda: not node._recorder.is_whole_since(begin))
    cell.status("r1", RolloutStatus.FINISHED, begin, 1, Outcome.SUCCESS)
    until(lambda: cell.labeled)
    assert 0 < len(recorded(tmp_path / "s", "r1")[f"/{COMMANDS}"]) < 20
    with Study.open(tmp_path / "s").store(read_only=True) as store:
        assert store.get("r1").facts["messages"] == "incomplete"


@pytest.mark.parametrize(
    "topic", ["not a topic", "joint_states", "/camera/image_raw", "camera/image_raw/compressed", ""]
)
def test_a_topic_that_cannot_be_asked_for_is_refused(
    graph: Graph, tmp_path: Path, topic: str
) -> None:
    with pytest.raises(InvalidArgumentError, match="record_topics"):
        graph.add(OutcomeLabelerNode, study=str(tmp_path / "s"), record_topics=[topic])
