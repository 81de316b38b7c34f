"""The risk of what the camera sees now: asked of search_service one question at a time, never waited for."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from rclpy.task import Future
from sensor_msgs.msg import Image

from robomd_msgs.msg import FailureLikelihood, Perturbation, Question, RiskScore
from robomd_msgs.srv import QueryFailureLikelihood
from robomd_ros.adapters import names
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.core.errors import ErrorCode

NOT_TRAINED = "not trained yet"

_FIELDS = ("p_failure", "p_failure_low", "p_failure_high", "distance")


class LiveRisk:
    """Keeps the newest answer, or the note that says why there is none.

    Args:
        node: whose client asks.
        timeout: an unanswered question is given up after so long [s].
        on_answer: called after each answer, an error too, with the frame's message and the perturbation id asked about.
    """

    def __init__(
        self, node: RobomdNode, timeout: float, on_answer: Callable[[Image, str], None]
    ) -> None:
        self.answer: FailureLikelihood | None = None
        self.note = NOT_TRAINED
        self.answered = 0
        self._node, self._timeout, self._on_answer = node, timeout, on_answer
        self._asked: tuple[Future, Image, str] | None = None
        self._asked_time = -math.inf
        self._client = node.create_client(QueryFailureLikelihood, names.QUERY_FAILURE_LIKELIHOOD)

    @property
    def since_asked(self) -> float:
        """Seconds since the last question; infinite before the first one."""
        return time.monotonic() - self._asked_time

    @property
    def waiting(self) -> bool:
        """A question is on its way, and there is still hope of an answer."""
        return self._asked is not None and self.since_asked < self._timeout

    def ask(self, frame: Image, applied: Perturbation | None) -> None:
        """Ask about a frame with what is applied; an earlier question without an answer is given up."""
        if self._asked is not None:
            self.forget("search_service does not answer")
        if not self._client.service_is_ready():
            self.forget("search_service is not there")
            return
        question = Question(image=frame)
        if applied is not None:
            question.variation_ids = [v.id for v in applied.variations]
            question.nominal = not applied.variations
        request = QueryFailureLikelihood.Request(questions=[question], evidence=1)
        future = self._client.call_async(request)
        self._asked = future, frame, applied.id if applied else ""
        self._asked_time = time.monotonic()
        future.add_done_callback(lambda done: self._node.guard(self._take, done))

    def forget(self, note: str) -> None:
        """There is no live risk, and this is why."""
        if self._asked is not None:
            self._client.remove_pending_request(self._asked[0])
        self._asked, self.answer, self.note = None, None, note

    def score(self, frame: Image, applied: str, alarm: bool) -> RiskScore:
        """The newest answer as a message."""
        answer = self.answer
        msg = RiskScore(header=frame.header, perturbation_id=applied, alarm=alarm)
        for field in _FIELDS:
            setattr(msg, field, float(getattr(answer, field)) if answer else math.nan)
        msg.trusted = bool(answer and answer.trusted)
        return msg

    def _take(self, future: Future) -> None:
        if self._asked is None or future is not self._asked[0] or future.cancelled():
            return
        _, frame, applied = self._asked
        self._asked = None
        response = future.result()
        if response.error_code == ErrorCode.OK and response.answers:
            self.answer, self.note = response.answers[0], ""
            self.answered += 1
        elif response.error_code == ErrorCode.NOT_READY:
            self.forget(NOT_TRAINED)
        else:
            self.forget(response.error_msg or "no answer")
        self._on_answer(frame, applied)
