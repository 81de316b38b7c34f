"""operator_console: the web page of the person beside the robot."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup

from robomd_msgs.msg import (
    CellState,
    LabeledRollout,
    OperatorRequest,
    RiskMap,
    RolloutStatus,
    RolloutSummary,
    SessionStatus,
    SetupCheck,
)
from robomd_ros.adapters import names, qos
from robomd_ros.adapters.base import WARN, Health, RobomdNode
from robomd_ros.adapters.camera_topics import listen_camera
from robomd_ros.adapters.parameters import declare, parameter
from robomd_ros.adapters.runner import run
from robomd_ros.console.gate import is_loopback, kept_token
from robomd_ros.console.labelling import Labelling
from robomd_ros.console.link import Link
from robomd_ros.console.pictures import LivePicture
from robomd_ros.console.state import ConsoleState


@dataclass(frozen=True)
class OperatorConsoleConfig:
    """Parameters of operator_console."""

    host: str = parameter("127.0.0.1", "address to serve on; 0.0.0.0 = every one of this machine")
    port: int = parameter(8090, "port to serve on; 0 = any free one", low=0, high=65_535)
    token: str = parameter(
        "", "wanted of every browser; empty = none on this machine, a kept one elsewhere"
    )
    study: str = parameter("", "folder of the study, for second looks; empty = as the labeler says")
    labeler: str = parameter("", "name proposed to a browser that has not given one")
    phases: tuple[str, ...] = parameter(
        ("reach", "grasp", "lift"), "phases of the task, offered with a failure"
    )
    reasons: tuple[str, ...] = parameter(
        ("missed the object", "slipped", "collision", "did not move"), "reasons offered"
    )
    second_look_share: float = parameter(
        0.2, "share of the labelled rollouts that is looked at again", low=0.0, high=1.0
    )


class OperatorConsoleNode(RobomdNode):
    """Serves the console. It keeps nothing of its own: everything shown is latched by its owner or in the store.

    Subscribes: camera/image_raw (or its compressed one), robomd/cell_state, robomd/operator/request, robomd/setup_check,
    robomd/session, robomd/rollout_status, robomd/rollouts, robomd/labeled_rollout, robomd/risk_map.
    Calls: see console.link.Link.
    Parameters: OperatorConsoleConfig.
    """

    threads = 4

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("operator_console", **kwargs)
        self.config = declare(self, OperatorConsoleConfig)
        self._lock = threading.Lock()
        self._state = ConsoleState()
        self.picture = LivePicture()
        self.link = Link(self)
        self.labelling = Labelling(
            self.link, lambda rollout_id: self._state.rollout(rollout_id), self.keep
        )
        self._listen()
        # NiceGUI is imported here: 1 s that a node that is only looked at need not pay.
        from robomd_ros.console.app import console_app
        from robomd_ros.console.server import WebServer

        token = self.config.token
        if not token and not is_loopback(self.config.host):
            token = kept_token()
        self._web = WebServer(console_app(self), self.config.host, self.config.port, token)
        self.get_logger().info(f"console at {self._address(token)}")

    @property
    def state(self) -> ConsoleState:
        """What is known now; a new object after each change."""
        return self._state

    @property
    def study(self) -> Path | None:
        """Folder of the study: the parameter, else what outcome_labeler says."""
        summary = self._state.summary
        folder = self.config.study or (summary.study if summary else "")
        return Path(folder) if folder else None

    def now(self) -> float:
        """Steady clock [s]."""
        return self.steady.now().nanoseconds * 1e-9

    def _address(self, token: str) -> str:
        host = self.config.host
        if host in ("0.0.0.0", "::", ""):
            host = socket.gethostname()
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self._web.port}/" + (f"?token={token}" if token else "")

    # -- what arrives ---------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        camera = MutuallyExclusiveCallbackGroup()
        listen_camera(self, self.picture.keep, camera, qos.NEWEST)
        for kind, topic, change, profile in (
            (CellState, names.CELL_STATE, self._cell, qos.LATCHED),
            (OperatorRequest, names.OPERATOR_REQUEST, self._request, qos.LATCHED),
            (SetupCheck, names.SETUP_CHECK, self._check, qos.STREAM),
            (SessionStatus, names.SESSION, self._session, qos.LATCHED),
            (RiskMap, names.RISK_MAP, self._map, qos.LATCHED),
            (RolloutSummary, names.ROLLOUTS, ConsoleState.with_summary, qos.LATCHED),
            (RolloutStatus, names.ROLLOUT_STATUS, ConsoleState.with_status, qos.ROLLOUT_STATUS),
            (LabeledRollout, names.LABELED_ROLLOUT, ConsoleState.with_rollout, qos.EVENTS),
        ):
            self.listen(kind, topic, lambda msg, change=change: self._change(change, msg), profile)

    def _change(self, change: Callable[[ConsoleState, Any], ConsoleState], msg: Any) -> None:
        with self._lock:
            self._state = change(self._state, msg)

    def keep(self, msg: LabeledRollout) -> None:
        """Take a row of the store that an answer brought."""
        self._change(ConsoleState.with_rollout, msg)

    def look_back(self, msg: LabeledRollout) -> None:
        """Keep a row from further back at hand."""
        self._change(ConsoleState.with_older, msg)

    def _cell(self, state: ConsoleState, msg: CellState) -> ConsoleState:
        return replace(state, cell=msg, cell_at=self.now())

    def _request(self, state: ConsoleState, msg: OperatorRequest) -> ConsoleState:
        return replace(state, request=msg)

    def _check(self, state: ConsoleState, msg: SetupCheck) -> ConsoleState:
        return replace(state, check=msg, check_at=self.now())

    def _session(self, state: ConsoleState, msg: SessionStatus) -> ConsoleState:
        return replace(state, session=msg)

    def _map(self, state: ConsoleState, msg: RiskMap) -> ConsoleState:
        return replace(state, risk_map=msg)

    # -- life -----------------------------------------------------------------------------------------------------

    def health(self) -> Health:
        """WARN while nobody shows a camera or a cell."""
        state = self._state
        out = Health(values={"camera_age_s": self.picture.age, "rollouts": len(state.rollouts)})
        if state.cell_silent(self.now()):
            out.level, out.message = WARN, "no word of the cell: does ur5e_driver run?"
        elif self.picture.age > 3.0:
            out.level, out.message = WARN, "no camera frame"
        return out

    def destroy_node(self) -> None:
        """Close the pages, then the interfaces."""
        self.closing.set()
        self._web.close()
        super().destroy_node()


def main() -> None:
    """Run the node."""
    run(OperatorConsoleNode)


if __name__ == "__main__":
    main()
