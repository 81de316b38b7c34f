"""The desk between the cell and the person beside it: one open request, latched, answered by whoever is first."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from robomd_msgs.msg import OperatorRequest
from robomd_msgs.srv import AnswerRequest
from robomd_ros.adapters import names, qos, stamps
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.adapters.conversions import MAX_NAME
from robomd_ros.core.answers import MAX_TEXT
from robomd_ros.core.errors import (
    BusyError,
    CancelledByUserError,
    DeadlineError,
    InvalidArgumentError,
    TooLargeError,
    UnknownIdError,
)

KINDS = {
    OperatorRequest.SET_UP: "set-up",
    OperatorRequest.CONSENT: "consent",
    OperatorRequest.RECOVER: "recover",
}
_POLL = 0.1


@dataclass(frozen=True)
class Answer:
    """What the operator said.

    Attributes:
        done: DONE; false = REFUSE.
        by: who said it.
        note: free text.
    """

    done: bool
    by: str
    note: str = ""

    @property
    def sentence(self) -> str:
        """For those who see the request that comes next."""
        note = f": {self.note}" if self.note else ""
        return f"{self.by} {'said done' if self.done else 'refused'}{note}"


class RequestDesk:
    """Poses one request at a time and takes its answer.

    Publishes: robomd/operator/request (latched, on change and every 1 s). Serves: robomd/operator/answer.

    Args:
        node: with threads to spare: `ask` blocks one of them.
    """

    def __init__(self, node: RobomdNode) -> None:
        self._lock = threading.Condition()
        self._open = OperatorRequest()
        self._answered: Callable[[Answer], None] = _nobody
        self._last = ""
        self._publisher = node.create_publisher(
            OperatorRequest, names.OPERATOR_REQUEST, qos.LATCHED
        )
        node.serve(AnswerRequest, names.OPERATOR_ANSWER, self._answer, node.reentrant)
        node.every(1.0, self._publish, node.reentrant)
        self._publish()

    @property
    def open(self) -> OperatorRequest:
        """The request that waits for an answer; kind NONE = none."""
        return self._open

    def pose(
        self, request: OperatorRequest, answered: Callable[[Answer], None] | None = None
    ) -> str:
        """Open a request; a set-up gives way to a new one, whose caller is there, and everything to a recovery.

        Args:
            request: kind, title, steps and what belongs to them; id and header are filled in here.
            answered: called with the answer, on the thread of the service.

        Returns:
            The request's id.

        Raises:
            BusyError: another request is open.
        """
        with self._lock:
            waiting = self._open.kind
            recovers = OperatorRequest.RECOVER in (request.kind, waiting)
            gives_way = (
                request.kind == OperatorRequest.RECOVER != waiting
                if recovers
                else waiting == request.kind == OperatorRequest.SET_UP
            )
            if waiting != OperatorRequest.NONE and not gives_way:
                raise BusyError(
                    f"the operator is being asked something else: {self._open.title or KINDS[waiting]}"
                )
            request.id = f"{KINDS[request.kind]}-{uuid.uuid4().hex[:8]}"
            request.header.stamp = stamps.wall()
            self._replace(request, answered or _nobody)
            return request.id

    def withdraw(self, request_id: str) -> None:
        """Close a request that nobody needs answered any more."""
        with self._lock:
            if self._open.id == request_id:
                self._replace(OperatorRequest(), _nobody)

    def ask(self, request: OperatorRequest, cancelled: Callable[[], bool]) -> Answer:
        """Pose a request and wait for its answer.

        Args:
            request: its `timeout` is the deadline [s]; 0 = none.
            cancelled: polled; true gives up. It may also raise.

        Raises:
            BusyError: another request is open, or a newer one took this one's place.
            DeadlineError: nobody answered in time.
            CancelledByUserError: `cancelled` became true.
        """
        got: list[Answer] = []
        request_id = self.pose(request, got.append)
        deadline = time.monotonic() + request.timeout if request.timeout else None
        try:
            with self._lock:
                while not got:
                    if cancelled():
                        raise CancelledByUserError(f"{request.title}: nobody waits any more.")
                    if self._open.id != request_id:
                        raise BusyError(f"{request.title}: a newer request took its place.")
                    if deadline is not None and time.monotonic() >= deadline:
                        raise DeadlineError(
                            f"{request.title}: the operator did not answer within {request.timeout:g} s."
                        )
                    self._lock.wait(_POLL)
        finally:
            self.withdraw(request_id)
        return got[0]

    def _answer(self, request: AnswerRequest.Request, _: Any) -> None:
        answer = _checked(request)
        with self._lock:
            if self._open.kind == OperatorRequest.NONE or request.request_id not in (
                "",
                self._open.id,
            ):
                last = f" The last one: {self._last}." if self._last else ""
                raise UnknownIdError(
                    f"request {request.request_id[:60]!r} is not open: answered already, or given up.{last}"
                )
            answered = self._answered
            self._last = f"{KINDS[self._open.kind]}: {answer.sentence}"
            answered(answer)
            self._replace(OperatorRequest(), _nobody)

    def _replace(self, request: OperatorRequest, answered: Callable[[Answer], None]) -> None:
        """With the lock held: the open request becomes this one, and everybody hears of it."""
        request.last_answer = self._last
        self._open, self._answered = request, answered
        self._publisher.publish(request)
        self._lock.notify_all()

    def _publish(self) -> None:
        with self._lock:
            self._publisher.publish(self._open)


def _checked(request: AnswerRequest.Request) -> Answer:
    if request.answer not in (AnswerRequest.Request.DONE, AnswerRequest.Request.REFUSE):
        raise InvalidArgumentError(f"answer {request.answer}: want DONE = 1 or REFUSE = 2.")
    who = request.answered_by.strip()
    if not who:
        raise InvalidArgumentError("answered_by is empty: say who answers, for example your name.")
    for name, text, limit in (("answered_by", who, MAX_NAME), ("note", request.note, MAX_TEXT)):
        if len(text) > limit:
            raise TooLargeError(f"{name} of {len(text)} characters; at most {limit}.")
    return Answer(request.answer == AnswerRequest.Request.DONE, who, request.note.strip())


def _nobody(_: Answer) -> None:
    """Nobody waits for the answer."""
