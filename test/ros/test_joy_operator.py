"""A gamepad over DDS: presses become stops, answers and labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from operator_cell import OperatorCell
from ros_graph import Graph, until
from sensor_msgs.msg import Joy

from robomd_msgs.msg import OperatorRequest
from robomd_msgs.srv import AnswerRequest
from robomd_ros.adapters import names, qos
from robomd_ros.adapters.base import ERROR, WARN, RobomdNode
from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.outcome import Outcome
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.study import Study, StudyMeta
from robomd_ros.core.variations import Perturbation
from robomd_ros.nodes.joy_operator import JoyOperatorNode
from robomd_ros.nodes.outcome_labeler import OutcomeLabelerNode

STOP, DONE, REFUSE, SUCCESS, FAILURE, UNDO = 1, 7, 6, 0, 2, 4


class Pad(RobomdNode):
    """Eight buttons."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("pad", **kwargs)
        self.joy = self.create_publisher(Joy, names.JOY, qos.EVENTS)

    def hold(self, *down: int, times: int = 1) -> None:
        """Say `times` times that exactly these are down."""
        for _ in range(times):
            self.joy.publish(Joy(buttons=[int(b in down) for b in range(8)]))

    def press(self, button: int) -> None:
        """Down for 20 messages, as a driver that repeats itself sends it, and up again."""
        self.hold(button, times=20)
        self.hold()


@pytest.fixture
def study(tmp_path: Path) -> Study:
    made = Study.create(tmp_path / "study", StudyMeta("lift", "UR5e", "policy-1"))
    with made.store() as store:
        for number in range(2):
            record = RolloutRecord(f"r{number}", Perturbation(), "lift", "UR5e", "policy-1")
            store.add(record)
    return made


@pytest.fixture
def pad(graph: Graph) -> Pad:
    return graph.add(Pad)


def add_joy(graph: Graph, pad: Pad, **parameters: object) -> JoyOperatorNode:
    node = graph.add(JoyOperatorNode, debounce=0.0, **parameters)
    until(lambda: pad.joy.get_subscription_count() == 1)
    pad.hold()
    until(lambda: node.health().values["buttons"] == 8)
    return node


def said(node: JoyOperatorNode) -> str:
    return str(node.health().values["said"])


def test_a_stop_gets_through_and_requests_are_answered_once(graph: Graph, pad: Pad) -> None:
    cell = graph.add(OperatorCell)
    node = add_joy(graph, pad, labeler="ann")
    node._desk._reaction = 0.0
    until(node._desk._stop.service_is_ready)
    until(node._desk._answer.service_is_ready)
    pad.press(STOP)
    until(lambda: cell.stops)
    until(lambda: "the arm holds" in said(node))
    pad.press(DONE)
    until(lambda: "asks for nothing" in said(node))
    cell.ask("q1", OperatorRequest.SET_UP, "put the red cube on the table", "Take the cube.")
    until(lambda: node._desk.situation.request_id == "q1")
    pad.press(DONE)
    until(lambda: cell.answers)
    until(lambda: not node._desk.situation.request_id)
    cell.ask("q2", OperatorRequest.CONSENT, "stand clear")
    until(lambda: node._desk.situation.request_id == "q2")
    pad.press(REFUSE)
    until(lambda: len(cell.answers) == 2)
    given = [(a.request_id, a.answer, a.answered_by) for a in cell.answers]
    answer = AnswerRequest.Request
    assert given == [("q1", answer.DONE, "ann"), ("q2", answer.REFUSE, "ann")]
    assert cell.stops == 1  # held for 20 messages


def test_what_has_just_appeared_is_not_answered(graph: Graph, pad: Pad) -> None:
    cell = graph.add(OperatorCell)
    node = add_joy(graph, pad)
    node._desk._reaction = 1e6
    cell.ask("q1", OperatorRequest.CONSENT, "stand clear")
    until(lambda: node._desk.situation.request_id == "q1")
    pad.press(DONE)
    until(lambda: "just appeared" in said(node))
    pad.press(STOP)
    until(lambda: cell.stops)
    assert not cell.answers


def test_labels_reach_the_store_for_the_rollout_that_was_shown(
    graph: Graph, pad: Pad, study: Study
) -> None:
    graph.add(OutcomeLabelerNode, study=str(study.folder))
    node = add_joy(graph, pad, labeler="ann")
    node._desk._reaction = 0.0
    until(node._desk._label.service_is_ready)
    first = until(lambda: node._desk.situation.rollout_id)
    pad.press(FAILURE)
    until(lambda: "FAILURE, stored in" in said(node) or "waits for a label" in said(node))
    second = until(
        lambda: (
            node._desk.situation.rollout_id not in ("", first) and node._desk.situation.rollout_id
        )
    )
    until(lambda: not node._desk.pending)
    pad.press(SUCCESS)
    until(lambda: not node._desk.situation.rollout_id)
    pad.press(SUCCESS)
    until(lambda: "no rollout waits" in said(node))
    pad.press(UNDO)
    until(lambda: node._desk.situation.rollout_id == second)
    with study.store(read_only=True) as store:
        assert store.get(first).outcome is Outcome.FAILURE
        assert store.get(first).labels[-1].labeler == "ann"
        assert store.get(second).outcome is Outcome.UNKNOWN
        assert [len(store.history(i)) for i in (first, second)] == [1, 2]


def test_a_stop_that_nobody_takes_is_said(graph: Graph, pad: Pad) -> None:
    node = add_joy(graph, pad)
    pad.press(STOP)
    until(lambda: "EMERGENCY STOP" in said(node))


def test_no_device_is_said(graph: Graph) -> None:
    health = graph.add(JoyOperatorNode).health()
    assert health.level == WARN
    assert "nothing publishes joy" in health.message


def test_a_device_that_does_not_fit_is_said(graph: Graph, pad: Pad) -> None:
    node = add_joy(graph, pad, stop=9, undo=10)
    health = node.health()
    assert health.level == ERROR
    assert "none for stop, undo" in health.message
    with pytest.raises(InvalidArgumentError, match="one button, one intent"):
        graph.add(JoyOperatorNode, stop=2)
