"""Parameters, workers, calls and the base node."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.parameter import Parameter
from ros_graph import Graph, until

from robomd_msgs.action import RunRollout
from robomd_msgs.srv import SuggestNext
from robomd_ros.adapters import names, qos
from robomd_ros.adapters.base import WARN, Health, RobomdNode
from robomd_ros.adapters.calls import call_action, call_service
from robomd_ros.adapters.parameters import declare, parameter
from robomd_ros.adapters.worker import Worker
from robomd_ros.core.errors import (
    BusyError,
    CancelledByUserError,
    DeadlineError,
    ErrorCode,
    InvalidArgumentError,
    PolicyError,
    SafetyError,
    UnavailableError,
)


@dataclass(frozen=True)
class Config:
    rate: float = parameter(2.0, "a rate", low=1.0, high=10.0, unit="Hz")
    count: int = parameter(3, "a number", low=0, high=5)
    profile: str = parameter("compact", "a choice", choices=("compact", "paper"))
    names: tuple[str, ...] = parameter(("a", "b"), "some names")
    on: bool = parameter(False, "a switch")


class Configured(RobomdNode):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__("configured", **kwargs)
        self.config = declare(self, Config)


def test_parameters_from_outside(graph: Graph) -> None:
    node = graph.add(Configured, rate=5, profile="paper", names=["x"], on=True)
    assert node.config == Config(5.0, 3, "paper", ("x",), True)
    described = node.describe_parameter("rate")
    assert (described.description, described.read_only) == ("a rate [Hz]", True)
    assert described.floating_point_range[0].to_value == 10.0
    assert node.get_parameter("rate").value == 5.0
    assert not node.set_parameters([Parameter("rate", value=6.0)])[0].successful


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"rte": 5.0}, "did you mean rate"),
        ({"rate": 11.0}, "outside 1.0 .. 10.0"),
        ({"rate": float("nan")}, "outside"),
        ({"rate": True}, "want float"),
        ({"count": 2.5}, "want int"),
        ({"count": "2"}, "want int"),
        ({"profile": "huge"}, "none of compact, paper"),
        ({"names": "x"}, "want a list"),
        ({"on": 1}, "want bool"),
    ],
)
def test_bad_parameters(graph: Graph, given: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidArgumentError, match=says):
        graph.add(Configured, **given)


def test_worker_refuses_over_its_limit_and_keeps_deadlines() -> None:
    worker = Worker("w", limit=1)
    gate = threading.Event()
    running = worker.submit(gate.wait, 20)
    with pytest.raises(BusyError, match="busy"):
        worker.submit(int)
    gate.set()
    assert running.result(20)
    until(lambda: worker.jobs == 0)
    gate.clear()
    with pytest.raises(DeadlineError):
        worker.call(gate.wait, 20, timeout=0.05)
    gate.set()
    until(lambda: worker.jobs == 0)
    with pytest.raises(ZeroDivisionError):
        worker.call(lambda: 1 / 0, timeout=20)
    worker.close()
    with pytest.raises(BusyError, match="shutting down"):
        worker.submit(int)


class Cell(RobomdNode):
    """An action that does what the test says."""

    threads = 4

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("cell", **kwargs)
        self.gate = threading.Event()
        self.error: Exception | None = None
        self.cancelled = False
        self.action = self.serve_action(RunRollout, names.RUN_ROLLOUT, self.roll, self.worker("w"))
        self.serve(SuggestNext, names.SUGGEST_NEXT, self.suggest)

    def suggest(self, request: Any, response: Any) -> None:
        response.reasons = ["half filled"]
        raise ZeroDivisionError("x" * 10_000)

    def roll(self, goal: Any, result: Any, feedback: Any, cancelled: Any) -> None:
        feedback(RunRollout.Feedback(step=1, horizon=2))
        until(lambda: self.gate.is_set() or cancelled())
        result.status.rollout_id = goal.rollout_id
        if cancelled():
            self.cancelled = True
            raise CancelledByUserError("stopped as asked.")
        if self.error:
            raise self.error

    def health(self) -> Health:
        return Health(WARN, "so so", {"number": 0.123456})


def test_action_answers_busy_errors_and_cancel(graph: Graph) -> None:
    cell, user = graph.add(Cell), graph.add(lambda **kw: RobomdNode("user", **kw))
    client = graph.client(user, RunRollout, names.RUN_ROLLOUT)
    seen: list[int] = []
    results: list[Any] = []

    def call(**kwargs: Any) -> Any:
        return call_action(client, RunRollout.Goal(rollout_id="r"), 20.0, **kwargs)

    first = threading.Thread(
        target=lambda: results.append(call(on_feedback=lambda f: seen.append(f.step)))
    )
    first.start()
    until(lambda: seen)
    with pytest.raises(BusyError):
        call()
    cell.gate.set()
    first.join(20)
    assert results[0].status.rollout_id == "r"
    cell.error = PolicyError("the policy answered NaN.")
    with pytest.raises(PolicyError, match="answered NaN"):
        call()
    cell.error = None
    cell.gate.clear()
    stop = threading.Event()
    with pytest.raises(CancelledByUserError):
        call(on_feedback=lambda _: stop.set(), cancelled=stop.is_set)
    cell.gate.set()
    until(lambda: _free(call))  # the server heard of it and takes the next goal


def test_whatever_ends_the_wait_cancels_the_goal(graph: Graph) -> None:
    """A stop while an arm is homed is a SafetyError of `cancelled`: the arm must not go on."""
    cell, user = graph.add(Cell), graph.add(lambda **kw: RobomdNode("user", **kw))
    client = graph.client(user, RunRollout, names.RUN_ROLLOUT)
    begun = threading.Event()

    def stopped() -> bool:
        if begun.is_set():
            raise SafetyError("the operator stopped the arm.")
        return False

    def call(**kwargs: Any) -> Any:
        return call_action(client, RunRollout.Goal(rollout_id="r"), 20.0, **kwargs)

    with pytest.raises(SafetyError):
        call(on_feedback=lambda _: begun.set(), cancelled=stopped)
    until(lambda: cell.cancelled)
    assert not cell.gate.is_set()


def _free(call: Any) -> bool:
    try:
        call()
    except BusyError:
        return False
    return True


def test_a_bug_in_a_service_is_an_answer(graph: Graph) -> None:
    cell = graph.add(Cell)
    answer = graph.call(cell, SuggestNext, names.SUGGEST_NEXT, SuggestNext.Request())
    assert answer.error_code == ErrorCode.INTERNAL
    assert answer.error_msg.startswith("ZeroDivisionError: xxx")
    assert len(answer.error_msg) == 500
    assert not answer.reasons
    again = graph.call(cell, SuggestNext, names.SUGGEST_NEXT, SuggestNext.Request())
    assert again.error_code == ErrorCode.INTERNAL


def test_nobody_serves(graph: Graph) -> None:
    user = graph.add(lambda **kw: RobomdNode("user", **kw))
    client = user.create_client(SuggestNext, "nobody/serves")
    with pytest.raises(UnavailableError, match="nobody/serves"):
        call_service(client, SuggestNext.Request(), 0.05)
    gone = threading.Event()
    gone.set()
    with pytest.raises(CancelledByUserError):
        call_service(client, SuggestNext.Request(), 20.0, gone.is_set)


def test_diagnostics_of_a_node(graph: Graph) -> None:
    got: list[DiagnosticArray] = []
    cell, user = graph.add(Cell), graph.add(lambda **kw: RobomdNode("user", **kw))
    user.listen(DiagnosticArray, names.DIAGNOSTICS, got.append, qos.EVENTS)

    def status(name: str) -> Any:
        found = [s for a in got for s in a.status if s.name == name]
        return found[-1] if found else None

    first = until(lambda: status("/cell"))
    assert (first.level, first.message) == (b"\x01", "so so")
    assert [(v.key, v.value) for v in first.values] == [("number", "0.1235")]
    cell.guard(lambda: 1 / 0)
    until(lambda: any(v.key == "last_error" for v in status("/cell").values))
