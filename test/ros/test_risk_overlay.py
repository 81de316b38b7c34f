"""Live risk, alarm, picture, and markers that lie where they should."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from ros_graph import Graph, until
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from synthetic_cell import STEP, SyntheticCell, picture
from visualization_msgs.msg import Marker, MarkerArray

from robomd_msgs.msg import (
    CellState,
    FailureLikelihood,
    OperatorRequest,
    RiskMap,
    RiskScore,
    RolloutStatus,
)
from robomd_msgs.srv import QueryFailureLikelihood
from robomd_ros.adapters import names, qos, stamps
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.adapters.camera_view import frame_question
from robomd_ros.adapters.images import image_from_msg, image_to_msg, image_to_png
from robomd_ros.adapters.risk_markers import (
    LIFETIME,
    MarkerBook,
    WorkSpace,
    bar_markers,
    frustum_corners,
    frustum_marker,
    work_markers,
)
from robomd_ros.adapters.risk_words import cell_line
from robomd_ros.core.errors import InvalidArgumentError, NotReadyError
from robomd_ros.learning.inputs import MAX_SIDE, stack_images
from robomd_ros.nodes.risk_overlay import RiskOverlayNode
from robomd_ros.report.alarm import AlarmState
from robomd_ros.report.overlay import OverlayFacts, draw_overlay

SPACE = WorkSpace("base", (0.5, 0.1, 0.05), (0.3, 0.4, 0.1))
FAST = {"rate": 30.0, "alarm_after": 0.0, "camera_timeout": 600.0}


class Search(RobomdNode):
    """Answers as search_service would, with the risk the test sets, and hears what risk_overlay says."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("search", **kwargs)
        self.risk: float | None = None
        self.trusted = True
        self.scores: list[RiskScore] = []
        self.pictures: list[Image] = []
        self.asked: list[Any] = []
        self.alarms: list[DiagnosticStatus] = []
        self.markers: list[MarkerArray] = []
        self.diagnostics: list[DiagnosticStatus] = []
        self.serve(QueryFailureLikelihood, names.QUERY_FAILURE_LIKELIHOOD, self._answer)
        self.listen(RiskScore, names.RISK, self.scores.append, qos.STREAM)
        self.listen(Image, names.OVERLAY_IMAGE, self.pictures.append, qos.STREAM)
        self.listen(DiagnosticStatus, names.ALARM, self.alarms.append, qos.LATCHED)
        self.listen(MarkerArray, names.OVERLAY_MARKERS, self.markers.append, qos.LATCHED)
        self.listen(DiagnosticArray, names.DIAGNOSTICS, self._hear, qos.EVENTS)

    def _answer(self, request: Any, response: Any) -> None:
        self.asked.append(request.questions[0])
        if self.risk is None:
            raise NotReadyError("nothing is trained yet.")
        answer = FailureLikelihood(p_failure=self.risk, p_failure_low=0.1, p_failure_high=0.9)
        answer.trusted, answer.distance, answer.distance_limit = self.trusted, 2.5, 1.0
        response.answers = [answer]

    def _hear(self, msg: DiagnosticArray) -> None:
        self.diagnostics += [s for s in msg.status if s.name.endswith("risk_overlay")]

    def health(self) -> bytes:
        """Level of the newest diagnostic status."""
        return self.diagnostics[-1].level if self.diagnostics else DiagnosticStatus.STALE

    def shown(self, ns: str) -> Marker | None:
        """The newest marker of a namespace."""
        found = [m for m in self.markers[-1].markers if m.ns == ns] if self.markers else []
        return found[0] if found else None


@pytest.fixture
def search(graph: Graph) -> Search:
    return graph.add(Search)


@pytest.fixture
def cell(graph: Graph, search: Search) -> SyntheticCell:
    cell = graph.add(SyntheticCell)
    graph.add(RiskOverlayNode, **FAST)
    until(lambda: cell.images.get_subscription_count() == 1)
    return cell


def test_alarm_has_hysteresis(search: Search, cell: SyntheticCell) -> None:
    cell.image(10 * STEP)

    def alarm_at(risk: float) -> bool:
        search.risk = risk
        del search.scores[:]
        return until(lambda: [s for s in search.scores if s.p_failure == risk])[-1].alarm

    assert not alarm_at(0.5)
    assert alarm_at(0.7)
    assert alarm_at(0.5)
    assert not alarm_at(0.3)
    assert search.asked[-1].image.width == 16
    until(lambda: search.pictures)
    assert image_from_msg(search.pictures[-1]).shape[0] == 480


def test_alarm_and_diagnostics_say_the_same(search: Search, cell: SyntheticCell) -> None:
    cell.image(10 * STEP)
    search.risk = 0.9
    alarm = until(lambda: [a for a in search.alarms if a.level == DiagnosticStatus.ERROR])[0]
    assert "likely to fail here: risk 90 % (10 to 90 %)" in alarm.message
    assert {v.key: v.value for v in alarm.values}["state"] == "risk"
    until(lambda: [s for s in search.diagnostics if s.level == DiagnosticStatus.ERROR
                   and s.message == alarm.message])  # fmt: skip
    search.risk = 0.1
    until(lambda: search.alarms[-1].level == DiagnosticStatus.OK)
    until(lambda: search.health() == DiagnosticStatus.OK)


def test_never_seen_is_a_warning_of_its_own(search: Search, cell: SyntheticCell) -> None:
    search.risk, search.trusted = 0.99, False
    cell.image(10 * STEP)
    warned = until(lambda: [a for a in search.alarms if a.level == DiagnosticStatus.WARN])
    assert "never seen anything like this: distance 2.50" in warned[-1].message
    until(lambda: search.health() == DiagnosticStatus.WARN)
    assert not any(s.alarm for s in search.scores)
    assert not any(a.level == DiagnosticStatus.ERROR for a in search.alarms)


def test_a_late_listener_gets_the_alarm(graph: Graph, search: Search, cell: SyntheticCell) -> None:
    cell.image(10 * STEP)
    search.risk = 0.9
    until(lambda: search.alarms and search.alarms[-1].level == DiagnosticStatus.ERROR)
    late = graph.add(SyntheticCell)
    got: list[DiagnosticStatus] = []
    late.listen(DiagnosticStatus, names.ALARM, got.append, qos.LATCHED)
    until(lambda: [a for a in got if a.level == DiagnosticStatus.ERROR])
    (writer,) = late.get_publishers_info_by_topic(late.resolve_topic_name(names.ALARM))
    assert writer.qos_profile.durability == qos.LATCHED.durability


def test_untrained_is_said(graph: Graph, search: Search, cell: SyntheticCell) -> None:
    cell.image(10 * STEP)
    score = until(lambda: search.scores)[-1]
    assert math.isnan(score.p_failure)
    assert not score.alarm
    note = graph.add(RiskOverlayNode, **FAST)
    until(lambda: cell.images.get_subscription_count() == 2)
    cell.image(11 * STEP)
    until(lambda: (lambda h: (h.values["note"], h.level) == ("not trained yet", 0))(note.health()))


def test_a_silent_camera_has_no_risk(graph: Graph, search: Search) -> None:
    search.risk = 0.9
    cell = graph.add(SyntheticCell)
    node = graph.add(RiskOverlayNode, rate=30.0, alarm_after=0.0, camera_timeout=0.5)
    assert "no camera frame yet" in until(
        lambda: node.health().message if node.health().level else ""
    )
    until(lambda: cell.images.get_subscription_count() == 1)
    cell.image(10 * STEP)
    until(lambda: [s for s in search.scores if s.alarm])
    until(lambda: search.alarms[-1].level == DiagnosticStatus.STALE)
    assert "no camera frame for" in search.alarms[-1].message


def test_a_rollout_is_asked_about_by_the_frame_before_it(
    search: Search, cell: SyntheticCell
) -> None:
    search.risk = 0.2
    begin = 10 * STEP
    for step in range(3):
        cell.image(begin + step * STEP)
    cell.status("a" * 32, RolloutStatus.STARTED, begin + STEP)
    cell.image(begin + 3 * STEP)

    def stamp_asked() -> int:
        return stamps.to_ns(search.asked[-1].image.header.stamp) if search.asked else 0

    until(lambda: stamp_asked() == begin + STEP)
    cell.image(begin + 4 * STEP)
    until(lambda: search.pictures
          and stamps.to_ns(search.pictures[-1].header.stamp) == begin + 4 * STEP)  # fmt: skip
    del search.asked[:]
    until(lambda: len(search.asked) > 2)
    assert stamp_asked() == begin + STEP
    cell.status("a" * 32, RolloutStatus.FINISHED, begin + 4 * STEP, frames=4)
    until(lambda: stamp_asked() == begin + 4 * STEP)


def test_a_large_frame_is_asked_about_as_the_models_see_it() -> None:
    large = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    msg = frame_question(image_to_msg(large, stamps.from_ns(STEP), "camera"))
    assert (msg.height, msg.width, stamps.to_ns(msg.header.stamp)) == (MAX_SIDE, MAX_SIDE, STEP)
    np.testing.assert_array_equal(stack_images([image_from_msg(msg)]), stack_images([large]))
    small = image_to_msg(picture(1), stamps.from_ns(STEP), "camera")
    np.testing.assert_array_equal(image_from_msg(frame_question(small)), picture(1))


class Compressed(RobomdNode):
    """A camera that offers compressed images only."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("compressed_camera", **kwargs)
        self.images = self.create_publisher(
            CompressedImage, names.CAMERA_COMPRESSED, qos.CAMERA_WRITER
        )


def test_a_compressed_camera(graph: Graph, search: Search) -> None:
    search.risk = 0.3
    camera = graph.add(Compressed)
    graph.add(RiskOverlayNode, **FAST)
    until(lambda: camera.images.get_subscription_count() == 1)
    camera.images.publish(image_to_png(picture(3), stamps.from_ns(STEP), "camera"))
    until(lambda: search.scores)
    np.testing.assert_array_equal(image_from_msg(search.asked[-1].image), picture(3))


def test_a_raw_camera_is_not_asked_to_compress(
    graph: Graph, search: Search, cell: SyntheticCell
) -> None:
    camera = graph.add(Compressed)
    cell.image(10 * STEP)
    search.risk = 0.3
    until(lambda: len(search.diagnostics) > 3)  # seconds in which it could have chosen wrong
    assert camera.images.get_subscription_count() == 0


def test_a_picture_that_cannot_be_read_is_said(search: Search, cell: SyntheticCell) -> None:
    search.risk = 0.9
    cell.images.publish(Image(height=1, width=1, encoding="8UC3", step=3, data=[0, 0, 0]))
    until(lambda: search.alarms and "8UC3' is not known" in search.alarms[-1].message)
    until(lambda: search.health() == DiagnosticStatus.WARN)
    cell.image(10 * STEP)
    until(lambda: search.alarms[-1].level == DiagnosticStatus.ERROR)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"alarm_on": 0.3, "alarm_off": 0.4}, "alarm_off 0.4 and alarm_on 0.3"),
        ({"work_size": [0.1, 0.0, 0.1]}, "three positive"),
        ({"work_position": [0.1, 0.2]}, "three finite"),
        ({"work_frame": ""}, "name a TF frame"),
    ],
)
def test_parameters_are_checked(graph: Graph, parameters: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidArgumentError, match=says):
        graph.add(RiskOverlayNode, **parameters)


# -- the room -------------------------------------------------------------------------------------------------------


def info(frame: str = "camera_color_optical_frame", **changes: Any) -> CameraInfo:
    """A calibrated camera of 640x480."""
    k = [600.0, 0.0, 310.0, 0.0, 590.0, 250.0, 0.0, 0.0, 1.0]
    msg = CameraInfo(**{"height": 480, "width": 640, "k": k} | changes)
    msg.header.frame_id = frame
    return msg


def project(points: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Pixels of points in the optical frame: z forward, x right, y down (REP 103)."""
    return (points / points[:, 2:]) @ k.T


def test_frustum_corners_are_the_pictures() -> None:
    k = np.array(info().k).reshape(3, 3)
    corners = frustum_corners(k, 480, 640, 0.7)
    np.testing.assert_allclose(corners[:, 2], 0.7)
    pixels = project(corners, k)[:, :2]
    wanted = [(-0.5, -0.5), (639.5, -0.5), (639.5, 479.5), (-0.5, 479.5)]
    np.testing.assert_allclose(pixels, wanted, atol=1e-9)


def test_frustum_is_drawn_in_the_optical_frame() -> None:
    marker = frustum_marker(info(), 0.7)
    assert marker is not None
    assert (marker.header.frame_id, marker.type) == ("camera_color_optical_frame", Marker.LINE_LIST)
    points = np.array([(p.x, p.y, p.z) for p in marker.points])
    assert len(points) == 16  # four edges from the eye, four around the picture
    np.testing.assert_allclose(points[::4], 0.0)
    corners = frustum_corners(np.array(info().k).reshape(3, 3), 480, 640, 0.7)
    np.testing.assert_allclose(points[1::4], corners)


@pytest.mark.parametrize(
    "msg",
    [info(frame=""), info(k=[0.0] * 9), info(width=0), info(k=[math.nan] * 9)],
    ids=["no frame", "not calibrated", "no size", "nan"],
)
def test_no_frustum_without_a_calibration(msg: CameraInfo) -> None:
    assert frustum_marker(msg, 1.0) is None


def entry(name: str, risk: float = 0.5, **fields: Any) -> FailureLikelihood:
    return FailureLikelihood(perturbation_id=name, p_failure=risk, **fields)


def test_work_space_markers() -> None:
    box, label = work_markers(SPACE, 1.0, "risk 100 %", 0.5)
    assert {m.header.frame_id for m in (box, label)} == {"base"}
    assert (box.type, box.color.a) == (Marker.CUBE, 0.5)
    assert (box.pose.position.x, box.pose.position.y, box.pose.position.z) == (0.5, 0.1, 0.05)
    assert (box.scale.x, box.scale.y, box.scale.z) == (0.3, 0.4, 0.1)
    assert box.color.r > box.color.g
    assert (label.type, label.text) == (Marker.TEXT_VIEW_FACING, "risk 100 %")
    assert label.pose.position.z > 0.05 + 0.05
    unknown, _ = work_markers(SPACE, math.nan, "?", 0.5)
    assert unknown.color.r == pytest.approx(unknown.color.g, abs=0.05)


def test_bars_stand_beside_the_work_space_with_the_riskiest_on_top() -> None:
    array = bar_markers(SPACE, [entry("cube_red", 0.8, trusted=True), entry("nominal", 0.2)])
    bars, texts = array[::2], array[1::2]
    lengths = [b.scale.y for b in bars]
    assert lengths == pytest.approx([0.8 * 0.4, 0.2 * 0.4])
    for bar in bars:
        assert bar.header.frame_id == "base"
        assert bar.pose.position.y - bar.scale.y / 2 == pytest.approx(0.1 + 0.2 + 0.1)
    assert bars[0].pose.position.z > bars[1].pose.position.z > 0.0
    assert (bars[0].color.a, bars[1].color.a) == (1.0, 0.5)
    assert texts[0].text.endswith("cube_red")
    assert len({(m.ns, m.id) for m in array}) == 4


def test_a_bar_of_an_unknown_risk_is_a_line() -> None:
    bar, text = bar_markers(SPACE, [entry("x", math.nan)])
    assert 0.0 < bar.scale.y < 0.01
    assert text.text.startswith("nan")


def test_what_is_gone_is_deleted_once() -> None:
    book = MarkerBook()
    first = book.array(bar_markers(SPACE, [entry("a"), entry("b")])).markers
    assert [m.action for m in first] == [Marker.ADD] * 4
    assert all(m.lifetime.sec == LIFETIME for m in first)
    second = book.array(bar_markers(SPACE, [entry("b")])).markers
    gone = [(m.ns, m.id) for m in second if m.action == Marker.DELETE]
    assert gone == [("risk_map", 1), ("risk_map_text", 1)]
    assert [m.action for m in second if m.action != Marker.DELETE] == [Marker.ADD] * 2
    assert not any(
        m.action == Marker.DELETE for m in book.array(bar_markers(SPACE, [entry("b")])).markers
    )


def test_markers_on_the_wire(search: Search, cell: SyntheticCell) -> None:
    maps = cell.create_publisher(RiskMap, names.RISK_MAP, qos.LATCHED)
    infos = cell.create_publisher(CameraInfo, names.CAMERA_INFO, qos.CAMERA_WRITER)
    maps.publish(RiskMap(entries=[entry("cube_red")]))
    until(lambda: infos.get_subscription_count() == 1)
    infos.publish(info())
    cell.image(10 * STEP)
    search.risk = 0.7
    until(lambda: search.shown("risk_map") and search.shown("camera"))
    until(lambda: [m for m in search.markers[-1].markers if "risk 70 %" in m.text])
    frames = {m.ns: m.header.frame_id for m in search.markers[-1].markers}
    assert frames == {
        "risk": "base_link",
        "risk_map": "base_link",
        "risk_map_text": "base_link",
        "camera": "camera_color_optical_frame",
    }
    maps.publish(RiskMap(entries=[]))
    until(lambda: search.shown("risk_map") is None)


# -- the picture ----------------------------------------------------------------------------------------------------


def test_cell_and_operator_share_a_line() -> None:
    cell = CellState(state=CellState.WAITING, message="for the operator")
    asks = OperatorRequest(kind=OperatorRequest.SET_UP, title="put the red cube on the table")
    assert cell_line(cell, asks) == "waiting; operator: put the red cube on the table"
    assert cell_line(cell, OperatorRequest()) == "waiting: for the operator"
    not_ready = CellState(state=CellState.NOT_READY, why_not=["the arm is off.", "no camera."])
    assert cell_line(not_ready, None) == "not ready: the arm is off."
    assert cell_line(CellState(state=99), None) == "unknown"


def test_cell_state_reaches_the_picture(search: Search, cell: SyntheticCell) -> None:
    states = cell.create_publisher(CellState, names.CELL_STATE, qos.LATCHED)
    cell.image(10 * STEP)
    before = image_from_msg(until(lambda: search.pictures)[-1])
    states.publish(CellState(state=CellState.STOPPED, message="protective stop"))
    until(lambda: (image_from_msg(search.pictures[-1]) != before).any())
    shown = image_from_msg(search.pictures[-1])
    red = shown[:, 640:].astype(int) - (225, 80, 70)
    assert (np.abs(red).sum(2) < 30).any()


def test_picture_shows_the_facts() -> None:
    rgb = np.zeros((96, 128, 3), np.uint8)
    plain = draw_overlay(rgb, OverlayFacts())
    assert plain.shape == (480, 640 + 380, 3)
    risk = {"p_failure": 0.9, "p_low": 0.8, "p_high": 0.95, "trusted": True}
    high = draw_overlay(rgb, OverlayFacts(**risk, alarm=AlarmState.RISK))
    novel = draw_overlay(rgb, OverlayFacts(**risk, alarm=AlarmState.NOVEL))
    assert high[0, 0, 0] > 200 > high[0, 0, 1]  # the alarm's red frame
    assert novel[0, 0, :2].min() > 150  # amber
    assert plain[0, 0, 0] == 0
    low = draw_overlay(rgb, OverlayFacts(p_failure=0.1, p_low=0.0, p_high=0.2, trusted=True))
    assert (high != low).any()
    big = draw_overlay(np.zeros((720, 1280, 3), np.uint8), OverlayFacts())
    assert big.shape[0] == 720
