"""An operator's front end without its face: hears what the cell asks and which rollout waits, and does what is said."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from rclpy.client import Client
from rclpy.node import Node
from std_srvs.srv import Trigger

from robomd_msgs.msg import (
    CellState,
    LabeledRollout,
    OperatorRequest,
    RolloutSummary,
    SetupCheck,
)
from robomd_msgs.srv import AnswerRequest, LabelOutcome
from robomd_ros.adapters import names, qos
from robomd_ros.adapters.conversions import label_to_msg
from robomd_ros.core.errors import NotReadyError
from robomd_ros.core.operator import (
    REACTION,
    Answer,
    Intent,
    Judge,
    Situation,
    Stop,
    TakeBack,
    decide,
)
from robomd_ros.core.outcome import Label, Outcome

CALL_TIMEOUT = 5.0
"""A call without an answer by then is told [s]; one that comes later is told, too."""

_KINDS = {
    OperatorRequest.SET_UP: "SET UP",
    OperatorRequest.CONSENT: "CONSENT",
    OperatorRequest.RECOVER: "RECOVER",
}
_STATES = ("unknown", "not ready", "ready", "homing", "waiting", "running", "stopped")
_ROWS = 50


@dataclass
class _Call:
    name: str
    sent: float
    told: bool = False


class OperatorDesk:
    """Turns intents into calls, and tells in sentences what is asked and what came of it.

    Calls never block: a stop must get through while a label waits for the disk.

    Args:
        node: spun by another thread, or by the one that calls `act`.
        labeler: who labels and answers.
        say: called with each sentence, on any thread.
        reaction: see core.operator.REACTION.
    """

    def __init__(
        self,
        node: Node,
        labeler: str,
        say: Callable[[str], None],
        reaction: float = REACTION,
    ) -> None:
        self._labeler, self._say, self._reaction = labeler, say, reaction
        self._lock = threading.RLock()
        self._now = Situation()
        self._rows: dict[str, LabeledRollout] = {}
        self._request = OperatorRequest()
        self._warning = ""
        self._cell: tuple[int, str] = (0, "")
        self._calls: dict[int, _Call] = {}
        self.heard = False
        for kind, name, profile, callback in (
            (OperatorRequest, names.OPERATOR_REQUEST, qos.LATCHED, self._on_request),
            (CellState, names.CELL_STATE, qos.LATCHED, self._on_cell),
            (SetupCheck, names.SETUP_CHECK, qos.STREAM, self._on_check),
            (RolloutSummary, names.ROLLOUTS, qos.LATCHED, self._on_summary),
            (LabeledRollout, names.LABELED_ROLLOUT, qos.EVENTS, self._on_labeled),
        ):
            node.create_subscription(kind, name, callback, profile)
        self._stop = node.create_client(Trigger, names.OPERATOR_STOP)
        self._answer = node.create_client(AnswerRequest, names.OPERATOR_ANSWER)
        self._label = node.create_client(LabelOutcome, names.LABEL_OUTCOME)

    @property
    def situation(self) -> Situation:
        """What is shown now."""
        return self._now

    @property
    def pending(self) -> int:
        """Calls without an answer yet that are still hoped for."""
        return sum(not call.told for call in list(self._calls.values()))

    def can(self, intent: Intent) -> bool:
        """There is something that the intent is about, and somebody who takes it."""
        try:
            deed = decide(intent, self._now, time.monotonic(), self._reaction)
        except NotReadyError:
            return False
        client = {Stop: self._stop, Answer: self._answer}.get(type(deed), self._label)
        return bool(client.service_is_ready())

    def act(self, intent: Intent, reason: str = "") -> None:
        """Do what the operator wants; what came of it is said."""
        with self._lock:
            try:
                deed = decide(intent, self._now, time.monotonic(), self._reaction)
            except NotReadyError as error:
                self._say(f"{intent}: {error}")
                return
        if isinstance(deed, Stop):
            self._call(self._stop, Trigger.Request(), self._stopped)
        elif isinstance(deed, Answer):
            request = AnswerRequest.Request(
                request_id=deed.request_id,
                answer=AnswerRequest.Request.DONE if deed.done else AnswerRequest.Request.REFUSE,
                answered_by=self._labeler,
                note=reason,
            )
            self._call(self._answer, request, self._answered)
        else:
            self._call(self._label, self._label_request(deed, reason), self._labelled)

    def tick(self) -> None:
        """To be called every now and then: tells of calls that nobody answers."""
        for call in list(self._calls.values()):
            if not call.told and time.monotonic() - call.sent > CALL_TIMEOUT:
                call.told = True
                self._say(f"{call.name} has not answered for {CALL_TIMEOUT:g} s.")

    def _label_request(self, deed: Judge | TakeBack, reason: str) -> LabelOutcome.Request:
        outcome = deed.outcome if isinstance(deed, Judge) else Outcome.UNKNOWN
        return LabelOutcome.Request(
            rollout_id=deed.rollout_id,
            undo=isinstance(deed, TakeBack),
            outcome=label_to_msg(Label(outcome, self._labeler, time.time(), reason)),
        )

    def _call(self, client: Client, request: Any, done: Callable[[Any, float], None]) -> None:
        name, sent = client.service_name, time.monotonic()
        if not client.service_is_ready():
            last = " USE THE EMERGENCY STOP." if client is self._stop else ""
            self._say(f"nobody serves {name}.{last}")
            return
        future = client.call_async(request)
        self._calls[id(future)] = _Call(name, sent)

        def finish(_: Any) -> None:
            self._calls.pop(id(future), None)
            if future.exception() is not None:
                self._say(f"{name}: {future.exception()}")
            elif future.result() is not None:
                done(future.result(), time.monotonic() - sent)

        future.add_done_callback(finish)

    # -- what came of it -------------------------------------------------------------------------------------------

    def _stopped(self, response: Trigger.Response, took: float) -> None:
        said = "stopped" if response.success else "STOP WAS NOT TAKEN"
        self._say(f"{said} ({1000 * took:.0f} ms): {response.message}")

    def _answered(self, response: AnswerRequest.Response, _: float) -> None:
        if response.error_code:
            self._say(f"answer not taken: {response.error_msg}")

    def _labelled(self, response: LabelOutcome.Response, took: float) -> None:
        if response.error_code:
            self._say(f"not labelled: {response.error_msg}")
            return
        row = response.rollout
        outcome = Outcome(row.outcome.value)
        with self._lock:
            others = tuple(i for i in self._now.labelled if i != row.rollout_id)
            mine = outcome is not Outcome.UNKNOWN and row.outcome.labeler == self._labeler
            self._now = replace(self._now, labelled=(*others, row.rollout_id) if mine else others)
        now = outcome.name if outcome is not Outcome.UNKNOWN else "no label any more"
        self._say(
            f"{row.rollout_id} ({row.perturbation.id}): {now}, stored in {1000 * took:.0f} ms"
        )
        self._on_labeled(row)

    # -- what is heard ---------------------------------------------------------------------------------------------

    def _on_request(self, msg: OperatorRequest) -> None:
        self.heard = True
        with self._lock:
            if msg.id == self._request.id:
                return
            self._request = msg
            open_id = msg.id if msg.kind in _KINDS else ""
            self._now = replace(self._now, request_id=open_id, request_since=time.monotonic())
        if not open_id:
            if msg.last_answer:
                self._say(f"answered: {msg.last_answer}")
            return
        steps = "".join(f"\n   {n}. {step}" for n, step in enumerate(msg.steps, start=1))
        self._say(f"{_KINDS[msg.kind]}: {msg.title}{steps}")
        if self._warning:
            self._say(f"   camera: {self._warning}")

    def _on_cell(self, msg: CellState) -> None:
        self.heard = True
        now = (int(msg.state), msg.message)
        if now != self._cell:
            self._cell = now
            name = _STATES[msg.state] if msg.state < len(_STATES) else str(msg.state)
            self._say(f"cell: {name}" + (f", {msg.message}" if msg.message else ""))

    def _on_check(self, msg: SetupCheck) -> None:
        if msg.warning != self._warning:
            self._warning = msg.warning
            if self._now.request_id:
                self._say(f"   camera: {msg.warning or 'fits now'}")

    def _on_summary(self, msg: RolloutSummary) -> None:
        self.heard = True
        with self._lock:
            self._rows |= {row.rollout_id: row for row in msg.latest}
        self._look_for_work()

    def _on_labeled(self, msg: LabeledRollout) -> None:
        with self._lock:
            self._rows[msg.rollout_id] = msg
        self._look_for_work()

    def _look_for_work(self) -> None:
        """The newest rollout without a label is the one that waits."""
        with self._lock:
            rows = sorted(self._rows.values(), key=_started)[-_ROWS:]
            self._rows = {row.rollout_id: row for row in rows}
            waiting = [row for row in rows if row.outcome.value == Outcome.UNKNOWN]
            row = waiting[-1] if waiting else None
            shown = row.rollout_id if row else ""
            if shown == self._now.rollout_id:
                return
            self._now = replace(self._now, rollout_id=shown, rollout_since=time.monotonic())
        if row is not None:
            self._say(f"{row.rollout_id} ({row.perturbation.id}) waits for a label")


def _started(row: LabeledRollout) -> tuple[int, int]:
    return row.header.stamp.sec, row.header.stamp.nanosec
