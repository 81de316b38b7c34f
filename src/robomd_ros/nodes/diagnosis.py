"""diagnosis: the session. Chooses a variation, has it applied, runs the policy, waits for the label, has the models learn."""

from __future__ import annotations

import math
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.action import ActionClient

from robomd_msgs.action import Diagnose, RunRollout, TrainEmbedding, TrainSearch
from robomd_msgs.msg import LabeledRollout, RiskMap, SessionStatus
from robomd_msgs.srv import ApplyPerturbation, ListRollouts, SuggestNext
from robomd_ros.adapters import names, qos, stamps
from robomd_ros.adapters.base import WARN, Health, RobomdNode
from robomd_ros.adapters.calls import call_action, call_service
from robomd_ros.adapters.conversions import perturbation_from_msg
from robomd_ros.adapters.parameters import declare, parameter
from robomd_ros.adapters.runner import run
from robomd_ros.core.errors import CancelledByUserError, DeadlineError, InvalidArgumentError
from robomd_ros.core.outcome import Control, Outcome
from robomd_ros.core.variations import Catalogue, Perturbation, load_catalogue
from robomd_ros.search.session import Plan, SessionConfig, SessionPlanner
from robomd_ros.search.session_loop import Past, SessionLoop, Status

_SESSION_ID = re.compile(r"[A-Za-z0-9-]{1,40}\Z")
_PAGE = 500
_CALL = 5.0
"""Deadline of a service that answers at once [s]."""
_TRAIN = 6 * 3600.0
"""Deadline of a training [s]."""
_TRAIN_QUIET = 120.0
"""Longest silence of a training [s]."""


@dataclass(frozen=True)
class DiagnosisConfig:
    """Parameters of diagnosis."""

    study: str = parameter("", "folder of the study, for the status messages")
    catalogue: str = parameter("lift", "variations: a shipped task or a TOML file")
    policy_id: str = parameter("", "policy under test, for the status messages")
    profile: str = parameter("", "embedding profile to train; empty = embedding_service's own")
    nominal: int = parameter(2, "nominal rollouts at the start", low=0, high=1000)
    initial: int = parameter(24, "space-filling rollouts before the search", low=0, high=100_000)
    search_share: float = parameter(0.5, "share chosen by the search", low=0.0, high=1.0)
    learn_share: float = parameter(0.25, "share chosen to learn from", low=0.0, high=1.0)
    random_share: float = parameter(0.25, "share chosen at random", low=0.0, high=1.0)
    confirm_share: float = parameter(0.35, "at most this share repeats", low=0.0, high=1.0)
    repeats: int = parameter(3, "rollouts before a condition is called failing", low=1, high=100)
    patience: int = parameter(
        0, "stop after so many rollouts without a new failing condition; 0 = never", low=0
    )
    train_every: int = parameter(30, "rollouts between trainings", low=1, high=100_000)
    apply_timeout: float = parameter(
        10.0, "to have a variation applied (a person may do it)", low=1.0, unit="s"
    )
    rollout_timeout: float = parameter(60.0, "of one rollout", low=1.0, high=3600.0, unit="s")
    silence: float = parameter(
        10.0, "a cell that gives no feedback this long went away", low=1.0, unit="s"
    )
    label_timeout: float = parameter(
        20.0, "to wait for a label; 0 = for ever (an operator labels)", low=0.0, unit="s"
    )
    patience_for_nodes: float = parameter(
        120.0, "to wait for a node that went away before the session ends", low=1.0, unit="s"
    )

    def session(self, rollouts: int) -> SessionConfig:
        """The planner's part of it."""
        return SessionConfig(
            rollouts=rollouts,
            nominal=self.nominal,
            initial=self.initial,
            search_share=self.search_share,
            learn_share=self.learn_share,
            random_share=self.random_share,
            confirm_share=self.confirm_share,
            repeats=self.repeats,
            patience=self.patience,
        )


class DiagnosisNode(RobomdNode):
    """Runs a session over the other nodes' interfaces; it knows no cell, no store and no model.

    A rollout's id is `<session>-<number>-<try>`, so that a session is resumed from the store alone, whoever stopped.

    Serves: robomd/diagnose. Publishes: robomd/session (latched, and again every 1 s).
    Subscribes: robomd/labeled_rollout, robomd/risk_map.
    Calls: robomd/apply_perturbation, robomd/run_rollout, robomd/list_rollouts, robomd/suggest_next,
    robomd/train_embedding, robomd/train_search.
    Parameters: DiagnosisConfig.
    """

    threads = 6

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("diagnosis", **kwargs)
        self.config = declare(self, DiagnosisConfig)
        # Shares that do not add up stop the node now, not the first goal.
        self.config.session(rollouts=1)
        self.catalogue: Catalogue = load_catalogue(self.config.catalogue)
        self._labels: dict[str, Outcome] = {}
        self._labelled = threading.Condition()
        self._map = RiskMap()
        self._status = SessionStatus(
            study=self.config.study, policy_id=self.config.policy_id, remaining=math.nan
        )
        group = self.reentrant
        self._publisher = self.create_publisher(SessionStatus, names.SESSION, qos.LATCHED)
        self.listen(LabeledRollout, names.LABELED_ROLLOUT, self._on_labeled, qos.EVENTS, group)
        self.listen(RiskMap, names.RISK_MAP, self._on_map, qos.LATCHED, group)
        self.apply_client = self.create_client(
            ApplyPerturbation, names.APPLY_PERTURBATION, callback_group=group
        )
        self.list_client = self.create_client(
            ListRollouts, names.LIST_ROLLOUTS, callback_group=group
        )
        self.suggest_client = self.create_client(
            SuggestNext, names.SUGGEST_NEXT, callback_group=group
        )
        self.rollout_client = ActionClient(
            self, RunRollout, names.RUN_ROLLOUT, callback_group=group
        )
        self.embedding_client = ActionClient(
            self, TrainEmbedding, names.TRAIN_EMBEDDING, callback_group=group
        )
        self.search_client = ActionClient(
            self, TrainSearch, names.TRAIN_SEARCH, callback_group=group
        )
        self._action = self.serve_action(
            Diagnose, names.DIAGNOSE, self._diagnose, self.worker("session")
        )
        self.every(1.0, self._publish)

    # -- what is heard --------------------------------------------------------------------------------------------

    def _on_labeled(self, msg: LabeledRollout) -> None:
        with self._labelled:
            self._labels[msg.rollout_id] = Outcome(msg.outcome.value)
            self._labelled.notify_all()

    def wait_label(self, rollout_id: str, cancelled: Callable[[], bool]) -> Outcome:
        """The label of a rollout, UNKNOWN ones waited out.

        Raises:
            DeadlineError: label_timeout passed.
            CancelledByUserError: `cancelled` became true.
        """
        limit = self.config.label_timeout or math.inf
        deadline = time.monotonic() + limit
        with self._labelled:
            while (outcome := self._labels.get(rollout_id, Outcome.UNKNOWN)) is Outcome.UNKNOWN:
                if cancelled():
                    raise CancelledByUserError(
                        f"waiting for the label of {rollout_id} was cancelled."
                    )
                if time.monotonic() >= deadline:
                    raise DeadlineError(
                        f"rollout {rollout_id} was not stored and labelled within {limit:g} s: is outcome_labeler running?"
                    )
                self._labelled.wait(0.1)
            del self._labels[rollout_id]
            return outcome

    def _on_map(self, msg: RiskMap) -> None:
        self._map = msg

    def _publish(self) -> None:
        self._status.header.stamp = stamps.wall()
        self._publisher.publish(self._status)

    # -- the session ----------------------------------------------------------------------------------------------

    def _diagnose(
        self,
        goal: Diagnose.Goal,
        result: Diagnose.Result,
        feedback: Callable[[Any], None],
        cancelled: Callable[[], bool],
    ) -> None:
        session_id = goal.session_id or time.strftime("s%Y%m%dt%H%M%S")
        if not _SESSION_ID.match(session_id):
            raise InvalidArgumentError(
                f"session_id {session_id[:60]!r}: want 1 to 40 letters, digits or '-'."
            )
        config = self.config
        seed = max(0, int(goal.seed))

        def show(status: Status) -> None:
            self._status = _status_to_msg(status, config)
            self._publish()
            feedback(Diagnose.Feedback(status=self._status))

        loop = SessionLoop(
            SessionPlanner(config.session(int(goal.rollouts)), seed=seed),
            RosPorts(self, cancelled),
            self.catalogue,
            session_id,
            show,
            cancelled,
            train_every=int(goal.train_every) or config.train_every,
            patience=config.patience_for_nodes,
        )
        try:
            loop.run()
        finally:
            result.status = self._status
            result.risk_map = self._map

    def health(self) -> Health:
        """The session's sentence."""
        waiting = self._status.state in (SessionStatus.WAITING, SessionStatus.FAILED)
        values: dict[str, object] = {"done": self._status.done, "total": self._status.total}
        return Health(WARN if waiting else 0, self._status.message or "idle", values)


class RosPorts:
    """The session's world over the other nodes' interfaces; see search.session_loop.Ports."""

    def __init__(self, node: DiagnosisNode, cancelled: Callable[[], bool]) -> None:
        self._node = node
        self._config = node.config
        self._cancelled = cancelled

    def history(self) -> list[Past]:
        """Pages through robomd/list_rollouts."""
        past: list[Past] = []
        while True:
            request = ListRollouts.Request(offset=len(past), limit=_PAGE, outcome=255)
            page = call_service(self._node.list_client, request, _CALL, self._cancelled)
            past += [_past(rollout) for rollout in page.rollouts]
            if not page.rollouts or len(past) >= page.total:
                return past[::-1]

    def suggest(self, strategy: str, count: int, seed: int) -> list[Perturbation]:
        """Asks robomd/suggest_next."""
        request = SuggestNext.Request(strategy=strategy, count=count, seed=seed)
        answer = call_service(self._node.suggest_client, request, _CALL, self._cancelled)
        return [perturbation_from_msg(p, self._node.catalogue) for p in answer.perturbations]

    def apply(self, perturbation: Perturbation) -> None:
        """Asks robomd/apply_perturbation."""
        request = ApplyPerturbation.Request(variation_ids=list(perturbation.ids))
        call_service(self._node.apply_client, request, self._config.apply_timeout, self._cancelled)

    def roll_out(self, rollout_id: str, plan: Plan) -> None:
        """Sends a robomd/run_rollout goal."""
        goal = RunRollout.Goal(
            rollout_id=rollout_id,
            perturbation_id=plan.perturbation.id,
            seed=plan.seed,
            control=int(plan.control),
            purpose=plan.purpose,
            timeout=self._config.rollout_timeout,
        )
        # The cell keeps the rollout's own time-out; ours is for a cell that died.
        deadline = self._config.rollout_timeout + _CALL
        call_action(
            self._node.rollout_client,
            goal,
            deadline,
            cancelled=self._cancelled,
            quiet=self._config.silence,
        )

    def outcome(self, rollout_id: str) -> Outcome:
        """Waits for robomd/labeled_rollout; asks the store where the event itself got lost."""
        try:
            return self._node.wait_label(rollout_id, self._cancelled)
        except DeadlineError:
            request = ListRollouts.Request(limit=10, outcome=255)
            page = call_service(self._node.list_client, request, _CALL, self._cancelled)
            stored = {r.rollout_id: Outcome(r.outcome.value) for r in page.rollouts}
            if stored.get(rollout_id, Outcome.UNKNOWN) is Outcome.UNKNOWN:
                raise
            return stored[rollout_id]

    def train(self, seed: int, progress: Callable[[str], None]) -> str:
        """Sends robomd/train_embedding and robomd/train_search goals."""

        def show(what: str) -> Callable[[Any], None]:
            return lambda f: progress(f"training the {what}: {f.phase} {100 * f.progress:.0f} %")

        embedding = TrainEmbedding.Goal(profile=self._config.profile, seed=seed)
        call_action(
            self._node.embedding_client,
            embedding,
            _TRAIN,
            show("embedding"),
            self._cancelled,
            _TRAIN_QUIET,
        )
        result = call_action(
            self._node.search_client,
            TrainSearch.Goal(seed=seed),
            _TRAIN,
            show("search"),
            self._cancelled,
            _TRAIN_QUIET,
        )
        return (
            f"trained; on {result.heldout} held-out rollouts AUC {result.auc_head:.3f}, search "
            f"{result.auc_search:.3f}, untrained {result.auc_untrained:.3f}, success table {result.auc_success_table:.3f}."
        )


def _past(msg: LabeledRollout) -> Past:
    control = Control.ZERO_ACTION if msg.purpose == "control" else Control.NONE
    plan = Plan(perturbation_from_msg(msg.perturbation), msg.purpose, int(msg.seed), control)
    return Past(msg.rollout_id, plan, Outcome(msg.outcome.value))


def _status_to_msg(status: Status, config: DiagnosisConfig) -> SessionStatus:
    return SessionStatus(
        state=int(status.state),
        session_id=status.session_id,
        study=config.study,
        policy_id=config.policy_id,
        done=status.done,
        total=status.total,
        successes=status.successes,
        failures=status.failures,
        not_evidence=status.not_evidence,
        current=status.current,
        purpose=status.purpose,
        message=status.message,
        elapsed=float(status.elapsed),
        remaining=float(status.remaining),
        confirmed=list(status.confirmed),
    )


def main() -> None:
    """Entry point."""
    sys.exit(run(DiagnosisNode))


if __name__ == "__main__":
    main()
