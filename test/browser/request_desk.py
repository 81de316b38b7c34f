"""Poses one request at a time on robomd/operator/request, as ur5e_driver does; the first answer counts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from robomd_msgs.msg import OperatorRequest
from robomd_msgs.srv import AnswerRequest
from robomd_ros.adapters import names, qos, stamps
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.core.errors import CancelledByUserError, UnknownIdError


class RequestDesk:
    """Latched request and its service, on a node with threads to spare."""

    def __init__(self, node: RobomdNode) -> None:
        self._changed = threading.Condition()
        self._open = OperatorRequest()
        self._answer: Any = None
        self._count = 0
        self._publisher = node.create_publisher(
            OperatorRequest, names.OPERATOR_REQUEST, qos.LATCHED
        )
        node.serve(AnswerRequest, names.OPERATOR_ANSWER, self._take, node.reentrant)
        node.every(1.0, lambda: self._publisher.publish(self._open), node.reentrant)

    def ask(self, request: OperatorRequest, cancelled: Callable[[], bool]) -> bool:
        """Pose it and wait; true = DONE."""
        with self._changed:
            self._count += 1
            request.id = f"request-{self._count}-{request.rollout_id}"
            request.header.stamp = stamps.wall()
            self._answer = None
            self._replace(request)
            while self._answer is None:
                if cancelled():
                    self._replace(OperatorRequest())
                    raise CancelledByUserError("nobody waits any more.")
                self._changed.wait(0.05)
            return self._answer.answer == AnswerRequest.Request.DONE

    def _take(self, request: Any, _: Any) -> None:
        with self._changed:
            if not self._open.id or request.request_id not in ("", self._open.id):
                raise UnknownIdError(
                    f"request {request.request_id!r} is not open: answered already."
                )
            self._answer = request
            self._replace(OperatorRequest(last_answer=f"{request.answered_by} answered"))

    def _replace(self, request: OperatorRequest) -> None:
        self._open = request
        self._publisher.publish(request)
        self._changed.notify_all()
