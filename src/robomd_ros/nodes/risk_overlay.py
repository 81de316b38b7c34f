"""risk_overlay: pictures of risk for people: the annotated camera, markers of the risk map, the live risk."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from geometry_msgs.msg import Point, Pose, Vector3
from rclpy.task import Future
from sensor_msgs.msg import Image
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from robomd_msgs.msg import (
    FailureLikelihood,
    Perturbation,
    Question,
    RiskMap,
    RiskScore,
    SessionStatus,
)
from robomd_msgs.srv import QueryFailureLikelihood
from robomd_ros.adapters import names, qos
from robomd_ros.adapters.base import WARN, Health, RobomdNode
from robomd_ros.adapters.images import image_from_msg, image_to_msg
from robomd_ros.adapters.parameters import declare, parameter
from robomd_ros.adapters.runner import run
from robomd_ros.core.errors import ErrorCode
from robomd_ros.report.overlay import OverlayFacts, draw_overlay, risk_color

_RANKED = 6
_STATES = ("idle", "running", "training", "waiting", "paused", "done", "failed")


@dataclass(frozen=True)
class RiskOverlayConfig:
    """Parameters of risk_overlay."""

    rate: float = parameter(6.0, "live risk and overlay", low=0.2, high=60.0, unit="Hz")
    height: int = parameter(480, "rows of the overlay picture at least", low=240, high=2160)
    alarm_on: float = parameter(0.6, "alarm from this risk on", low=0.0, high=1.0)
    alarm_off: float = parameter(0.4, "no alarm below this risk", low=0.0, high=1.0)
    query_timeout: float = parameter(
        2.0, "an unanswered question is given up after", low=0.1, high=60.0, unit="s"
    )
    frame_id: str = parameter("base_link", "frame of the markers")
    bars: int = parameter(24, "risk map entries shown as markers", low=1, high=256)


class RiskOverlayNode(RobomdNode):
    """Draws what is known about risk.

    Subscribes: camera/image_raw, robomd/perturbation, robomd/risk_map, robomd/session.
    Calls: robomd/query_failure_likelihood, one question at a time, never waiting for the answer.
    Publishes: robomd/overlay/image, robomd/overlay/markers (latched), robomd/risk.
    Parameters: RiskOverlayConfig.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("risk_overlay", **kwargs)
        self._config = declare(self, RiskOverlayConfig)
        self._frame: Image | None = None
        self._perturbation: Perturbation | None = None
        self._map: RiskMap | None = None
        self._session: SessionStatus | None = None
        self._answer: FailureLikelihood | None = None
        self._note = "not trained yet"
        self._alarm = False
        self._asked: tuple[Future, Image, str, float] | None = None
        self._drawn = 0
        self._picture = self.create_publisher(Image, names.OVERLAY_IMAGE, qos.STREAM)
        self._markers = self.create_publisher(MarkerArray, names.OVERLAY_MARKERS, qos.LATCHED)
        self._risk = self.create_publisher(RiskScore, names.RISK, qos.STREAM)
        self._query = self.create_client(QueryFailureLikelihood, names.QUERY_FAILURE_LIKELIHOOD)
        self.listen(Image, names.CAMERA_IMAGE, self._on_frame, qos.SENSOR_DATA)
        self.listen(Perturbation, names.PERTURBATION, self._on_perturbation, qos.LATCHED)
        self.listen(SessionStatus, names.SESSION, self._on_session, qos.LATCHED)
        self.listen(RiskMap, names.RISK_MAP, self._on_map, qos.LATCHED)
        self.every(1.0 / self._config.rate, self._tick)

    def _on_frame(self, msg: Image) -> None:
        self._frame = msg

    def _on_perturbation(self, msg: Perturbation) -> None:
        self._perturbation = msg

    def _on_session(self, msg: SessionStatus) -> None:
        self._session = msg

    def _on_map(self, msg: RiskMap) -> None:
        self._map = msg
        self._markers.publish(markers(msg, self._config.frame_id, self._config.bars))

    def _tick(self) -> None:
        frame = self._frame
        if frame is None:
            return
        self._ask(frame)
        picture = draw_overlay(image_from_msg(frame), self._facts(), self._config.height)
        self._picture.publish(image_to_msg(picture, frame.header.stamp, frame.header.frame_id))
        self._drawn += 1

    # -- live risk ------------------------------------------------------------------------------------------------

    def _ask(self, frame: Image) -> None:
        """Ask about the newest frame, unless an earlier question is still on its way."""
        if self._asked is not None:
            if time.monotonic() - self._asked[3] < self._config.query_timeout:
                return
            self._query.remove_pending_request(self._asked[0])
            self._forget("search_service does not answer")
        if not self._query.service_is_ready():
            self._forget("search_service is not there")
            return
        applied = self._perturbation
        question = Question(image=frame)
        if applied is not None:
            question.variation_ids = [v.id for v in applied.variations]
            question.nominal = not applied.variations
        request = QueryFailureLikelihood.Request(questions=[question], evidence=1)
        future = self._query.call_async(request)
        self._asked = future, frame, applied.id if applied else "", time.monotonic()
        future.add_done_callback(lambda done: self.guard(self._on_answer, done))

    def _on_answer(self, future: Future) -> None:
        if self._asked is None or future is not self._asked[0] or future.cancelled():
            return
        _, frame, applied, _ = self._asked
        self._asked = None
        response = future.result()
        if response.error_code == ErrorCode.OK and response.answers:
            self._answer, self._note = response.answers[0], ""
        elif response.error_code == ErrorCode.NOT_READY:
            self._forget("not trained yet")
        else:
            self._forget(response.error_msg or "no answer")
        self._alarm = self._hysteresis(self._answer)
        self._risk.publish(self._score(frame, applied))

    def _forget(self, note: str) -> None:
        self._asked, self._answer, self._note, self._alarm = None, None, note, False

    def _hysteresis(self, answer: FailureLikelihood | None) -> bool:
        if answer is None or not math.isfinite(answer.p_failure):
            return False
        limit = self._config.alarm_off if self._alarm else self._config.alarm_on
        return answer.p_failure >= limit

    def _score(self, frame: Image, applied: str) -> RiskScore:
        answer = self._answer
        msg = RiskScore(header=frame.header, perturbation_id=applied, alarm=self._alarm)
        for field in ("p_failure", "p_failure_low", "p_failure_high", "distance"):
            setattr(msg, field, float(getattr(answer, field)) if answer else math.nan)
        msg.trusted = bool(answer and answer.trusted)
        return msg

    # -- the picture ----------------------------------------------------------------------------------------------

    def _facts(self) -> OverlayFacts:
        answer, applied = self._answer, self._perturbation
        entries = self._map.entries[:_RANKED] if self._map else []
        risk = {}
        if answer is not None:
            risk = {
                "p_failure": answer.p_failure,
                "p_low": answer.p_failure_low,
                "p_high": answer.p_failure_high,
                "distance": answer.distance,
                "distance_limit": answer.distance_limit,
            }
        return OverlayFacts(
            applied=applied.id if applied else "",
            verified=bool(applied and applied.verified),
            note=self._note,
            alarm=self._alarm,
            session=_session_line(self._session) if self._session else "",
            ranking=[
                (e.perturbation_id or e.sentence, e.p_failure, e.p_failure_low, e.p_failure_high)
                for e in entries
            ],
            **risk,
        )

    def health(self) -> Health:
        """WARN while there is nothing to draw on."""
        out = Health(
            values={
                "drawn": self._drawn,
                "p_failure": self._answer.p_failure if self._answer else math.nan,
                "note": self._note,
            }
        )
        if self._frame is None:
            out.level, out.message = WARN, "no camera frame yet"
        return out


def markers(risk_map: RiskMap, frame_id: str, bars: int) -> MarkerArray:
    """The risk map as a list of bars with text, riskiest on top; the first marker clears what was there."""
    out = [Marker(action=Marker.DELETEALL)]
    out[0].header.frame_id = frame_id
    for row, entry in enumerate(risk_map.entries[:bars]):
        out += _entry_markers(entry, row, frame_id)
    return MarkerArray(markers=out)


def _entry_markers(entry: FailureLikelihood, row: int, frame_id: str) -> list[Marker]:
    p = entry.p_failure if math.isfinite(entry.p_failure) else 0.0
    red, green, blue = (c / 255.0 for c in risk_color(entry.p_failure))
    z = 1.6 - 0.06 * row
    bar = Marker(ns="risk", id=2 * row, type=Marker.CUBE, action=Marker.ADD)
    bar.scale = Vector3(x=0.02, y=max(0.5 * p, 0.002), z=0.04)
    bar.pose = _pose(0.0, 0.25 * p, z)
    bar.color = ColorRGBA(r=red, g=green, b=blue, a=1.0 if entry.trusted else 0.5)
    name = entry.perturbation_id or entry.sentence
    text = Marker(ns="risk_text", id=2 * row + 1, type=Marker.TEXT_VIEW_FACING, action=Marker.ADD)
    text.text = (
        f"{entry.p_failure:.2f} [{entry.p_failure_low:.2f}, {entry.p_failure_high:.2f}] {name}"[
            :120
        ]
    )
    text.scale.z = 0.04
    text.pose = _pose(0.0, -0.35, z)
    text.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
    for marker in (bar, text):
        marker.header.frame_id = frame_id
    return [bar, text]


def _pose(x: float, y: float, z: float) -> Pose:
    pose = Pose(position=Point(x=x, y=y, z=z))
    pose.orientation.w = 1.0
    return pose


def _session_line(status: SessionStatus) -> str:
    state = _STATES[status.state] if status.state < len(_STATES) else "unknown"
    line = f"{state} {status.done} of {status.total}, {status.failures} failed"
    return f"{line}. {status.message}" if status.message else line


def main() -> None:
    """Run the node."""
    run(RiskOverlayNode)


if __name__ == "__main__":
    main()
