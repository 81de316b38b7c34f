"""start_diagnosis: sends one Diagnose goal, tells how it goes, and ends with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from robomd_msgs.action import Diagnose
from robomd_msgs.msg import SessionStatus
from robomd_ros.adapters.base import ERROR, Health, RobomdNode
from robomd_ros.adapters.diagnose_client import DiagnoseClient
from robomd_ros.adapters.parameters import declare, parameter
from robomd_ros.adapters.runner import run
from robomd_ros.core.errors import RobomdError

_DAY = 86_400.0
_ROLLOUT = 60.0


@dataclass(frozen=True)
class StartDiagnosisConfig:
    """Parameters of start_diagnosis."""

    rollouts: int = parameter(60, "budget of the session", low=1, high=100_000)
    seed: int = parameter(0, "of the session", low=0)
    session_id: str = parameter("", "session to resume; empty = a new one")
    server_wait: float = parameter(
        120.0, "wait this long for diagnosis to be up", low=1.0, high=3600.0, unit="s"
    )
    timeout: float = parameter(
        0.0, "for the whole session; 0 = a day and a minute a rollout", low=0.0, high=1e7, unit="s"
    )


class StartDiagnosisNode(RobomdNode):
    """Calls robomd/diagnose once; when the server goes away, the same session is resumed when it is back.

    Calls: robomd/diagnose. Subscribes: robomd/session.
    Parameters: StartDiagnosisConfig.
    """

    threads = 3

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("start_diagnosis", **kwargs)
        self._config = declare(self, StartDiagnosisConfig)
        self._said = -1
        self.exit_code = 0
        self.error = ""
        self._client = DiagnoseClient(
            self, self._on_status, self._on_lost, self._config.server_wait
        )
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
        config = self._config
        goal = Diagnose.Goal(
            session_id=config.session_id, rollouts=config.rollouts, seed=config.seed
        )
        timeout = config.timeout or _DAY + _ROLLOUT * config.rollouts
        return self._client.run(goal, timeout, self.closing.is_set)

    def _on_lost(self) -> None:
        self.get_logger().warning("diagnosis went away; the session is resumed when it is back")

    def _on_status(self, status: SessionStatus) -> None:
        if status.done > self._said:
            self._said = status.done
            line = f"{status.done}/{status.total} rollouts, {status.failures} failures"
            self.get_logger().info(f"{line}. {status.message}" if status.message else line)

    def health(self) -> Health:
        """ERROR when the session failed."""
        return Health(ERROR if self.error else 0, self.error or "ok", {"done": self._said})


def main() -> None:
    """Run the node until the session ends; the exit code is 1 when it failed."""
    run(StartDiagnosisNode)


if __name__ == "__main__":
    main()
