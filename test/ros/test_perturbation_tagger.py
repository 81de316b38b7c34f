"""What is applied, and whether the image shows it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ros_graph import Graph, until
from sensor_msgs.msg import CompressedImage
from synthetic_cell import CATALOGUE, STEP, SyntheticCell, picture

from robomd_msgs.msg import Perturbation, SetupCheck
from robomd_msgs.srv import ApplyPerturbation
from robomd_ros.adapters import names, qos, stamps
from robomd_ros.adapters.conversions import perturbation_to_msg
from robomd_ros.adapters.images import image_to_msg, image_to_png
from robomd_ros.core.errors import ErrorCode
from robomd_ros.nodes.perturbation_tagger import PerturbationTaggerNode


def apply(graph: Graph, node: object, *ids: str) -> ApplyPerturbation.Response:
    request = ApplyPerturbation.Request(variation_ids=list(ids))
    return graph.call(node, ApplyPerturbation, names.APPLY_PERTURBATION, request)


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


class CellByHand(SyntheticCell):
    """A cell whose perturbations a person sets up."""

    person: Person

    def _apply(self, request: Any, response: Any) -> None:
        self.person.apply(request, response)


class Person:
    """Sets up what is asked, as slowly and as wrongly as a test wants; a flat grey scene with a cube and a lamp."""

    def __init__(self, cell: CellByHand) -> None:
        cell.person = self
        self.cell, self.checks = cell, []
        self.cube, self.lamp = (120, 60, 40), 1.0
        self.done = threading.Event()
        cell.listen(SetupCheck, names.SETUP_CHECK, self.checks.append, qos.STREAM)

    def scene(self) -> np.ndarray:
        rgb = np.full((60, 80, 3), 120.0)
        rgb[20:30, 20:30] = self.cube
        return np.clip(rgb * self.lamp, 0, 255).astype(np.uint8)

    def show(self) -> None:
        self.cell.now += STEP
        self.cell.images.publish(image_to_msg(self.scene(), stamps.from_ns(self.cell.now), "c"))

    def apply(self, request: Any, response: Any) -> None:
        assert self.done.wait(20)
        applied = CATALOGUE.perturbation(list(request.variation_ids))
        response.perturbation = perturbation_to_msg(applied, "lift", stamps.from_ns(self.cell.now))
        response.apply_time = math.nan
        self.show()

    def until_check(self, condition: Callable[[SetupCheck], bool]) -> SetupCheck:
        """A check that fits; new frames are shown meanwhile."""
        del self.checks[:]

        def found() -> SetupCheck | None:
            self.show()
            return next(filter(condition, list(self.checks)), None)

        return until(found)


@pytest.fixture
def person(graph: Graph) -> Person:
    return Person(graph.add(CellByHand))


@pytest.fixture
def cell(request: pytest.FixtureRequest, graph: Graph) -> SyntheticCell:
    if "person" in request.fixturenames:
        return request.getfixturevalue("person").cell
    return graph.add(SyntheticCell)


def by_hand(graph: Graph, cell: SyntheticCell, person: Person) -> PerturbationTaggerNode:
    """A tagger that has seen the nominal scene."""
    node = graph.add(PerturbationTaggerNode)
    until(lambda: cell.images.get_subscription_count() == 1)
    person.show()
    until(lambda: node.health().values["camera"])
    person.done.set()
    assert apply(graph, cell).perturbation.id == "nominal"
    person.until_check(lambda c: c.perturbation_id == "nominal" and c.there and not c.setting_up)
    return node


def test_the_operator_is_told_while_setting_up(
    graph: Graph, cell: SyntheticCell, person: Person
) -> None:
    by_hand(graph, cell, person)
    person.done.clear()
    probe, answers = graph.add(_probe), []
    call = threading.Thread(target=lambda: answers.append(apply(graph, probe, "cube_red")))
    call.start()
    check = person.until_check(lambda c: c.setting_up)
    assert (check.perturbation_id, check.there, check.changed_share) == ("cube_red", False, 0.0)
    assert "no change" in check.warning
    assert math.isnan(check.hue)
    person.cube = (20, 220, 20)
    check = person.until_check(lambda c: c.changed_share > 0)
    assert "look green (hue 120°), wanted red" in check.warning
    assert check.hue == pytest.approx(120)
    person.cube = (220, 20, 20)
    check = person.until_check(lambda c: c.there)
    assert (check.warning, check.setting_up) == ("", True)
    assert check.changed_share == pytest.approx(100 / 4800, abs=0.002)
    assert check.luminance == pytest.approx(check.luminance_nominal, abs=0.01)
    person.done.set()
    call.join(20)
    assert answers[0].perturbation.verified
    assert math.isnan(answers[0].apply_time)
    check = person.until_check(lambda c: not c.setting_up)
    assert (check.perturbation_id, check.there) == ("cube_red", True)


def test_what_was_there_before_is_gone_but_the_wanted_never_came(
    graph: Graph, cell: SyntheticCell, person: Person
) -> None:
    by_hand(graph, cell, person)
    person.cube = (220, 20, 20)
    assert apply(graph, cell, "cube_red").perturbation.verified
    person.cube = (120, 60, 40)  # the red cube was taken away, the blue one forgotten
    assert not apply(graph, cell, "cube_blue").perturbation.verified
    assert "no change" in person.until_check(lambda c: c.perturbation_id == "cube_blue").warning


def test_a_lamp_that_auto_exposure_cancels_is_said(
    graph: Graph, cell: SyntheticCell, person: Person
) -> None:
    by_hand(graph, cell, person)
    person.lamp = 0.97  # set to 40 %, and nearly all of it made good by the camera
    apply(graph, cell, "light_intensity=0.4")
    check = person.until_check(lambda c: c.perturbation_id == "light_intensity=0.4")
    assert not check.there
    assert "as bright as before" in check.warning
    assert "auto exposure" in check.warning
    person.lamp = 0.6
    assert person.until_check(lambda c: c.there).luminance < 0.35
    apply(graph, cell)  # said to be nominal again, with the lamp still low
    person.lamp = 1.0
    check = person.until_check(lambda c: c.perturbation_id == "nominal" and not c.there)
    assert "brighter than the nominal scene" in check.warning


def test_a_camera_that_is_only_compressed(graph: Graph, cell: SyntheticCell) -> None:
    cell.destroy_publisher(cell.images)
    compressed = cell.create_publisher(CompressedImage, names.CAMERA_COMPRESSED, qos.CAMERA_WRITER)

    def show(stamp: int) -> None:
        rgb = picture(stamp // STEP) // 2 + cell.brightness
        compressed.publish(image_to_png(rgb.astype(np.uint8), stamps.from_ns(stamp)))

    cell.image = show
    node = graph.add(PerturbationTaggerNode)
    until(lambda: compressed.get_subscription_count() == 1)
    show(cell.now - STEP)
    until(lambda: node.health().values["camera"])
    apply(graph, cell)
    cell.now += STEP
    assert apply(graph, cell, "cube_red").perturbation.verified


def _probe(**kwargs: object) -> object:
    from robomd_ros.adapters.base import RobomdNode

    return RobomdNode("probe", **kwargs)
