"""request_desk: one open request, the first answer counts, and nothing waits for ever."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from ros_graph import Graph, until

from robomd_msgs.msg import OperatorRequest
from robomd_msgs.srv import AnswerRequest
from robomd_ros.adapters import names, qos
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.adapters.request_desk import Answer, RequestDesk
from robomd_ros.core.errors import BusyError, CancelledByUserError, DeadlineError, ErrorCode

DONE, REFUSE = AnswerRequest.Request.DONE, AnswerRequest.Request.REFUSE


class DeskNode(RobomdNode):
    threads = 3

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("desk", **kwargs)
        self.desk = RequestDesk(self)


class Person(RobomdNode):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__("person", **kwargs)
        self.seen: list[OperatorRequest] = []
        self.listen(OperatorRequest, names.OPERATOR_REQUEST, self.seen.append, qos.LATCHED)


@pytest.fixture
def desk(graph: Graph) -> RequestDesk:
    return graph.add(DeskNode).desk


@pytest.fixture
def person(graph: Graph, desk: RequestDesk) -> Person:
    return graph.add(Person)


def set_up(title: str = "red cube", timeout: float = 0.0) -> OperatorRequest:
    return OperatorRequest(
        kind=OperatorRequest.SET_UP, title=title, steps=["do it"], timeout=timeout
    )


def asking(desk: RequestDesk, request: OperatorRequest, cancelled: Any = None) -> Future[Answer]:
    pool = ThreadPoolExecutor(1)
    future = pool.submit(desk.ask, request, cancelled or (lambda: False))
    pool.shutdown(wait=False)
    until(lambda: desk.open.title == request.title)
    return future


def say(graph: Graph, person: Person, answer: int, request_id: str = "", **fields: str) -> Any:
    request = AnswerRequest.Request(
        request_id=request_id, answer=answer, answered_by=fields.pop("by", "ada"), **fields
    )
    return graph.call(person, AnswerRequest, names.OPERATOR_ANSWER, request)


def test_the_answer_comes_back_and_the_request_is_gone(
    graph: Graph, desk: RequestDesk, person: Person
) -> None:
    waiting = asking(desk, set_up())
    shown = until(lambda: next((r for r in person.seen if r.title), None))
    assert say(graph, person, DONE, shown.id, note="with tape").error_code == 0
    assert waiting.result(10) == Answer(True, "ada", "with tape")
    until(lambda: person.seen[-1].kind == OperatorRequest.NONE)
    assert person.seen[-1].last_answer == "set-up: ada said done: with tape"


def test_the_first_answer_counts(graph: Graph, desk: RequestDesk, person: Person) -> None:
    waiting = asking(desk, set_up())
    request_id = desk.open.id
    answers = [say(graph, person, a, request_id, by=by) for a, by in ((REFUSE, "a"), (DONE, "b"))]
    assert [a.error_code for a in answers] == [0, ErrorCode.UNKNOWN_ID]
    assert "a refused" in answers[1].error_msg
    assert waiting.result(10) == Answer(False, "a")


def test_without_an_id_the_open_one_is_answered(
    graph: Graph, desk: RequestDesk, person: Person
) -> None:
    assert say(graph, person, DONE).error_code == ErrorCode.UNKNOWN_ID
    waiting = asking(desk, set_up())
    assert say(graph, person, DONE).error_code == 0
    assert waiting.result(10).done


@pytest.mark.parametrize(
    ("answer", "fields", "code"),
    [
        (0, {}, ErrorCode.INVALID_ARGUMENT),
        (7, {}, ErrorCode.INVALID_ARGUMENT),
        (DONE, {"by": " "}, ErrorCode.INVALID_ARGUMENT),
        (DONE, {"by": "x" * 300}, ErrorCode.TOO_LARGE),
        (DONE, {"note": "x" * 9000}, ErrorCode.TOO_LARGE),
    ],
)
def test_a_wrong_answer_leaves_the_request_open(
    graph: Graph, desk: RequestDesk, person: Person, answer: int, fields: dict, code: int
) -> None:
    desk.pose(set_up())
    assert say(graph, person, answer, **fields).error_code == code
    assert desk.open.title == "red cube"


def test_a_newer_set_up_takes_the_place_of_one_whose_caller_is_gone(desk: RequestDesk) -> None:
    waiting = asking(desk, set_up())
    desk.pose(set_up("blue cube"))
    with pytest.raises(BusyError, match="newer"):
        waiting.result(10)
    assert desk.open.title == "blue cube"


def test_nothing_takes_the_place_of_a_recovery(desk: RequestDesk) -> None:
    desk.pose(OperatorRequest(kind=OperatorRequest.RECOVER, title="look at the arm"))
    with pytest.raises(BusyError, match="look at the arm"):
        desk.pose(set_up())


def test_a_recovery_takes_the_place_of_everything(desk: RequestDesk) -> None:
    waiting = asking(desk, set_up())
    desk.pose(OperatorRequest(kind=OperatorRequest.RECOVER, title="look at the arm"))
    with pytest.raises(BusyError, match="newer"):
        waiting.result(10)
    assert desk.open.title == "look at the arm"


def test_deadline_and_cancel_withdraw_the_request(desk: RequestDesk) -> None:
    with pytest.raises(DeadlineError, match="did not answer"):
        desk.ask(set_up(timeout=0.05), lambda: False)
    stop = threading.Event()
    waiting = asking(desk, set_up("later"), stop.is_set)
    stop.set()
    with pytest.raises(CancelledByUserError):
        waiting.result(10)
    assert desk.open.kind == OperatorRequest.NONE


def test_who_joins_late_sees_the_open_request(graph: Graph, desk: RequestDesk) -> None:
    desk.pose(set_up())
    late = graph.add(Person)
    assert until(lambda: late.seen)[0].title == "red cube"
