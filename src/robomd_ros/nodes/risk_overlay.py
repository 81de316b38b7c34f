"""risk_overlay: risk for people: the annotated camera, markers in the room, the live risk, the alarm."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import CameraInfo, Image
from visualization_msgs.msg import Marker, MarkerArray

from robomd_msgs.msg import (
    CellState,
    OperatorRequest,
    Perturbation,
    RiskMap,
    RiskScore,
    SessionStatus,
)
from robomd_ros.adapters import names, qos
from robomd_ros.adapters.base import ERROR, OK, WARN, Health, RobomdNode
from robomd_ros.adapters.camera_view import CameraView, frame_question
from robomd_ros.adapters.conversions import key_values
from robomd_ros.adapters.images import frame_rgb, image_to_msg
from robomd_ros.adapters.live_risk import NOT_TRAINED, LiveRisk
from robomd_ros.adapters.parameters import declare, parameter
from robomd_ros.adapters.risk_markers import (
    MarkerBook,
    WorkSpace,
    bar_markers,
    frustum_marker,
    work_markers,
)
from robomd_ros.adapters.risk_words import alarm_sentence, cell_line, percent, session_line
from robomd_ros.adapters.runner import run
from robomd_ros.core.errors import RobomdError
from robomd_ros.report.alarm import AlarmConfig, AlarmState, RiskAlarm
from robomd_ros.report.overlay import OverlayFacts, draw_overlay

STALE = 3
"""Level of an alarm that nobody can give; DiagnosticStatus's number."""

_RANKED = 6
_LEVELS = {
    AlarmState.UNKNOWN: STALE,
    AlarmState.CALM: OK,
    AlarmState.NOVEL: WARN,
    AlarmState.RISK: ERROR,
}
_MOVING = "of the scene before the policy moved"
_SILENT_CELL = 3.0
"""Seconds after which a cell that says its state every second counts as silent."""


@dataclass(frozen=True)
class RiskOverlayConfig:
    """Parameters of risk_overlay."""

    rate: float = parameter(6.0, "live risk and overlay", low=0.2, high=60.0, unit="Hz")
    height: int = parameter(480, "rows of the overlay picture at least", low=240, high=2160)
    camera_timeout: float = parameter(
        3.0, "no live risk of a frame older than this", low=0.2, high=3600.0, unit="s"
    )
    alarm_on: float = parameter(0.6, "alarm from this risk on", low=0.0, high=1.0)
    alarm_off: float = parameter(0.4, "no alarm below this risk", low=0.0, high=1.0)
    alarm_after: float = parameter(
        1.0, "the alarm changes after so long without flicker", low=0.0, high=60.0, unit="s"
    )
    longest_rollout: float = parameter(
        300.0, "a rollout that did not end by then is over", low=1.0, high=36000.0, unit="s"
    )
    query_timeout: float = parameter(
        2.0, "an unanswered question is given up after", low=0.1, high=60.0, unit="s"
    )
    work_frame: str = parameter("base_link", "TF frame of the work space and the bars")
    work_position: tuple[float, ...] = parameter((0.5, 0.0, 0.0), "middle of the work space [m]")
    work_size: tuple[float, ...] = parameter((0.3, 0.4, 0.1), "extent of the work space [m]")
    camera_depth: float = parameter(
        0.5, "the camera's frustum is drawn up to here", low=0.01, high=10.0, unit="m"
    )
    bars: int = parameter(24, "risk map entries shown as markers", low=0, high=256)


class RiskOverlayNode(RobomdNode):
    """Shows what is known about risk.

    While a rollout runs the risk is that of the frame before the policy moved, the one the models predict from: a moving
    arm is in no model's training.

    Subscribes: camera/image_raw (or its compressed topic where that is all there is), camera/camera_info, robomd/perturbation, robomd/risk_map,
        robomd/session, robomd/rollout_status, robomd/cell_state, robomd/operator/request.
    Calls: robomd/query_failure_likelihood, one question at a time, never waiting for the answer.
    Publishes: robomd/overlay/image, robomd/overlay/markers (latched, every 0.5 s), robomd/risk,
        robomd/alarm (latched, on change and every second).
    Parameters: RiskOverlayConfig.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("risk_overlay", **kwargs)
        c = self._config = declare(self, RiskOverlayConfig)
        self._space = WorkSpace(c.work_frame, c.work_position, c.work_size)
        self._alarm = RiskAlarm(AlarmConfig(c.alarm_on, c.alarm_off, c.alarm_after))
        self._camera = CameraView(self, c.longest_rollout)
        self._cell_time = -math.inf
        self._info: CameraInfo | None = None
        self._perturbation: Perturbation | None = None
        self._map: RiskMap | None = None
        self._bars: list[Marker] = []
        self._book = MarkerBook()
        self._session: SessionStatus | None = None
        self._cell: CellState | None = None
        self._request: OperatorRequest | None = None
        self._drawn = 0
        self._picture = self.create_publisher(Image, names.OVERLAY_IMAGE, qos.STREAM)
        self._markers = self.create_publisher(MarkerArray, names.OVERLAY_MARKERS, qos.LATCHED)
        self._risk = self.create_publisher(RiskScore, names.RISK, qos.STREAM)
        self._alarms = self.create_publisher(DiagnosticStatus, names.ALARM, qos.LATCHED)
        self._live = LiveRisk(self, c.query_timeout, self._on_answer)
        self._listen_to_all()
        self.every(1.0 / c.rate, self._tick)
        self.every(0.5, self._mark)
        self.every(1.0, self._tell)

    def _listen_to_all(self) -> None:
        self.listen(CameraInfo, names.CAMERA_INFO, self._on_info, qos.SENSOR_DATA)
        self.listen(Perturbation, names.PERTURBATION, self._on_perturbation, qos.LATCHED)
        self.listen(SessionStatus, names.SESSION, self._on_session, qos.LATCHED)
        self.listen(RiskMap, names.RISK_MAP, self._on_map, qos.LATCHED)
        self.listen(CellState, names.CELL_STATE, self._on_cell, qos.LATCHED)
        self.listen(OperatorRequest, names.OPERATOR_REQUEST, self._on_request, qos.LATCHED)

    def _on_info(self, msg: CameraInfo) -> None:
        self._info = msg

    def _on_perturbation(self, msg: Perturbation) -> None:
        self._perturbation = msg

    def _on_session(self, msg: SessionStatus) -> None:
        self._session = msg

    def _on_cell(self, msg: CellState) -> None:
        self._cell, self._cell_time = msg, time.monotonic()

    def _on_request(self, msg: OperatorRequest) -> None:
        self._request = msg

    def _on_map(self, msg: RiskMap) -> None:
        self._map = msg
        self._bars = bar_markers(self._space, msg.entries[: self._config.bars])

    # -- live risk ------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        newest = self._camera.newest
        if newest is None:
            self._live.forget("no camera frame yet")
            return
        try:
            rgb = frame_rgb(newest)
            self._ask()
        except RobomdError as error:  # a camera whose pictures cannot be read
            self._live.forget(str(error))
            self._judge()
            return
        self._judge()
        picture = draw_overlay(rgb, self._facts(), self._config.height)
        self._picture.publish(image_to_msg(picture, newest.header.stamp, newest.header.frame_id))
        self._drawn += 1

    def _ask(self) -> None:
        scene, age = self._camera.scene, self._camera.age
        if age > self._config.camera_timeout:
            self._live.forget(f"no camera frame for {age:.0f} s")
        elif scene is not None and not self._live.waiting:
            self._live.ask(frame_question(scene), self._perturbation)

    def _on_answer(self, frame: Image, applied: str) -> None:
        self._judge()
        alarm = self._alarm.state is AlarmState.RISK
        self._risk.publish(self._live.score(frame, applied, alarm))
        if self._live.since_asked >= 1.0 / self._config.rate:  # a slow answer must not cost a turn
            self._ask()

    # -- the alarm ------------------------------------------------------------------------------------------------

    def _judge(self) -> None:
        """Bring the alarm up to date, and tell at once when it changed."""
        before, answer = self._alarm.state, self._live.answer
        risk = (answer.p_failure, answer.trusted) if answer is not None else ()
        if self._alarm.update(time.monotonic(), *risk) is not before:
            self._tell()

    def _tell(self) -> None:
        answer, state = self._live.answer, self._alarm.state
        msg = DiagnosticStatus(name=f"{self.get_fully_qualified_name()}: risk")
        msg.level, msg.message = bytes([_LEVELS[state]]), self._sentence()
        values: dict[str, object] = {"state": state.value, "applied": self._applied()}
        for field in ("p_failure", "p_failure_low", "p_failure_high", "distance", "distance_limit"):
            values[field] = getattr(answer, field) if answer else math.nan
        msg.values = key_values(values)
        self._alarms.publish(msg)

    def _sentence(self) -> str:
        return alarm_sentence(
            self._alarm.state, self._live.answer, self._live.note, self._applied()
        )

    def _applied(self) -> str:
        return self._perturbation.id if self._perturbation else ""

    # -- the picture and the room ---------------------------------------------------------------------------------

    def _facts(self) -> OverlayFacts:
        answer = self._live.answer
        entries = self._map.entries[:_RANKED] if self._map else []
        risk: dict[str, Any] = {}
        if answer is not None:
            risk = {
                "p_failure": answer.p_failure,
                "p_low": answer.p_failure_low,
                "p_high": answer.p_failure_high,
                "distance": answer.distance,
                "distance_limit": answer.distance_limit,
                "trusted": bool(answer.trusted),
            }
        return OverlayFacts(
            applied=self._applied(),
            verified=bool(self._perturbation and self._perturbation.verified),
            note=self._live.note or (_MOVING if self._camera.moving else ""),
            alarm=self._alarm.state,
            cell=self._cell_line(),
            stopped=bool(self._cell and self._cell.state == CellState.STOPPED),
            session=session_line(self._session) if self._session else "",
            ranking=[
                (e.perturbation_id or e.sentence, e.p_failure, e.p_failure_low, e.p_failure_high)
                for e in entries
            ],
            **risk,
        )

    def _cell_line(self) -> str:
        """What the cell does and asks for; "" where no cell says it."""
        if self._cell is None:
            return ""
        silent = time.monotonic() - self._cell_time
        if silent > _SILENT_CELL:
            return f"silent for {silent:.0f} s"
        return cell_line(self._cell, self._request)

    def _mark(self) -> None:
        answer = self._live.answer
        text, risk = f"risk unknown: {self._live.note}", math.nan
        if answer is not None:
            text, risk = percent(answer), answer.p_failure
            if not answer.trusted:
                text, risk = f"{text}\nnever seen anything like this", math.nan
        alpha = 0.5 if self._alarm.state is AlarmState.RISK else 0.25
        shown = [*work_markers(self._space, risk, text, alpha), *self._bars]
        frustum = frustum_marker(self._info, self._config.camera_depth) if self._info else None
        if frustum is not None:
            shown.append(frustum)
        self._markers.publish(self._book.array(shown))

    def health(self) -> Health:
        """ERROR while the risk is an alarm, WARN while there is nothing to say or it is never seen."""
        answer, note = self._live.answer, self._live.note
        level = {AlarmState.RISK: ERROR, AlarmState.NOVEL: WARN}.get(self._alarm.state, OK)
        if answer is None and note != NOT_TRAINED:
            level = max(level, WARN)
        out = Health(level, self._sentence())
        out.values = {
            "drawn": self._drawn,
            "answered": self._live.answered,
            "alarm": self._alarm.state.value,
            "p_failure": answer.p_failure if answer else math.nan,
            "note": note,
        }
        return out


def main() -> None:
    """Run the node."""
    run(RiskOverlayNode)


if __name__ == "__main__":
    main()
