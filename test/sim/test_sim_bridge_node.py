"""The simulated cell as others see it: over ROS."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import threading
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("robomd_msgs", reason="robomd_msgs is not built")

from geometry_msgs.msg import PoseStamped
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState

from robomd_msgs.action import RunRollout
from robomd_msgs.msg import RolloutStatus
from robomd_msgs.srv import ApplyPerturbation
from robomd_ros.adapters import names, qos, stamps
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.adapters.images import image_from_msg
from robomd_ros.cli import main as cli
from robomd_ros.core.errors import ErrorCode, RobomdError
from robomd_ros.core.outcome import Outcome
from robomd_ros.core.study import Study
from robomd_ros.nodes.camera_capture import CameraCaptureNode
from robomd_ros.nodes.outcome_labeler import OutcomeLabelerNode
from robomd_ros.recording import read_recording
from sim_bridge.collect import run_job
from sim_bridge.jobs import make_job
from sim_bridge.sim_bridge_node import SimBridgeNode

_spec = importlib.util.spec_from_file_location(
    "ros_graph", Path(__file__).parents[1] / "ros" / "ros_graph.py"
)
ros = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(ros)

TOPICS = {
    "clock": (Clock, "/clock", qos.STREAM),
    "image": (Image, names.CAMERA_IMAGE, qos.CAMERA_RELIABLE),
    "info": (CameraInfo, names.CAMERA_INFO, qos.CAMERA_RELIABLE),
    "joints": (JointState, names.JOINT_STATES, qos.CAMERA_RELIABLE),
    "pose": (PoseStamped, names.EE_POSE, qos.CAMERA_RELIABLE),
    "status": (RolloutStatus, names.ROLLOUT_STATUS, qos.EVENTS),
    "actions": (JointState, names.ACTIONS, qos.EVENTS),
}


class Listener(RobomdNode):
    """Keeps all that the cell says."""

    threads = 3

    def __init__(self, **kwargs):
        super().__init__("listener", **kwargs)
        self.heard = {name: [] for name in TOPICS}
        for name, (msg_type, topic, profile) in TOPICS.items():
            self.listen(msg_type, topic, self.heard[name].append, profile)


def start(policy: str, neighbour: bool = False, **parameters):
    graph = ros.Graph(neighbour)
    listener = graph.add(Listener)
    node = graph.add(SimBridgeNode, policy=policy, **parameters)
    ros.until(lambda: node.health().message in ("idle",) or node.health().level == 2, 60.0)
    return SimpleNamespace(graph=graph, listener=listener, node=node, heard=listener.heard)


@pytest.fixture(scope="module")
def bridge():
    """Four times real time: a rollout lasts long enough to meet it half way."""
    made = start("python:red_servo:servo", real_time_factor=4.0)
    yield made
    made.graph.close()


def apply(bridge, *ids: str):
    request = ApplyPerturbation.Request(variation_ids=list(ids))
    return bridge.graph.call(
        bridge.listener, ApplyPerturbation, names.CELL_APPLY_PERTURBATION, request
    )


def goal(**fields) -> RunRollout.Goal:
    wanted = {"rollout_id": "r1", "perturbation_id": "nominal", "seed": 0, "purpose": "manual"}
    return RunRollout.Goal(**(wanted | fields))


def act(bridge, **fields):
    return bridge.graph.act(bridge.listener, RunRollout, names.RUN_ROLLOUT, goal(**fields))


def statuses(bridge, rollout_id: str, n: int = 2) -> list[RolloutStatus]:
    def found():
        mine = [m for m in bridge.heard["status"] if m.rollout_id == rollout_id]
        return mine if len(mine) >= n else None

    return ros.until(found)


def frames_of(bridge, first: RolloutStatus, last: RolloutStatus) -> list[Image]:
    low, high = stamps.to_ns(first.header.stamp), stamps.to_ns(last.header.stamp)
    return [m for m in bridge.heard["image"] if low <= stamps.to_ns(m.header.stamp) <= high]


def test_an_idle_cell_says_what_a_real_one_says(bridge):
    for name in ("clock", "image", "info", "joints", "pose"):
        ros.until(lambda name=name: len(bridge.heard[name]) >= 3)
    image, info = bridge.heard["image"][-1], bridge.heard["info"][-1]
    assert image.encoding == "rgb8"
    assert image.header.frame_id == "camera_color_optical_frame"
    assert (image.height, image.width) == (info.height, info.width)
    assert info.k[0] == info.k[4] > 0
    assert info.k[2] == (info.width - 1) / 2
    joints = bridge.heard["joints"][-1]
    assert len(joints.name) == len(joints.position) == len(joints.velocity) == 9
    q = bridge.heard["pose"][-1].pose.orientation
    assert math.hypot(q.x, q.y, q.z, q.w) == pytest.approx(1.0)


def test_a_rollout_is_published_whole(bridge):
    result = act(bridge, rollout_id="whole")
    assert (result.error_code, result.error_msg) == (0, "")
    begin, end = statuses(bridge, "whole")
    assert (begin.state, end.state) == (RolloutStatus.STARTED, RolloutStatus.FINISHED)
    assert str(end) == str(result.status)  # as text: NaN is not equal to itself
    assert end.outcome.value == Outcome.SUCCESS
    assert end.outcome.labeler == "sim"
    assert end.frames == end.steps + 1
    assert end.duration == pytest.approx(0.1 * end.steps)
    assert (end.policy_id, end.robot, end.task) == ("red_servo", "Panda", "lift")
    ros.until(lambda: len(frames_of(bridge, begin, end)) == end.frames)
    first = image_from_msg(frames_of(bridge, begin, end)[0])
    reference = bridge.node._simulator.call(bridge.node._cell.nominal_render, 0, timeout=10.0)
    assert np.array_equal(first, reference)  # before the policy moves


def test_the_live_path_and_the_bulk_path_give_the_same_rollout(bridge, cell, catalogue, tmp_path):
    capture = bridge.graph.add(CameraCaptureNode)
    labeler = bridge.graph.add(OutcomeLabelerNode, study=str(tmp_path / "s"))
    try:
        ros.until(lambda: labeler.count_publishers(names.FRAMES) == 1)
        ros.until(lambda: bridge.node._status.get_subscription_count() == 3)
        ros.until(lambda: bridge.node._image.get_subscription_count() == 2)
        ros.until(lambda: bridge.node._actions.get_subscription_count() == 2)
        ros.until(lambda: bridge.node._joints.get_subscription_count() == 2)
        _same_rollout(bridge, cell, catalogue, tmp_path)
    finally:
        bridge.graph.remove(labeler)
        bridge.graph.remove(capture)


def _same_rollout(bridge, cell, catalogue, tmp_path):
    variation, seed = "light_intensity=0.8", 11
    record, trace = run_job(cell, make_job(catalogue.perturbation(variation), seed, "manual"))
    assert apply(bridge, variation).error_code == 0
    try:
        result = act(bridge, rollout_id="same", perturbation_id=variation, seed=seed)
    finally:
        assert apply(bridge).error_code == 0
    assert result.error_code == 0, result.error_msg
    begin, end = statuses(bridge, "same")
    ros.until(lambda: len(frames_of(bridge, begin, end)) == end.frames)
    frames = [image_from_msg(m) for m in frames_of(bridge, begin, end)]
    assert np.array_equal(frames[0], record.first_frame)
    assert np.array_equal(frames, trace.frames)
    assert (end.steps, end.frames) == (record.steps, record.frames)
    assert end.duration == pytest.approx(record.duration)
    assert Outcome(end.outcome.value) is record.outcome
    assert end.perturbation.id == record.perturbation.id
    assert (end.seed, end.policy_id, end.robot) == (record.seed, record.policy_id, record.robot)

    def stored():
        with (
            contextlib.suppress(RobomdError),
            Study.open(tmp_path / "s").store(read_only=True) as store,
        ):
            return store.get("same")

    live = ros.until(stored)
    back = read_recording(tmp_path / "s" / "recordings" / live.recording)
    assert np.array_equal(back.frames, trace.frames)
    assert np.array_equal(back.actions, trace.actions)
    offset = back.stamps[0] - trace.stamps[0]
    answered = trace.stamps[: len(trace.actions)]
    assert np.allclose(back.action_stamps - offset, answered, rtol=0, atol=1e-6)
    assert np.allclose(back.joint_positions, trace.joint_positions)
    target = tmp_path / "demo.hdf5"
    export = ["study", "export", str(tmp_path / "s"), str(target), "--format", "robomimic"]
    assert cli.run(export) == 0
    with h5py.File(target) as file:
        assert np.array_equal(file["data/demo_0/actions"], trace.actions)


def test_the_clock_never_goes_back(bridge):
    act(bridge, rollout_id="one")
    act(bridge, rollout_id="two")
    ros.until(lambda: len(bridge.heard["clock"]) > 10)
    for name in ("clock", "image"):
        messages = list(bridge.heard[name])
        times = [stamps.to_ns(m.clock if name == "clock" else m.header.stamp) for m in messages]
        assert times == sorted(set(times))


def test_a_variation_is_applied_and_seen(bridge):
    answer = apply(bridge, "cube_green")
    try:
        assert answer.error_code == 0
        assert answer.perturbation.id == "cube_green"
        assert 0 < answer.apply_time < 1
        result = act(bridge, rollout_id="green", perturbation_id="cube_green")
        assert result.status.outcome.value == Outcome.FAILURE
        assert result.status.perturbation.variations[0].id == "cube_green"
        refused = act(bridge, rollout_id="other", perturbation_id="nominal")
        assert refused.error_code == ErrorCode.INVALID_ARGUMENT
        assert "cube_green" in refused.error_msg
    finally:
        assert apply(bridge).perturbation.id == "nominal"


@pytest.mark.parametrize(
    ("ids", "code"),
    [
        (["cube_mauve"], ErrorCode.UNKNOWN_ID),
        (["cube_red", "cube_blue"], ErrorCode.INVALID_ARGUMENT),
        (["light_intensity=nan"], ErrorCode.INVALID_ARGUMENT),
        (["light_intensity=9"], ErrorCode.INVALID_ARGUMENT),
        (["cube_red"] * 10_000, ErrorCode.TOO_LARGE),
        (["x" * 1_000_000], ErrorCode.UNKNOWN_ID),
    ],
)
def test_a_wrong_variation_gets_a_code_and_a_sentence(bridge, ids, code):
    answer = apply(bridge, *ids)
    assert answer.error_code == code
    assert 10 < len(answer.error_msg) <= 500
    assert apply(bridge).error_code == 0


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"rollout_id": ""}, ErrorCode.INVALID_ARGUMENT),
        ({"rollout_id": "../x"}, ErrorCode.INVALID_ARGUMENT),
        ({"purpose": "fun"}, ErrorCode.INVALID_ARGUMENT),
        ({"control": 7}, ErrorCode.INVALID_ARGUMENT),
        ({"seed": -2}, ErrorCode.INVALID_ARGUMENT),
        ({"timeout": math.nan}, ErrorCode.INVALID_ARGUMENT),
        ({"timeout": -1.0}, ErrorCode.INVALID_ARGUMENT),
        ({"perturbation_id": "cube_mauve"}, ErrorCode.UNKNOWN_ID),
    ],
)
def test_a_wrong_goal_gets_a_code_and_a_sentence_and_starts_nothing(bridge, fields, code):
    before = len(bridge.heard["status"])
    result = act(bridge, **fields)
    assert result.error_code == code
    assert len(result.error_msg) > 10
    assert len(bridge.heard["status"]) == before


def test_the_negative_control_does_not_succeed(bridge):
    result = act(bridge, rollout_id="zero", control=1, purpose="control", seed=5)
    assert result.error_code == 0
    assert result.status.control == RolloutStatus.CONTROL_ZERO_ACTION
    assert result.status.outcome.value == Outcome.FAILURE


def test_a_time_out_is_told_apart_from_a_failure(bridge):
    result = act(bridge, rollout_id="slow", control=1, timeout=0.3)
    assert result.error_code == ErrorCode.TIMEOUT
    end = statuses(bridge, "slow")[-1]
    assert end.outcome.value == Outcome.TIMEOUT
    assert 0 < end.frames < 40


def test_services_answer_while_a_rollout_runs_and_it_can_be_cancelled(bridge):
    client = bridge.graph.client(bridge.listener, RunRollout, names.RUN_ROLLOUT)
    steps: list[int] = []
    sent = client.send_goal_async(
        goal(rollout_id="long", control=1), lambda m: steps.append(m.feedback.step)
    )
    handle = bridge.graph._done(sent, 10.0, "goal")
    result = handle.get_result_async()
    ros.until(lambda: len(steps) > 2)
    assert apply(bridge, "cube_red").error_code == ErrorCode.BUSY
    assert act(bridge, rollout_id="second").error_code == ErrorCode.BUSY
    handle.cancel_goal_async()
    done = threading.Event()
    result.add_done_callback(lambda _: done.set())
    assert done.wait(10.0)
    assert result.result().result.error_code == ErrorCode.CANCELLED
    assert statuses(bridge, "long")[-1].outcome.value == Outcome.INVALID
    assert apply(bridge).error_code == 0


def test_a_slow_reset_of_the_policy_is_not_silence(bridge, monkeypatch):
    policy, heard = bridge.node._cell.policy, []
    resets = policy.reset

    def slow(seed: int) -> None:
        ros.until(lambda: len(heard) >= 4)  # two of its own, and two while it waits
        resets(seed)

    monkeypatch.setattr(policy, "reset", slow)
    apply(bridge)
    client = bridge.graph.client(bridge.listener, RunRollout, names.RUN_ROLLOUT)
    sent = client.send_goal_async(goal(rollout_id="slow"), feedback_callback=heard.append)
    ros.until(sent.done)
    ended = sent.result().get_result_async()
    ros.until(ended.done, 60.0)
    assert ended.result().result.error_code == ErrorCode.OK
    assert [m.feedback.step for m in heard[:4]] == [0] * 4


def test_an_error_of_the_policy_is_a_policy_error():
    bridge = start(
        "python:red_servo:raises", neighbour=True
    )  # two cells in one domain answer one goal
    try:
        result = act(bridge, rollout_id="broken")
        assert result.error_code == ErrorCode.POLICY
        assert "out of ideas" in result.error_msg
        assert result.status.outcome.value == Outcome.POLICY_ERROR
        assert statuses(bridge, "broken")[-1].frames == 4
    finally:
        bridge.graph.close()


def test_another_task_is_a_parameter_and_brings_its_catalogue():
    bridge = start("", neighbour=True, task="stack")
    try:
        answer = apply(bridge, "base_color=0,0,1")
        assert answer.error_code == ErrorCode.OK
        assert answer.perturbation.task == "stack"
        assert apply(bridge, "can_red").error_code == ErrorCode.UNKNOWN_ID
    finally:
        bridge.graph.close()


def test_a_policy_that_is_not_there_is_said_and_the_node_lives():
    bridge = start("no_such_policy", neighbour=True)
    try:
        result = act(bridge)
        assert result.error_code == ErrorCode.UNAVAILABLE
        assert "no_such_policy" in result.error_msg
        assert apply(bridge).error_code == ErrorCode.UNAVAILABLE
        assert "no_such_policy" in bridge.node.health().message
    finally:
        bridge.graph.close()
