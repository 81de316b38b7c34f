"""Live risk, alarm with hysteresis, picture and markers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from ros_graph import Graph, until
from sensor_msgs.msg import Image
from synthetic_cell import STEP, SyntheticCell
from visualization_msgs.msg import Marker, MarkerArray

from robomd_msgs.msg import FailureLikelihood, RiskMap, RiskScore
from robomd_msgs.srv import QueryFailureLikelihood
from robomd_ros.adapters import names, qos
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.adapters.images import image_from_msg
from robomd_ros.core.errors import NotReadyError
from robomd_ros.nodes.risk_overlay import RiskOverlayNode, markers
from robomd_ros.report.overlay import OverlayFacts, draw_overlay


class Search(RobomdNode):
    """Answers as search_service would, with the risk the test sets."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("search", **kwargs)
        self.risk: float | None = None
        self.scores: list[RiskScore] = []
        self.pictures: list[Image] = []
        self.asked: list[Any] = []
        self.serve(QueryFailureLikelihood, names.QUERY_FAILURE_LIKELIHOOD, self._answer)
        self.listen(RiskScore, names.RISK, self.scores.append, qos.STREAM)
        self.listen(Image, names.OVERLAY_IMAGE, self.pictures.append, qos.STREAM)

    def _answer(self, request: Any, response: Any) -> None:
        self.asked.append(request)
        if self.risk is None:
            raise NotReadyError("nothing is trained yet.")
        response.answers = [
            FailureLikelihood(
                p_failure=self.risk, p_failure_low=0.1, p_failure_high=0.9, trusted=True
            )
        ]


@pytest.fixture
def cell(graph: Graph) -> SyntheticCell:
    cell = graph.add(SyntheticCell)
    graph.add(RiskOverlayNode, rate=30.0)
    until(lambda: cell.images.get_subscription_count() == 1)
    return cell


def test_alarm_has_hysteresis(graph: Graph, cell: SyntheticCell) -> None:
    search = graph.add(Search)
    cell.image(10 * STEP)

    def alarm_at(risk: float) -> bool:
        search.risk = risk
        del search.scores[:]
        return until(lambda: [s for s in search.scores if s.p_failure == risk])[-1].alarm

    assert not alarm_at(0.5)
    assert alarm_at(0.7)
    assert alarm_at(0.5)
    assert not alarm_at(0.3)
    assert search.asked[-1].questions[0].image.width == 16
    until(lambda: search.pictures)
    assert image_from_msg(search.pictures[-1]).shape[0] == 480


def test_untrained_is_said(graph: Graph, cell: SyntheticCell) -> None:
    search = graph.add(Search)
    cell.image(10 * STEP)
    score = until(lambda: search.scores)[-1]
    assert math.isnan(score.p_failure)
    assert not score.alarm
    note = graph.add(RiskOverlayNode, rate=30.0)
    until(lambda: cell.images.get_subscription_count() == 2)
    cell.image(11 * STEP)
    until(lambda: note.health().values["note"] == "not trained yet")


def test_picture_without_search_service(graph: Graph, cell: SyntheticCell) -> None:
    pictures: list[Image] = []
    cell.listen(Image, names.OVERLAY_IMAGE, pictures.append, qos.STREAM)
    cell.image(10 * STEP)
    until(lambda: pictures)


def test_map_becomes_markers(graph: Graph, cell: SyntheticCell) -> None:
    maps = cell.create_publisher(RiskMap, names.RISK_MAP, qos.LATCHED)
    got: list[MarkerArray] = []
    maps.publish(RiskMap(entries=[FailureLikelihood(perturbation_id="cube_red", p_failure=0.5)]))
    cell.listen(MarkerArray, names.OVERLAY_MARKERS, got.append, qos.LATCHED)
    bar, text = until(lambda: got)[-1].markers[1:]
    assert (bar.type, bar.scale.y) == (Marker.CUBE, 0.25)
    assert text.text.endswith("cube_red")


def test_markers_are_bounded() -> None:
    entries = [FailureLikelihood(perturbation_id=str(i), p_failure=math.nan) for i in range(100)]
    array = markers(RiskMap(entries=entries), "base_link", 24)
    assert len(array.markers) == 1 + 2 * 24
    assert array.markers[0].action == Marker.DELETEALL


def test_picture_shows_the_facts() -> None:
    rgb = np.zeros((96, 128, 3), np.uint8)
    plain = draw_overlay(rgb, OverlayFacts())
    assert plain.shape == (480, 640 + 380, 3)
    high = draw_overlay(rgb, OverlayFacts(p_failure=0.9, p_low=0.8, p_high=0.95, alarm=True))
    assert high[0, 0, 0] > 200  # the alarm's red frame
    assert plain[0, 0, 0] == 0
    low = draw_overlay(rgb, OverlayFacts(p_failure=0.1, p_low=0.0, p_high=0.2))
    assert (high != low).any()
    big = draw_overlay(np.zeros((720, 1280, 3), np.uint8), OverlayFacts())
    assert big.shape[0] == 720
