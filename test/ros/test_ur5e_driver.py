"""ur5e_driver against a UR driver of standard types: what it lets the policy do, and how it stops."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import arm_policies
import numpy as np
import pytest
from fake_ur import FakeUr
from geometry_msgs.msg import PoseStamped
from ros_graph import Graph, until
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from robomd_msgs.action import RunRollout
from robomd_msgs.msg import CellState, OperatorRequest, RolloutStatus
from robomd_msgs.srv import AnswerRequest, ApplyPerturbation
from robomd_ros.adapters import names, qos, stamps
from robomd_ros.adapters.arm_ports import RosArmPorts
from robomd_ros.adapters.conversions import record_from_status
from robomd_ros.adapters.parameters import InvalidArgumentError
from robomd_ros.arm.kinematics import ROBOSUITE_HOME
from robomd_ros.core.errors import ErrorCode
from robomd_ros.core.outcome import Outcome
from robomd_ros.nodes.ur5e_driver import Ur5eDriverNode

QUIET = 0.4
"""Seconds for which nothing may be published after a stop."""


@pytest.fixture(autouse=True)
def policies(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent), *sys.path])
    yield
    arm_policies.RELEASE.set()


@pytest.fixture
def ur(graph: Graph) -> FakeUr:
    return graph.add(FakeUr)


def driver(graph: Graph, policy: str = "waves", **parameters: Any) -> Ur5eDriverNode:
    fast = {"home_time": 0.5, "gripper_time": 0.05, "gripper": "set_bool", "consent": "none"}
    # a busy machine is not what these tests are about
    fast |= dict.fromkeys(("camera_silence", "observation_age", "joint_silence", "action_age"), 3.0)
    return graph.add(
        Ur5eDriverNode,
        **{"hardware": "standin", "policy": f"python:arm_policies:{policy}", **fast, **parameters},
    )


def apply(graph: Graph, ur: FakeUr, *ids: str) -> Any:
    request = ApplyPerturbation.Request(variation_ids=list(ids))
    return graph.call(ur, ApplyPerturbation, names.CELL_APPLY_PERTURBATION, request)


def ready(graph: Graph, ur: FakeUr, *ids: str) -> None:
    """The program runs, the perturbation is set up, the cell says that it is ready."""
    ur.program(True)
    assert apply(graph, ur, *ids).error_code == 0
    until(lambda: ur.states and ur.states[-1].state == CellState.READY)


def goal(rollout_id: str = "r-1", **fields: Any) -> RunRollout.Goal:
    return RunRollout.Goal(
        rollout_id=rollout_id,
        perturbation_id=fields.pop("perturbation_id", "nominal"),
        seed=-1,
        **fields,
    )


def roll(graph: Graph, ur: FakeUr, rollout_id: str = "r-1", **fields: Any) -> Any:
    return graph.act(ur, RunRollout, names.RUN_ROLLOUT, goal(rollout_id, **fields))


class Running:
    """A rollout that goes on beside the test."""

    def __init__(self, graph: Graph, ur: FakeUr, rollout_id: str = "r-1", **fields: Any) -> None:
        client = graph.client(ur, RunRollout, names.RUN_ROLLOUT)
        self.beats: list[float] = []
        sent = client.send_goal_async(
            goal(rollout_id, **fields),
            feedback_callback=lambda _: self.beats.append(time.monotonic()),
        )
        until(sent.done)
        self.handle = sent.result()
        self._result = self.handle.get_result_async()

    def result(self) -> Any:
        until(self._result.done)
        return self._result.result().result


def moving(ur: FakeUr, commands: int = 20) -> None:
    until(lambda: len(ur.policy_commands()) >= commands)


def quiet(ur: FakeUr) -> bool:
    """Nothing is published for a while; what was under way when the rollout ended may still come in before."""

    def silent() -> bool:
        since = len(ur.commands)
        ur.wait.wait(QUIET)
        return len(ur.commands) == since

    return until(silent)


def finished(ur: FakeUr, rollout_id: str = "r-1") -> RolloutStatus:
    return until(
        lambda: next(
            (
                s
                for s in ur.statuses
                if s.rollout_id == rollout_id and s.state == RolloutStatus.FINISHED
            ),
            None,
        )
    )


def facts(status: RolloutStatus) -> dict[str, str]:
    return {f.key: f.value for f in status.facts}


# -- a rollout --------------------------------------------------------------------------------------------------------


def test_a_rollout_homes_asks_and_runs_to_its_horizon(graph: Graph, ur: FakeUr) -> None:
    driver(graph, consent="each")
    ready(graph, ur)
    ur.q = ur.q + 0.1
    result = roll(graph, ur)
    assert result.error_code == 0, result.error_msg
    assert ur.commands[0][1] == "trajectory"
    assert np.allclose(ur.commands[0][2], ROBOSUITE_HOME)
    asked = [r.kind for r in ur.requests if r.rollout_id == "r-1"]
    assert OperatorRequest.CONSENT in asked
    started, ended = (s for s in ur.statuses if s.rollout_id == "r-1")
    assert (started.state, ended.state) == (RolloutStatus.STARTED, RolloutStatus.FINISHED)
    assert (ended.outcome.value, ended.steps, ended.seed) == (Outcome.UNKNOWN, 12, -1)
    assert ended.frames >= 12
    assert ended.duration > 1.0
    assert started.header.stamp != ended.header.stamp
    sent = ur.policy_commands()
    assert len(sent) > 24  # 100 Hz on a machine with nothing else to do
    assert np.abs(sent[0][1] - np.array(ROBOSUITE_HOME)).max() < 0.05
    assert ur.gripper == [False, True]
    states = {s.state for s in ur.states}  # latched: a state that is left at once may be missed
    assert {CellState.HOMING, CellState.RUNNING, CellState.READY} <= states


def test_what_it_tells_of_a_rollout_is_stored_with_it(graph: Graph, ur: FakeUr) -> None:
    driver(graph)
    ready(graph, ur)
    status = roll(graph, ur).status
    stored = record_from_status(status, 0.0).facts
    assert float(stored["first_command_distance"]) < 0.05
    assert stored["control_mode"] == "position"
    assert stored["hardware"] == "standin"
    assert float(stored["speed_scaling"]) == 1.0


def test_the_actions_are_told_with_the_frames_that_they_answer(graph: Graph, ur: FakeUr) -> None:
    driver(graph)
    frames: set[int] = set()
    actions: list[JointState] = []
    ur.listen(
        Image,
        names.CAMERA_IMAGE,
        lambda m: frames.add(stamps.to_ns(m.header.stamp)),
        qos.CAMERA_RELIABLE,
    )
    ur.listen(JointState, names.ACTIONS, actions.append, qos.FRAMES)
    ready(graph, ur)
    until(lambda: frames)
    status = roll(graph, ur).status
    until(lambda: len(actions) == status.steps)
    answered = [stamps.to_ns(m.header.stamp) for m in actions]
    assert answered == sorted(set(answered))
    until(lambda: set(answered) <= frames)
    assert [m.position[6] for m in actions] == [-1.0] * 5 + [1.0] * 7


@pytest.mark.parametrize("control", ["velocity", "trajectory"])
def test_other_ways_to_move_the_arm(graph: Graph, ur: FakeUr, control: str) -> None:
    driver(graph, control=control)
    ready(graph, ur)
    assert roll(graph, ur).error_code == 0
    kind = {"velocity": "velocity", "trajectory": "trajectory"}[control]
    sent = ur.policy_commands(kind)
    assert len(sent) > 10
    if control == "velocity":
        assert not sent[-1][1].any()  # the hold


def test_a_zero_action_rollout_does_not_move_the_arm(graph: Graph, ur: FakeUr) -> None:
    driver(graph)
    ready(graph, ur)
    assert roll(graph, ur, control=RolloutStatus.CONTROL_ZERO_ACTION).error_code == 0
    assert all(np.abs(q - np.array(ROBOSUITE_HOME)).max() < 0.03 for _, q in ur.policy_commands())


def test_compressed_frames_will_do(graph: Graph, ur: FakeUr) -> None:
    ur.compressed = True
    driver(graph)
    ready(graph, ur)
    assert roll(graph, ur).error_code == 0


def test_feedback_comes_while_a_person_thinks(graph: Graph, ur: FakeUr) -> None:
    driver(graph, consent="each")
    ready(graph, ur)
    ur.operator = 0
    rollout = Running(graph, ur)
    until(lambda: ur.requests[-1].kind == OperatorRequest.CONSENT)
    until(lambda: ur.states[-1].state == CellState.WAITING)
    before = len(rollout.beats)
    until(lambda: len(rollout.beats) > before + 1)
    rollout.handle.cancel_goal_async()
    assert rollout.result().error_code == ErrorCode.CANCELLED
    assert not [s for s in ur.statuses if s.rollout_id == "r-1"]
    until(lambda: ur.requests[-1].kind == OperatorRequest.NONE)


def displace(ur: FakeUr) -> None:
    """The arm stands elsewhere, says so, and does not move."""
    ur.follows, ur.q = False, ur.q + 0.3
    said = ur.ticks
    until(lambda: ur.ticks > said + 10)


# -- what keeps a rollout from starting -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("silent", "sentence"),
    [
        ("program", "program_running was never published"),
        ("speed", "speed_scaling was never published"),
        ("joints", "no joint state ever"),
        ("camera", "no camera frame ever"),
    ],
)
def test_a_topic_that_never_spoke_is_not_ready(
    graph: Graph, ur: FakeUr, silent: str, sentence: str
) -> None:
    ur.silent = {silent}
    driver(graph)
    if silent != "program":
        ur.program(True)
    assert apply(graph, ur).error_code == 0
    until(lambda: ur.states and [w for w in ur.states[-1].why_not if sentence in w])
    result = roll(graph, ur)
    assert result.error_code == ErrorCode.NOT_READY
    assert sentence in result.error_msg
    assert not ur.commands
    assert not ur.statuses


def test_a_real_arm_wants_its_types_and_is_not_a_stand_in(graph: Graph, ur: FakeUr) -> None:
    driver(graph, hardware="real", gripper="set_io")
    ur.program(True)
    assert apply(graph, ur).error_code == 0
    result = roll(graph, ur)
    assert result.error_code == ErrorCode.NOT_READY
    said = " ".join(until(lambda: len(ur.states) > 1 and ur.states[-1]).why_not)
    assert "ur_dashboard_msgs cannot be imported" in said
    assert "ur_msgs cannot be imported" in said
    assert "control_msgs cannot be imported" in said
    assert "workspace_low and workspace_high are not set" in said
    assert "a stand-in cell answers" in said
    assert not ur.commands


@pytest.mark.parametrize("sign", ["dashboard", "tcp_pose"])
def test_mock_is_refused_when_a_real_robot_answers(graph: Graph, ur: FakeUr, sign: str) -> None:
    if sign == "dashboard":
        ur.dashboard()
    else:
        ur.create_publisher(PoseStamped, "tcp_pose_broadcaster/pose", 1)
    driver(graph, hardware="mock")
    assert apply(graph, ur).error_code == 0
    until(lambda: ur.states and "real robot answers" in " ".join(ur.states[-1].why_not))
    result = roll(graph, ur)
    assert result.error_code == ErrorCode.NOT_READY
    assert "hardware:=real" in result.error_msg
    assert not ur.commands


def test_mock_needs_no_readiness_topics(graph: Graph, ur: FakeUr) -> None:
    ur.silent = {"speed"}
    for name in ("robot_mode", "safety_mode"):  # the mock's controller offers them and says nothing
        ur.create_publisher(Bool, f"io_and_status_controller/{name}", 1)
    driver(graph, hardware="mock")
    assert apply(graph, ur).error_code == 0
    until(lambda: ur.states and ur.states[-1].state == CellState.READY)
    assert roll(graph, ur).error_code == 0


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"perturbation_id": "cube_red"}, ErrorCode.INVALID_ARGUMENT),
        ({"perturbation_id": "cube_plaid"}, ErrorCode.UNKNOWN_ID),
        ({"timeout": -1.0}, ErrorCode.INVALID_ARGUMENT),
        ({"control": 9}, ErrorCode.INVALID_ARGUMENT),
        ({"rollout_id": "a/b"}, ErrorCode.INVALID_ARGUMENT),
    ],
)
def test_a_wrong_goal_moves_nothing(graph: Graph, ur: FakeUr, fields: dict, code: int) -> None:
    driver(graph)
    ready(graph, ur)
    assert roll(graph, ur, **{"rollout_id": "r-1", **fields}).error_code == code
    assert not ur.commands


def test_nothing_runs_before_something_is_set_up(graph: Graph, ur: FakeUr) -> None:
    driver(graph)
    ur.program(True)
    result = roll(graph, ur)
    assert result.error_code == ErrorCode.NOT_READY
    assert names.CELL_APPLY_PERTURBATION in result.error_msg


def test_a_policy_that_cannot_be_loaded_says_so(graph: Graph, ur: FakeUr) -> None:
    driver(graph, policy="nothing")
    until(lambda: ur.states and "cannot be loaded" in ur.states[-1].message)


@pytest.mark.parametrize(
    "wrong", [{"home": [0.0]}, {"workspace_low": [2.0, 2.0, 2.0]}, {"control": "thought"}]
)
def test_wrong_parameters_stop_the_node(graph: Graph, wrong: dict) -> None:
    with pytest.raises(InvalidArgumentError):
        driver(graph, **wrong)


# -- the operator -----------------------------------------------------------------------------------------------------


def test_what_is_set_up_already_is_not_asked_for_again(graph: Graph, ur: FakeUr) -> None:
    driver(graph)
    ready(graph, ur, "cube_red")
    asked = {r.id for r in ur.requests if r.kind == OperatorRequest.SET_UP}
    response = apply(graph, ur, "cube_red")
    assert response.error_code == 0
    assert np.isnan(response.apply_time)
    apply(graph, ur, "table_blue")
    posed = [r for r in ur.requests if r.kind == OperatorRequest.SET_UP and r.id not in asked]
    assert [r.perturbation.id for r in posed] == ["table_blue"]
    assert posed[0].steps == [
        "Undo cube_red: Change the cube color to red.",
        "Change the table color to blue.",
    ]


def test_a_refused_set_up_leaves_what_was_there(graph: Graph, ur: FakeUr) -> None:
    driver(graph)
    ready(graph, ur)
    ur.operator = AnswerRequest.Request.REFUSE
    refused = apply(graph, ur, "table_long")
    assert refused.error_code == ErrorCode.UNAVAILABLE
    assert "did not set table_long up: so be it" in refused.error_msg
    assert roll(graph, ur).error_code == 0


def test_a_refused_consent_ends_it_before_anything_starts(graph: Graph, ur: FakeUr) -> None:
    driver(graph, consent="each")
    ready(graph, ur)
    ur.operator = AnswerRequest.Request.REFUSE
    result = roll(graph, ur)
    assert result.error_code == ErrorCode.CANCELLED
    assert "did not let it run: so be it" in result.error_msg
    assert not ur.statuses
    assert not ur.policy_commands()


def test_a_consent_that_nobody_gives_runs_out(graph: Graph, ur: FakeUr) -> None:
    driver(graph, consent="each")
    ready(graph, ur)
    ur.operator = 0
    result = roll(graph, ur, timeout=1.5)
    assert result.error_code == ErrorCode.TIMEOUT
    assert not ur.statuses


def test_consent_of_a_session_is_asked_for_once(graph: Graph, ur: FakeUr) -> None:
    driver(graph, consent="session")
    ready(graph, ur)
    for rollout_id in ("r-1", "r-2"):
        assert roll(graph, ur, rollout_id).error_code == 0
    asked = {r.id for r in ur.requests if r.kind == OperatorRequest.CONSENT}
    assert len(asked) == 1


# -- stops ------------------------------------------------------------------------------------------------------------


def stop_arm(graph: Graph, ur: FakeUr) -> None:
    assert graph.call(ur, Trigger, names.OPERATOR_STOP, Trigger.Request()).success


STOPS: dict[str, Callable[[Graph, FakeUr], None]] = {
    "operator": stop_arm,
    "program": lambda _, ur: ur.program(False),
}


@pytest.mark.parametrize("cause", STOPS)
def test_after_a_stop_nothing_is_published(graph: Graph, ur: FakeUr, cause: str) -> None:
    driver(graph, "for_long")
    ready(graph, ur)
    ur.answer_kinds = {OperatorRequest.SET_UP}
    rollout = Running(graph, ur)
    moving(ur)
    STOPS[cause](graph, ur)
    ended = finished(ur)
    assert ended.outcome.value == Outcome.SAFETY_STOP
    assert rollout.result().error_code == ErrorCode.SAFETY
    assert 0.0 <= float(facts(ended)["time_to_stop_ms"]) < 1000.0
    assert quiet(ur)
    until(lambda: ur.states[-1].state == CellState.STOPPED)
    assert ur.requests[-1].kind == OperatorRequest.RECOVER


@pytest.mark.parametrize("cause", ["operator", "arm"])
def test_an_answer_that_comes_with_the_stop_moves_no_gripper(cause: str) -> None:
    moved: list[float] = []
    robot = SimpleNamespace(
        halted=False, hold=lambda: True, gripper=SimpleNamespace(move=moved.append)
    )
    ports = RosArmPorts(robot, camera=None)  # type: ignore[arg-type]
    ports.gripper(1.0)
    if cause == "operator":
        ports.ask_stop("the operator stopped the arm.")
    else:
        robot.halted = True
    ports.gripper(-1.0)
    assert moved == [1.0]


def test_no_command_leaves_once_the_stop_is_answered(graph: Graph, ur: FakeUr) -> None:
    """The response of the stop and the last command come from two threads of the driver."""
    driver(graph, "for_long")
    ready(graph, ur)
    ur.answer_kinds = {OperatorRequest.SET_UP}
    rollout = Running(graph, ur)
    moving(ur)
    stop_arm(graph, ur)
    answered = time.monotonic()
    rollout.result()
    late = [at - answered for at, _ in ur.policy_commands() if at > answered]
    assert max(late, default=0.0) < 0.05  # on its way already when the answer was sent
    assert len(late) <= 2


@pytest.mark.parametrize(
    ("control", "holds"), [("velocity", 1), ("trajectory", 1), ("position", 0)]
)
def test_a_hold_is_published_once(graph: Graph, ur: FakeUr, control: str, holds: int) -> None:
    driver(graph, "for_long", control=control)
    ready(graph, ur)
    ur.answer_kinds = {OperatorRequest.SET_UP}
    Running(graph, ur)
    until(lambda: len(ur.policy_commands(control)) > 20)
    stop_arm(graph, ur)
    finished(ur)
    ur.wait.wait(QUIET)
    last = [values for _, values in ur.policy_commands(control)][-2:]
    if control == "velocity":
        assert [bool(v.any()) for v in last] == [True, False]
    assert quiet(ur)


def test_nothing_runs_before_the_operator_said_that_it_is_safe(graph: Graph, ur: FakeUr) -> None:
    driver(graph, "for_long")
    ready(graph, ur)
    ur.dashboard()
    ur.answer_kinds = {OperatorRequest.SET_UP}
    rollout = Running(graph, ur)
    moving(ur)
    ur.program(False)
    assert rollout.result().error_code == ErrorCode.SAFETY
    request = until(
        lambda: next((r for r in ur.requests if r.kind == OperatorRequest.RECOVER), None)
    )
    until(lambda: ur.states[-1].state == CellState.STOPPED)
    ur.program(True)  # the arm would be ready again by itself
    for refused in (roll(graph, ur, "r-2"), apply(graph, ur, "cube_red")):
        assert refused.error_code == ErrorCode.SAFETY
        assert "RECOVER" in refused.error_msg
    assert not ur.triggered
    ur.program(False)
    answer = AnswerRequest.Request(
        request_id=request.id, answer=AnswerRequest.Request.DONE, answered_by="ada"
    )
    assert graph.call(ur, AnswerRequest, names.OPERATOR_ANSWER, answer).error_code == 0
    until(lambda: ur.states[-1].state == CellState.READY)
    assert ur.triggered == ["unlock_protective_stop", "brake_release", "play"]


def test_a_recovery_that_fails_is_asked_for_again(graph: Graph, ur: FakeUr) -> None:
    driver(graph, "for_long", recover_timeout=1.0)
    ready(graph, ur)
    ur.answer_kinds = {OperatorRequest.SET_UP}
    Running(graph, ur)
    moving(ur)
    ur.program(False)
    first = until(lambda: next((r for r in ur.requests if r.kind == OperatorRequest.RECOVER), None))
    ur.answer_kinds.add(OperatorRequest.RECOVER)  # and nobody who could play the program
    again = until(
        lambda: next(
            (r for r in ur.requests if r.kind == OperatorRequest.RECOVER and r.id != first.id), None
        )
    )
    assert "did not work" in again.steps[0]


def test_a_stop_while_homing_starts_nothing(graph: Graph, ur: FakeUr) -> None:
    driver(graph)
    ready(graph, ur)
    ur.answer_kinds = {OperatorRequest.SET_UP}
    displace(ur)
    rollout = Running(graph, ur)
    until(lambda: ur.commands)
    stop_arm(graph, ur)
    result = rollout.result()
    assert result.error_code == ErrorCode.SAFETY
    assert not ur.statuses
    until(lambda: ur.states[-1].state == CellState.STOPPED)
    until(lambda: len(ur.commands) > 1)
    assert np.allclose(
        ur.commands[-1][2], ur.q
    )  # the trajectory controller is told to stay where it is


def test_homing_that_does_not_arrive_in_time_is_told(graph: Graph, ur: FakeUr) -> None:
    driver(graph)
    ready(graph, ur)
    displace(ur)
    result = roll(graph, ur, timeout=2.0)
    assert result.error_code == ErrorCode.TIMEOUT
    assert not ur.statuses


def test_an_arm_that_something_holds_wants_the_operator(graph: Graph, ur: FakeUr) -> None:
    driver(graph)
    ready(graph, ur)
    displace(ur)
    result = roll(graph, ur, timeout=60.0)
    assert result.error_code == ErrorCode.SAFETY
    assert "does something hold it" in result.error_msg
    until(lambda: ur.states[-1].state in (CellState.STOPPED, CellState.READY))
    assert any(r.kind == OperatorRequest.RECOVER for r in ur.requests)
    assert not ur.statuses


# -- watchdogs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("silent", "policy", "outcome"),
    [
        ("camera", "for_long", Outcome.TIMEOUT),
        ("joints", "for_long", Outcome.TIMEOUT),
        ("", "hangs", Outcome.POLICY_ERROR),
        ("", "raises", Outcome.POLICY_ERROR),
    ],
)
def test_whatever_falls_silent_ends_the_rollout(
    graph: Graph, ur: FakeUr, silent: str, policy: str, outcome: Outcome
) -> None:
    driver(graph, policy)
    ready(graph, ur)
    rollout = Running(graph, ur)
    until(lambda: len(ur.policy_commands()) > 5)
    ur.silent = {silent}
    ended = finished(ur)
    assert ended.outcome.value == outcome, ended.outcome.reason
    assert rollout.result().error_code == {4: 10, 5: 7, 6: 11}[int(outcome)]
    assert quiet(ur)
    ur.silent = set()
    arm_policies.RELEASE.set()
    until(lambda: ur.states[-1].state == CellState.READY)  # the next one may run


def test_a_first_command_far_from_the_arm_is_never_sent(graph: Graph, ur: FakeUr) -> None:
    driver(graph, "for_long", first_distance=1e-6)
    ready(graph, ur)
    ur.answer_kinds = {OperatorRequest.SET_UP}
    result = roll(graph, ur)
    assert result.error_code == ErrorCode.SAFETY
    assert "first command" in result.error_msg
    assert not ur.policy_commands()
    assert finished(ur).outcome.value == Outcome.SAFETY_STOP


def test_a_cancelled_rollout_is_invalid(graph: Graph, ur: FakeUr) -> None:
    driver(graph, "for_long")
    ready(graph, ur)
    rollout = Running(graph, ur)
    moving(ur)
    rollout.handle.cancel_goal_async()
    assert rollout.result().error_code == ErrorCode.CANCELLED
    ended = finished(ur)
    assert ended.outcome.value == Outcome.INVALID
    assert quiet(ur)


def test_one_rollout_at_a_time(graph: Graph, ur: FakeUr) -> None:
    driver(graph, "for_long")
    ready(graph, ur)
    rollout = Running(graph, ur)
    moving(ur, 5)
    assert roll(graph, ur, "r-2").error_code == ErrorCode.BUSY
    assert apply(graph, ur, "cube_red").error_code == ErrorCode.BUSY
    rollout.handle.cancel_goal_async()
    rollout.result()


def test_the_stop_answers_when_nothing_runs(graph: Graph, ur: FakeUr) -> None:
    driver(graph)
    ready(graph, ur)
    answer = graph.call(ur, Trigger, names.OPERATOR_STOP, Trigger.Request())
    assert (answer.success, answer.message) == (True, "no rollout was running")
