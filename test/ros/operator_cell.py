"""A cell that asks its operator, beside a labeler with a store: what a front end talks to."""

from __future__ import annotations

from typing import Any

from std_srvs.srv import Trigger

from robomd_msgs.msg import CellState, OperatorRequest, SetupCheck
from robomd_msgs.srv import AnswerRequest
from robomd_ros.adapters import names, qos
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.core.errors import UnknownIdError


class OperatorCell(RobomdNode):
    """Poses one request at a time; the first answer wins. Keeps stops and answers."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("operator_cell", **kwargs)
        self.requests = self.create_publisher(OperatorRequest, names.OPERATOR_REQUEST, qos.LATCHED)
        self.states = self.create_publisher(CellState, names.CELL_STATE, qos.LATCHED)
        self.checks = self.create_publisher(SetupCheck, names.SETUP_CHECK, qos.STREAM)
        self.open = ""
        self.answers: list[AnswerRequest.Request] = []
        self.stops = 0
        self.serve(AnswerRequest, names.OPERATOR_ANSWER, self._answer)
        self.create_service(Trigger, names.OPERATOR_STOP, self._stop)

    def ask(self, request_id: str, kind: int, title: str, *steps: str) -> None:
        """Pose a request; an empty id closes it."""
        self.open = request_id
        self.requests.publish(
            OperatorRequest(id=request_id, kind=kind, title=title, steps=list(steps))
        )

    def _answer(self, request: Any, _: Any) -> None:
        if not self.open or request.request_id != self.open:
            raise UnknownIdError(f"no request {request.request_id!r} is open.")
        self.answers.append(request)
        self.open = ""
        said = f"{request.answered_by}: {'done' if request.answer == 1 else 'refused'}"
        self.requests.publish(OperatorRequest(last_answer=said))

    def _stop(self, _: Any, response: Any) -> Any:
        self.stops += 1
        response.success, response.message = True, "the arm holds"
        return response
