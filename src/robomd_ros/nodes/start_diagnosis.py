"""start_diagnosis: sends one Diagnose goal, tells how it goes, and ends with it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from rclpy.action import ActionClient
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup

from robomd_msgs.action import Diagnose
from robomd_msgs.msg import SessionStatus
from robomd_ros.adapters import names, qos
from robomd_ros.adapters.base import ERROR, Health, RobomdNode
from robomd_ros.adapters.calls import call_action, wait_for
from robomd_ros.adapters.parameters import declare, parameter
from robomd_ros.adapters.runner import run
from robomd_ros.core.errors import CancelledByUserError, RobomdError


@dataclass(frozen=True)
class StartDiagnosisConfig:
    """Parameters of start_diagnosis."""

    rollouts: int = parameter(60, "budget of the session", low=1, high=100_000)
    seed: int = parameter(0, "of the session", low=0)
    session_id: str = parameter("", "session to resume; empty = a new one")
    server_wait: float = parameter(
        120.0, "wait this long for diagnosis to be up", low=1.0, high=3600.0, unit="s"
    )
    timeout: float = parameter(86_400.0, "for the whole session", low=1.0, high=1e7, unit="s")


class StartDiagnosisNode(RobomdNode):
    """Calls robomd/diagnose once; when the server goes away, the same session is resumed when it is back.

    Calls: robomd/diagnose. Subscribes: robomd/session.
    Parameters: StartDiagnosisConfig.
    """

    threads = 3

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("start_diagnosis", **kwargs)
        self._config = declare(self, StartDiagnosisConfig)
        self._session_id = self._config.session_id
        self._said = -1
        self.exit_code = 0
        self.error = ""
        # A group of its own that runs one callback at a time: feedback stays in order.
        group = MutuallyExclusiveCallbackGroup()
        self._client = ActionClient(self, Diagnose, names.DIAGNOSE, callback_group=group)
        self._watch = _Watch(self._client)
        self.listen(SessionStatus, names.SESSION, self._on_session, qos.LATCHED)
        self.worker("goal").submit(self._run)

    def _run(self) -> None:
        try:
            result = self._diagnose()
            status = result.status
            self.get_logger().info(
                f"session {status.session_id} is done: {status.done} rollouts, {status.failures} failures"
            )
        except RobomdError as error:
            self.error = str(error)
            if not self.closing.is_set():
                self.get_logger().error(self.error)
            self.exit_code = 1
        if not self.closing.is_set():
            self.context.try_shutdown()

    def _diagnose(self) -> Any:
        deadline = time.monotonic() + self._config.timeout
        while True:
            wait_for(self._client.server_is_ready, self._config.server_wait, self.closing.is_set)
            watch = self._watch = _Watch(self._client)
            goal = Diagnose.Goal(
                session_id=self._session_id,
                rollouts=self._config.rollouts,
                seed=self._config.seed,
            )
            try:
                return call_action(
                    self._client,
                    goal,
                    max(deadline - time.monotonic(), 1.0),
                    self._on_feedback,
                    lambda watch=watch: self.closing.is_set() or watch.check(),
                )
            except CancelledByUserError:
                if self.closing.is_set() or not watch.gone:
                    raise
                self.get_logger().warning(
                    "diagnosis went away; the session is resumed when it is back"
                )

    def _on_session(self, msg: SessionStatus) -> None:
        self._watch.on_session(msg)

    def _on_feedback(self, feedback: Diagnose.Feedback) -> None:
        status: SessionStatus = feedback.status
        self._session_id = status.session_id
        if status.done > self._said:
            self._said = status.done
            line = f"{status.done}/{status.total} rollouts, {status.failures} failures"
            self.get_logger().info(f"{line}. {status.message}" if status.message else line)

    def health(self) -> Health:
        """ERROR when the session failed."""
        return Health(ERROR if self.error else 0, self.error or "ok", {"done": self._said})


class _Watch:
    """Says when the server of a running goal is gone.

    A killed process stays in the discovery for up to 20 s, and its successor is taken for it. So the session's status is
    watched, too: a server that says IDLE does not know our goal.
    """

    def __init__(self, client: ActionClient, patience: float = 3.0) -> None:
        self._client, self._patience = client, patience
        self._last = time.monotonic()
        self._idle = 0
        self.gone = False

    def on_session(self, msg: SessionStatus) -> None:
        """Count statuses that say IDLE in a row."""
        self._idle = self._idle + 1 if msg.state == SessionStatus.IDLE else 0

    def check(self) -> bool:
        """True once the server is gone."""
        now = time.monotonic()
        if self._client.server_is_ready() and self._idle < 3:
            self._last = now
        self.gone = self.gone or now - self._last > self._patience
        return self.gone


def main() -> None:
    """Run the node until the session ends; the exit code is 1 when it failed."""
    run(StartDiagnosisNode)


if __name__ == "__main__":
    main()
