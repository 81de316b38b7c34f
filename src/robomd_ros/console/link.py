"""What the console asks of other nodes. Every call blocks until its deadline and belongs on a worker thread."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from action_msgs.srv import CancelGoal
from rclpy.action import ActionClient
from std_srvs.srv import Trigger

from robomd_msgs.action import Diagnose
from robomd_msgs.msg import LabeledRollout
from robomd_msgs.msg import Outcome as OutcomeMsg
from robomd_msgs.srv import AnswerRequest, LabelOutcome, ListRollouts
from robomd_ros.adapters import names
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.adapters.calls import call_service, raise_for_code, wait_for
from robomd_ros.adapters.conversions import label_to_msg
from robomd_ros.adapters.store_view import ALL_OUTCOMES
from robomd_ros.core.errors import BusyError, DeadlineError, UnavailableError
from robomd_ros.core.outcome import Label, Outcome

ANSWER = 3.0
"""Deadline of a call that a person waits for [s]."""

LABEL = 12.0
"""Deadline of a label [s]: the labeler may still be bringing the rollout to the disk."""

_KEPT = 20.0
"""Seconds a reference picture is taken for the newest one."""

_PAGE = 50


@dataclass(frozen=True)
class Reference:
    """A picture of how the scene should look.

    Attributes:
        png: before the policy moved; b"" = the study holds none.
        of: perturbation it was taken under, the one asked for or "nominal".
    """

    png: bytes
    of: str = ""


class Link:
    """Clients of one console.

    Calls: robomd/label_outcome, robomd/list_rollouts, robomd/operator/answer, robomd/operator/stop, robomd/diagnose.

    Args:
        node: that other threads spin.
    """

    def __init__(self, node: RobomdNode) -> None:
        group = node.reentrant
        self._node = node
        self._label = node.create_client(LabelOutcome, names.LABEL_OUTCOME, callback_group=group)
        self._list = node.create_client(ListRollouts, names.LIST_ROLLOUTS, callback_group=group)
        self._answer = node.create_client(
            AnswerRequest, names.OPERATOR_ANSWER, callback_group=group
        )
        self._stop = node.create_client(Trigger, names.OPERATOR_STOP, callback_group=group)
        self._diagnose = ActionClient(node, Diagnose, names.DIAGNOSE, callback_group=group)
        # Of any goal, whoever sent it: the console that started a session may have been killed since.
        self._cancel = node.create_client(
            CancelGoal, f"{names.DIAGNOSE}/_action/cancel_goal", callback_group=group
        )
        self._references: dict[str, tuple[float, Reference]] = {}
        self._lock = threading.Lock()
        self.diagnose_error = ""

    def _call(self, client: Any, request: Any, timeout: float) -> Any:
        return call_service(client, request, timeout, self._node.closing.is_set)

    # -- the operator ---------------------------------------------------------------------------------------------

    def stop(self) -> str:
        """Stop the arm; what the cell says to that.

        Raises:
            RobomdError: the cell could not be told.
        """
        answer = self._call(self._stop, Trigger.Request(), ANSWER)
        if not answer.success:
            raise UnavailableError(answer.message or "the cell did not stop.")
        return answer.message or "stopped"

    def answer(self, request_id: str, done: bool, by: str, note: str) -> None:
        """Answer the request of this id.

        Raises:
            UnknownIdError: it is not open any more.
            RobomdError: the cell could not be told.
        """
        asked = AnswerRequest.Request
        self._call(
            self._answer,
            asked(
                request_id=request_id,
                answer=asked.DONE if done else asked.REFUSE,
                answered_by=by,
                note=note,
            ),
            ANSWER,
        )

    # -- rollouts -------------------------------------------------------------------------------------------------

    def label(
        self,
        rollout_id: str,
        outcome: Outcome,
        by: str,
        reason: str = "",
        phase: str = "",
        second_look: bool = False,
    ) -> LabeledRollout:
        """Store a label; the rollout as it stands then. Raises RobomdError."""
        label = label_to_msg(Label(outcome, by, time.time(), reason, phase))
        request = LabelOutcome.Request(
            rollout_id=rollout_id, outcome=label, second_look=second_look
        )
        return self._call(self._label, request, LABEL).rollout

    def undo(self, rollout_id: str, by: str) -> LabeledRollout:
        """Take the newest label of a rollout back; the rollout as it stands then. Raises RobomdError."""
        request = LabelOutcome.Request(rollout_id=rollout_id, undo=True)
        request.outcome = OutcomeMsg(labeler=by)
        return self._call(self._label, request, LABEL).rollout

    def unlabelled(self) -> list[LabeledRollout]:
        """Rollouts without a label, newest first, at most 50. Raises RobomdError."""
        request = ListRollouts.Request(outcome=int(Outcome.UNKNOWN), limit=_PAGE)
        return list(self._call(self._list, request, ANSWER).rollouts)

    def reference(self, perturbation_id: str) -> Reference:
        """Picture of a rollout under this perturbation, else of the nominal scene. Raises RobomdError."""
        now = time.monotonic()
        with self._lock:
            at, kept = self._references.get(perturbation_id, (-_KEPT, Reference(b"")))
        if now - at < _KEPT:
            return kept
        found = self._picture_of(perturbation_id) or (
            self._picture_of("nominal") if perturbation_id != "nominal" else None
        )
        if found is not None and found.of == perturbation_id:
            with self._lock:
                self._references[perturbation_id] = (now, found)
        return found or Reference(b"")

    def _picture_of(self, perturbation_id: str) -> Reference | None:
        request = ListRollouts.Request(
            perturbation_id=perturbation_id, outcome=ALL_OUTCOMES, limit=8, with_thumbnails=True
        )
        page = self._call(self._list, request, ANSWER)
        pairs = [(r, t) for r, t in zip(page.rollouts, page.thumbnails, strict=True) if t.data]
        # One in which the image showed the variation, and that nobody discarded, comes first.
        pairs.sort(
            key=lambda p: (p[0].outcome.value == Outcome.INVALID, not p[0].perturbation.verified)
        )
        return Reference(bytes(pairs[0][1].data), perturbation_id) if pairs else None

    # -- the session ----------------------------------------------------------------------------------------------

    def diagnose(self, rollouts: int, session_id: str = "") -> None:
        """Start a session, or go on with one; it lives on when this console dies.

        Raises:
            UnavailableError: nobody serves it, or it refused.
            DeadlineError: no word within the deadline.
        """
        if not wait_for(self._diagnose.server_is_ready, ANSWER, self._node.closing.is_set):
            raise UnavailableError(f"nobody serves {names.DIAGNOSE}: start the node diagnosis.")
        self.diagnose_error = ""
        decided = threading.Event()
        sent = self._diagnose.send_goal_async(
            Diagnose.Goal(session_id=session_id, rollouts=rollouts)
        )
        sent.add_done_callback(lambda _: decided.set())
        if not decided.wait(ANSWER):
            raise DeadlineError(f"{names.DIAGNOSE} did not take the goal within {ANSWER:g} s.")
        handle = sent.result()
        if not handle.accepted:
            raise BusyError(f"{names.DIAGNOSE} refused the goal.")
        handle.get_result_async().add_done_callback(self._diagnosed)

    def _diagnosed(self, future: Any) -> None:
        def tell() -> None:
            try:
                raise_for_code(future.result().result)
            except Exception as error:  # whatever ended the session is told on the page
                self.diagnose_error = str(error)

        self._node.guard(tell)

    def cancel_diagnosis(self) -> int:
        """Cancel every session that runs; how many took note. Raises RobomdError."""
        answer = self._call(self._cancel, CancelGoal.Request(), ANSWER)
        return len(answer.goals_canceling)
