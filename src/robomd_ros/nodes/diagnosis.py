"""diagnosis: the session. Chooses a variation, has it applied, runs the policy, waits for the label, has the models learn."""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from robomd_msgs.action import Diagnose
from robomd_msgs.msg import RiskMap, SessionStatus
from robomd_ros.adapters import names, qos, stamps
from robomd_ros.adapters.base import WARN, Health, RobomdNode
from robomd_ros.adapters.parameters import declare, parameter
from robomd_ros.adapters.runner import run
from robomd_ros.adapters.session_ports import Deadlines, RosPorts
from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.variations import load_catalogue
from robomd_ros.search.session import SessionConfig, SessionPlanner
from robomd_ros.search.session_loop import SessionLoop, Status

_SESSION_ID = re.compile(r"[A-Za-z0-9-]{1,40}\Z")


@dataclass(frozen=True)
class DiagnosisConfig:
    """Parameters of diagnosis."""

    study: str = parameter("", "folder of the study, for the status messages")
    catalogue: str = parameter("lift", "variations: a shipped task or a TOML file")
    cell: str = parameter(
        "", "name of the cell: session ids begin with it, so that cells can share a study"
    )
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
    by_hand: bool = parameter(
        False, "a person sets the variations up: only those the catalogue has a name for"
    )
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

    def deadlines(self) -> Deadlines:
        """How long the others may take."""
        return Deadlines(self.apply_timeout, self.rollout_timeout, self.silence, self.label_timeout)


class DiagnosisNode(RobomdNode):
    """Runs a session over the other nodes' interfaces; it knows no cell, no store and no model.

    A rollout's id is `<session>-<number>-<try>`, so that a session is resumed from the store alone, whoever stopped.

    Serves: robomd/diagnose. Publishes: robomd/session (latched, and again every 1 s).
    Subscribes: robomd/labeled_rollout, robomd/rollouts (is the disk full?), robomd/risk_map.
    Calls: robomd/apply_perturbation, robomd/run_rollout, robomd/list_rollouts, robomd/suggest_next,
    robomd/train_embedding, robomd/train_search.
    Parameters: DiagnosisConfig.
    """

    threads = 6

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("diagnosis", **kwargs)
        config = self._config = declare(self, DiagnosisConfig)
        # Shares that do not add up stop the node now, not the first goal.
        config.session(rollouts=1)
        self._catalogue = load_catalogue(config.catalogue)
        self._map = RiskMap()
        self._status = SessionStatus(
            study=config.study, policy_id=config.policy_id, remaining=math.nan
        )
        self._publisher = self.create_publisher(SessionStatus, names.SESSION, qos.LATCHED)
        self.listen(RiskMap, names.RISK_MAP, self._on_map, qos.LATCHED, self.reentrant)
        self._ports = RosPorts(self, self._catalogue, config.deadlines(), config.profile)
        self._action = self.serve_action(
            Diagnose, names.DIAGNOSE, self._diagnose, self.worker("session")
        )
        self.every(1.0, self._publish)

    # -- what is heard --------------------------------------------------------------------------------------------

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
        prefix = f"{self._config.cell}-" if self._config.cell else ""
        session_id = goal.session_id or prefix + time.strftime("s%Y%m%dt%H%M%S")
        if not _SESSION_ID.match(session_id):
            raise InvalidArgumentError(
                f"session_id {session_id[:60]!r}: want 1 to 40 letters, digits or '-'."
            )
        config, ports = self._config, self._ports
        ports.cancelled = cancelled
        seed = max(0, int(goal.seed))

        def show(status: Status) -> None:
            self._status = _status_to_msg(status, config)
            self._publish()
            feedback(Diagnose.Feedback(status=self._status))

        loop = SessionLoop(
            SessionPlanner(config.session(int(goal.rollouts)), seed=seed),
            ports,
            self._catalogue,
            session_id,
            show,
            cancelled,
            train_every=int(goal.train_every) or config.train_every,
            patience=config.patience_for_nodes,
            by_hand=config.by_hand,
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
