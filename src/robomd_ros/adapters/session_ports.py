"""What a diagnosis session needs from the other nodes, over their services and actions."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rclpy.action import ActionClient
from rclpy.client import Client

from robomd_msgs.action import RunRollout, TrainEmbedding, TrainSearch
from robomd_msgs.msg import LabeledRollout, RolloutSummary
from robomd_msgs.srv import ApplyPerturbation, ListRollouts, SuggestNext
from robomd_ros.adapters import names, qos
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.adapters.calls import call_action, call_service
from robomd_ros.adapters.conversions import perturbation_from_msg
from robomd_ros.adapters.store_view import ALL_OUTCOMES
from robomd_ros.core.errors import (
    CancelledByUserError,
    DeadlineError,
    StorageError,
    UnavailableError,
    UnknownIdError,
)
from robomd_ros.core.outcome import Control, Outcome
from robomd_ros.core.variations import Catalogue, Perturbation
from robomd_ros.search.session import Plan
from robomd_ros.search.session_loop import Past

_PAGE = 500
_CALL = 5.0
"""Deadline of a service that answers at once [s]."""
_ASK = 5.0
"""Pause between two looks into the store while a label is waited for [s]."""
_LOST = 30.0
"""A finished rollout that the store does not have by then will not come [s]."""
_TRAIN = 6 * 3600.0
"""Deadline of a training [s]."""
_TRAIN_QUIET = 120.0
"""Longest silence of a training [s]."""


@dataclass(frozen=True)
class Deadlines:
    """How long the others may take [s].

    Attributes:
        apply: to have a variation applied.
        rollout: one rollout.
        silence: of a cell during a rollout.
        label: until a finished rollout is labelled; 0 = for ever.
    """

    apply: float
    rollout: float
    silence: float
    label: float


class RosPorts:
    """The session's world over the other nodes' interfaces; see search.session_loop.Ports.

    Args:
        node: whose executor completes the calls; it needs threads.
        catalogue: parses what is suggested.
        deadlines: of the calls.
        profile: of the embedding to train; "" = as embedding_service is configured.
    """

    def __init__(
        self, node: RobomdNode, catalogue: Catalogue, deadlines: Deadlines, profile: str
    ) -> None:
        self._catalogue, self._deadlines, self._profile = catalogue, deadlines, profile
        self.cancelled: Callable[[], bool] = lambda: False
        self._labels: dict[str, Outcome] = {}
        self._labelled = threading.Condition()
        self._trouble = ""
        self._labelers = lambda: node.count_publishers(names.ROLLOUTS)
        group = node.reentrant
        node.listen(LabeledRollout, names.LABELED_ROLLOUT, self._on_labeled, qos.EVENTS, group)
        node.listen(RolloutSummary, names.ROLLOUTS, self._on_summary, qos.LATCHED, group)

        def service(srv_type: type, name: str) -> Client:
            return node.create_client(srv_type, name, callback_group=group)

        def action(action_type: type, name: str) -> ActionClient:
            return ActionClient(node, action_type, name, callback_group=group)

        self._apply = service(ApplyPerturbation, names.APPLY_PERTURBATION)
        self._list = service(ListRollouts, names.LIST_ROLLOUTS)
        self._suggest = service(SuggestNext, names.SUGGEST_NEXT)
        self._rollout = action(RunRollout, names.RUN_ROLLOUT)
        self._embedding = action(TrainEmbedding, names.TRAIN_EMBEDDING)
        self._search = action(TrainSearch, names.TRAIN_SEARCH)

    def history(self) -> list[Past]:
        """Pages through robomd/list_rollouts; StorageError while rollouts wait for the disk, which no page shows."""
        self._check_store()
        return [_past(rollout) for rollout in self._stored(_PAGE)][::-1]

    def suggest(self, strategy: str, count: int, seed: int) -> list[Perturbation]:
        """Asks robomd/suggest_next."""
        request = SuggestNext.Request(strategy=strategy, count=count, seed=seed)
        answer = call_service(self._suggest, request, _CALL, self.cancelled)
        return [perturbation_from_msg(p, self._catalogue) for p in answer.perturbations]

    def apply(self, perturbation: Perturbation) -> None:
        """Asks robomd/apply_perturbation."""
        request = ApplyPerturbation.Request(variation_ids=list(perturbation.ids))
        call_service(self._apply, request, self._deadlines.apply, self.cancelled)

    def roll_out(self, rollout_id: str, plan: Plan) -> None:
        """Sends a robomd/run_rollout goal."""
        goal = RunRollout.Goal(
            rollout_id=rollout_id,
            perturbation_id=plan.perturbation.id,
            seed=plan.seed,
            control=int(plan.control),
            purpose=plan.purpose,
            timeout=self._deadlines.rollout,
        )
        # The cell keeps the rollout's own time-out; ours is for a cell that died.
        deadline = self._deadlines.rollout + _CALL
        call_action(
            self._rollout,
            goal,
            deadline,
            cancelled=self.cancelled,
            quiet=self._deadlines.silence,
        )

    def outcome(self, rollout_id: str) -> Outcome:
        """Waits for robomd/labeled_rollout, and asks the store every few seconds: the event itself may have got lost.

        A person may take for ever to label. A rollout that the store, asked for _LOST seconds, still does not have is
        lost all the same.
        """
        began = time.monotonic()
        deadline = began + (self._deadlines.label or math.inf)
        lost = min(deadline, began + _LOST)
        while True:
            found = self._wait_label(rollout_id, min(deadline, time.monotonic() + _ASK))
            late = time.monotonic() >= deadline
            must = time.monotonic() >= lost
            if found is Outcome.UNKNOWN and (must or self._list.service_is_ready()):
                found = self._ask_label(rollout_id, must)
            if found is not Outcome.UNKNOWN:
                return found
            if late:
                raise DeadlineError(
                    f"rollout {rollout_id} was not labelled within {self._deadlines.label:g} s."
                )

    def train(self, seed: int, progress: Callable[[str], None]) -> str:
        """Sends robomd/train_embedding and robomd/train_search goals."""

        def show(what: str) -> Callable[[Any], None]:
            return lambda f: progress(f"training the {what}: {f.phase} {100 * f.progress:.0f} %")

        embedding = TrainEmbedding.Goal(profile=self._profile, seed=seed)
        call_action(
            self._embedding,
            embedding,
            _TRAIN,
            show("embedding"),
            self.cancelled,
            _TRAIN_QUIET,
        )
        result = call_action(
            self._search,
            TrainSearch.Goal(seed=seed),
            _TRAIN,
            show("search"),
            self.cancelled,
            _TRAIN_QUIET,
        )
        return (
            f"trained; on {result.heldout} held-out rollouts AUC {result.auc_head:.3f}, search "
            f"{result.auc_search:.3f}, untrained {result.auc_untrained:.3f}, success table {result.auc_success_table:.3f}."
        )

    def _on_labeled(self, msg: LabeledRollout) -> None:
        with self._labelled:
            self._labels[msg.rollout_id] = Outcome(msg.outcome.value)
            while len(self._labels) > _PAGE:  # relabels of rollouts that nobody waits for
                del self._labels[next(iter(self._labels))]
            self._labelled.notify_all()

    def _on_summary(self, msg: RolloutSummary) -> None:
        self._trouble = msg.trouble

    def _check_store(self) -> None:
        """Raise StorageError while outcome_labeler says that it can store nothing."""
        # What a labeler that is gone said last is worth nothing: the calls will say that it is gone.
        if self._trouble and self._labelers():
            raise StorageError(self._trouble)

    def _wait_label(self, rollout_id: str, deadline: float) -> Outcome:
        """The label as soon as it is told; UNKNOWN at the deadline."""
        with self._labelled:
            while (outcome := self._labels.get(rollout_id, Outcome.UNKNOWN)) is Outcome.UNKNOWN:
                if self.cancelled():
                    raise CancelledByUserError(f"the wait for {rollout_id}'s label was cancelled.")
                self._check_store()
                if time.monotonic() >= deadline:
                    return Outcome.UNKNOWN
                self._labelled.wait(0.1)
            del self._labels[rollout_id]
            return outcome

    def _ask_label(self, rollout_id: str, must_be_there: bool) -> Outcome:
        """What the store says; UNKNOWN where it does not know the rollout or answers nothing and need not yet."""
        try:
            for rollout in self._stored():
                if rollout.rollout_id == rollout_id:
                    return Outcome(rollout.outcome.value)
        except (UnavailableError, DeadlineError):
            if must_be_there:
                raise
            return Outcome.UNKNOWN
        if must_be_there:
            self._check_store()
            raise UnknownIdError(
                f"rollout {rollout_id} was not stored: is outcome_labeler of this cell running?"
            )
        return Outcome.UNKNOWN

    def _stored(self, limit: int = 50) -> Iterator[LabeledRollout]:
        """All rollouts of the store, newest first, read page by page as they are asked for."""
        offset = 0
        while True:
            request = ListRollouts.Request(offset=offset, limit=limit, outcome=ALL_OUTCOMES)
            page = call_service(self._list, request, _CALL, self.cancelled)
            yield from page.rollouts
            offset += len(page.rollouts)
            if not page.rollouts or offset >= page.total:
                return


def _past(msg: LabeledRollout) -> Past:
    control = Control.ZERO_ACTION if msg.purpose == "control" else Control.NONE
    plan = Plan(perturbation_from_msg(msg.perturbation), msg.purpose, int(msg.seed), control)
    return Past(msg.rollout_id, plan, Outcome(msg.outcome.value))
