"""What is applied, and whether the image shows it."""

from __future__ import annotations

import math
import threading

import pytest
from ros_graph import Graph, until
from synthetic_cell import STEP, SyntheticCell

from robomd_msgs.msg import Perturbation
from robomd_msgs.srv import ApplyPerturbation
from robomd_ros.adapters import names, qos
from robomd_ros.core.errors import ErrorCode
from robomd_ros.nodes.perturbation_tagger import PerturbationTaggerNode


def apply(graph: Graph, node: object, *ids: str) -> ApplyPerturbation.Response:
    request = ApplyPerturbation.Request(variation_ids=list(ids))
    return graph.call(node, ApplyPerturbation, names.APPLY_PERTURBATION, request)


@pytest.fixture
def cell(graph: Graph) -> SyntheticCell:
    return graph.add(SyntheticCell)


def add_tagger(graph: Graph, cell: SyntheticCell, **parameters: object) -> PerturbationTaggerNode:
    node = graph.add(PerturbationTaggerNode, **parameters)
    until(lambda: cell.images.get_subscription_count() == 1)
    cell.image(cell.now - STEP)
    until(lambda: node.health().values["camera"])
    return node


def test_applied_and_seen(graph: Graph, cell: SyntheticCell) -> None:
    add_tagger(graph, cell)
    latched: list[Perturbation] = []
    nominal = apply(graph, cell)
    assert (nominal.error_code, nominal.perturbation.id, nominal.perturbation.verified) == (
        0,
        "nominal",
        True,
    )
    cell.now += STEP
    red = apply(graph, cell, "cube_red", "light_intensity=0.4").perturbation
    assert red.id == "cube_red+light_intensity=0.4"
    assert red.verified
    assert 0.1 < red.image_change < 1.0
    cell.listen(Perturbation, names.PERTURBATION, latched.append, qos.LATCHED)
    until(lambda: latched and latched[-1].id == red.id)  # who joins late still gets it
    assert cell.asked == [[], ["cube_red", "light_intensity=0.4"]]


def test_not_seen_is_said(graph: Graph, cell: SyntheticCell) -> None:
    node = add_tagger(graph, cell, image_wait=0.1)
    apply(graph, cell)
    cell.now += STEP
    shown = cell.image
    cell.image = lambda stamp: shown(stamp - STEP)  # the camera goes on showing the scene before
    answer = apply(graph, cell, "cube_red")
    assert (answer.error_code, answer.perturbation.verified) == (0, False)
    assert math.isnan(answer.perturbation.image_change)
    assert "does not show it" in node.health().message


def test_frame_taken_just_before_the_change_is_no_witness(
    graph: Graph, cell: SyntheticCell
) -> None:
    add_tagger(graph, cell)
    apply(graph, cell)
    cell.now += STEP
    shown = cell.image

    def old_then_new(stamp: int) -> None:
        brightness, cell.brightness = cell.brightness, 0
        shown(cell.now)  # of the stamp at which the change was made, and still without it
        cell.brightness = brightness
        shown(stamp)

    cell.image = old_then_new
    answer = apply(graph, cell, "cube_red", "table_red").perturbation
    assert answer.verified
    assert answer.image_change > 0.1


def test_bad_ids_never_reach_the_cell(graph: Graph, cell: SyntheticCell) -> None:
    add_tagger(graph, cell)
    cases = {
        ("no_such",): ErrorCode.UNKNOWN_ID,
        ("cube_red", "cube_blue"): ErrorCode.INVALID_ARGUMENT,
        ("light_intensity=99",): ErrorCode.INVALID_ARGUMENT,
        ("light_intensity=nan",): ErrorCode.INVALID_ARGUMENT,
        tuple(["cube_red"] * 10_000): ErrorCode.TOO_LARGE,
    }
    for ids, code in cases.items():
        answer = apply(graph, cell, *ids)
        assert answer.error_code == code
        assert 0 < len(answer.error_msg) <= 500
    assert not cell.asked
    assert apply(graph, cell, "cube_red").error_code == ErrorCode.OK


def test_silent_cell_and_absent_cell(graph: Graph, cell: SyntheticCell) -> None:
    node = add_tagger(graph, cell, cell_timeout=0.5)
    cell.answers = False
    assert apply(graph, cell, "cube_red").error_code == ErrorCode.TIMEOUT
    assert node.health().level == 2
    cell.released.set()
    cell.answers = True
    until(lambda: apply(graph, cell, "cube_red").error_code == ErrorCode.OK)
    assert node.health().level == 0
    probe = graph.add(_probe)
    graph.remove(cell)
    until(lambda: apply(graph, probe, "cube_red").error_code == ErrorCode.UNAVAILABLE)


def test_second_caller_is_told_to_wait(graph: Graph, cell: SyntheticCell) -> None:
    add_tagger(graph, cell)
    cell.answers = False
    answers: list[ApplyPerturbation.Response] = []
    probe = graph.add(_probe)
    first = threading.Thread(target=lambda: answers.append(apply(graph, probe, "cube_red")))
    first.start()
    until(lambda: cell.asked)
    assert apply(graph, probe, "cube_blue").error_code == ErrorCode.BUSY
    cell.released.set()
    first.join(20)
    assert answers[0].error_code == ErrorCode.OK


def _probe(**kwargs: object) -> object:
    from robomd_ros.adapters.base import RobomdNode

    return RobomdNode("probe", **kwargs)
