"""From a cell's frames to rows of the store, through camera_capture and outcome_labeler."""

from __future__ import annotations

import contextlib
import errno
import math
import threading
from pathlib import Path

import numpy as np
import pytest
from ros_graph import Graph, until
from sensor_msgs.msg import JointState
from synthetic_cell import CATALOGUE, STEP, SyntheticCell, picture

from robomd_msgs.msg import Outcome as OutcomeMsg
from robomd_msgs.msg import Perturbation
from robomd_msgs.srv import LabelOutcome, ListRollouts
from robomd_ros.adapters import names, qos, session_ports, stamps
from robomd_ros.adapters.base import WARN
from robomd_ros.adapters.conversions import perturbation_to_msg
from robomd_ros.adapters.policy_actions import action_to_msg
from robomd_ros.adapters.session_ports import Deadlines, RosPorts
from robomd_ros.core.errors import ErrorCode, StorageError, UnknownIdError
from robomd_ros.core.outcome import Control, Outcome
from robomd_ros.core.study import Study, StudyMeta
from robomd_ros.nodes.camera_capture import CameraCaptureNode
from robomd_ros.nodes.diagnosis import DiagnosisNode
from robomd_ros.nodes.outcome_labeler import OutcomeLabelerNode
from robomd_ros.recording import keeper as keeper_module
from robomd_ros.recording import read_recording


@pytest.fixture
def cell(graph: Graph) -> SyntheticCell:
    cell = graph.add(SyntheticCell)
    graph.add(CameraCaptureNode)
    return cell


def add_labeler(
    graph: Graph, cell: SyntheticCell, study: Path, **parameters: object
) -> OutcomeLabelerNode:
    node = graph.add(OutcomeLabelerNode, study=str(study), **parameters)
    until(lambda: cell.images.get_subscription_count() >= 1)
    until(lambda: cell.statuses.get_subscription_count() == 2)
    until(lambda: cell.joints.get_subscription_count() == 1)
    until(lambda: cell.count_publishers(names.LABELED_ROLLOUT) == 1)
    until(lambda: node.count_publishers(names.FRAMES) == 1)
    return node


def test_rollout_reaches_the_store(graph: Graph, cell: SyntheticCell, tmp_path: Path) -> None:
    add_labeler(graph, cell, tmp_path / "s")
    start = cell.rollout("r1", 6, OutcomeMsg.FAILURE)
    cell.rollout("zero", 3, OutcomeMsg.FAILURE, control=int(Control.ZERO_ACTION), purpose="control")
    until(lambda: len(cell.labeled) == 2)

    study = Study.open(tmp_path / "s")
    assert (study.meta.robot, study.meta.policy_id) == ("Panda", "bc-1")
    with study.store(read_only=True) as store:
        row = store.get("r1")
        assert store.get("zero").control is Control.ZERO_ACTION
        assert store.summary().controls == 1
    assert (row.frames, row.frames_expected, row.steps, row.seed) == (6, 6, 5, 5)
    assert (row.perturbation.id, row.purpose, row.outcome) == (
        "cube_red",
        "search",
        Outcome.FAILURE,
    )
    assert row.labels[0].labeler == "sim"
    np.testing.assert_array_equal(row.first_frame, picture(start // STEP) // 2)

    trace = read_recording(study.recordings / row.recording)
    np.testing.assert_allclose(
        trace.stamps, (start + STEP * np.arange(6)) * 1e-9, rtol=0, atol=1e-9
    )
    np.testing.assert_array_equal(trace.frames[5], picture(start // STEP + 5) // 2)
    assert trace.joint_names == ("a", "b")
    np.testing.assert_allclose(trace.joint_positions[:, 0], trace.joint_stamps)

    message = cell.labeled[0]
    assert (message.rollout_id, message.frames, message.outcome.value) == (
        "r1",
        6,
        OutcomeMsg.FAILURE,
    )
    summary = until(lambda: [s for s in cell.summaries if s.total == 2])[-1]
    assert (summary.failures, summary.not_evidence, len(summary.latest)) == (1, 1, 2)


def test_actions_are_recorded_with_the_frames_that_they_answer(
    graph: Graph, cell: SyntheticCell, tmp_path: Path
) -> None:
    """A slow policy answers every third frame; a lost action leaves a gap, and one of other times is no part."""
    node = add_labeler(graph, cell, tmp_path / "s")
    actions = cell.create_publisher(JointState, names.ACTIONS, qos.FRAMES)
    until(lambda: actions.get_subscription_count() == 1)
    start = cell.now
    for at in (-2, 0, 3, 9, 12):
        action = np.array([at, 0.1], np.float32)
        actions.publish(action_to_msg(action, stamps.from_ns(start + at * STEP)))
    actions.publish(JointState(name=["action/0"]))  # nonsense
    until(lambda: node._actions.newest == start + 12 * STEP)
    cell.rollout("r1", 11, OutcomeMsg.SUCCESS)
    until(lambda: cell.labeled)
    trace = read_recording(tmp_path / "s" / "recordings" / "r1.mcap")
    np.testing.assert_array_equal(trace.actions, np.float32([[0, 0.1], [3, 0.1], [9, 0.1]]))
    np.testing.assert_allclose(trace.action_stamps, trace.stamps[[0, 3, 9]], rtol=0, atol=1e-9)


def test_what_the_image_showed_is_stored(graph: Graph, cell: SyntheticCell, tmp_path: Path) -> None:
    add_labeler(graph, cell, tmp_path / "s")
    tagger = cell.create_publisher(Perturbation, names.PERTURBATION, qos.LATCHED)
    red = CATALOGUE.perturbation("cube_red")
    tagger.publish(perturbation_to_msg(red, "lift", image_change=0.25, verified=True))
    until(lambda: tagger.get_subscription_count() == 1)

    def seen() -> bool:
        cell.rollout(f"r{len(cell.labeled)}", 2, OutcomeMsg.SUCCESS)
        before = len(cell.labeled)
        until(lambda: len(cell.labeled) > before)
        return cell.labeled[-1].perturbation.verified

    until(seen)
    assert cell.labeled[-1].perturbation.image_change == 0.25
    cell.rollout("blue", 2, OutcomeMsg.SUCCESS, perturbation=CATALOGUE.perturbation("cube_blue"))
    message = until(lambda: [r for r in cell.labeled if r.rollout_id == "blue"])[0]
    assert not message.perturbation.verified  # what was seen was about another perturbation


def test_lost_frames_are_said(graph: Graph, cell: SyntheticCell, tmp_path: Path) -> None:
    node = add_labeler(graph, cell, tmp_path / "s", frame_wait=0.2)
    cell.rollout("lost", 4, OutcomeMsg.SUCCESS, skip=2)
    until(lambda: cell.labeled)
    assert (cell.labeled[0].frames, cell.labeled[0].frames_expected) == (3, 4)
    assert "1 camera frames" in node.health().message
    cell.rollout("blind", 4, OutcomeMsg.SUCCESS, skip=0)
    until(lambda: len(cell.labeled) == 2)
    with Study.open(tmp_path / "s").store(read_only=True) as store:
        # A later frame shows the outcome: it must not stand in for the one before motion.
        assert store.get("blind").first_frame is None


def test_person_labels_undoes_and_relabels(
    graph: Graph, cell: SyntheticCell, tmp_path: Path
) -> None:
    add_labeler(graph, cell, tmp_path / "s")

    def label(
        value: int = 0, labeler: str = "ann", undo: bool = False, rollout_id: str = ""
    ) -> LabelOutcome.Response:
        request = LabelOutcome.Request(rollout_id=rollout_id, undo=undo)
        request.outcome = OutcomeMsg(value=value, labeler=labeler, reason="slipped")
        return graph.call(cell, LabelOutcome, names.LABEL_OUTCOME, request)

    assert label(OutcomeMsg.SUCCESS).error_code == ErrorCode.UNKNOWN_ID
    cell.rollout("r1", 3, OutcomeMsg.UNKNOWN)
    until(lambda: cell.labeled)
    assert label(OutcomeMsg.FAILURE).rollout.outcome.value == OutcomeMsg.FAILURE
    answer = label(OutcomeMsg.INVALID, "bob", rollout_id="r1")
    assert (answer.rollout.label_count, answer.rollout.outcome.labeler) == (2, "bob")
    assert label(undo=True).rollout.outcome.labeler == "ann"
    assert label(undo=True).rollout.outcome.value == OutcomeMsg.UNKNOWN
    assert label(undo=True).error_code == ErrorCode.INVALID_ARGUMENT
    assert label(99).error_code == ErrorCode.INVALID_ARGUMENT
    assert label(OutcomeMsg.SUCCESS, labeler=" ").error_code == ErrorCode.INVALID_ARGUMENT
    assert label(OutcomeMsg.SUCCESS, rollout_id="nobody").error_code == ErrorCode.UNKNOWN_ID
    until(lambda: len(cell.labeled) == 5)  # one a stored rollout, one a label or undo
    with Study.open(tmp_path / "s").store(read_only=True) as store:
        assert len(store.history("r1")) == 4


def test_second_looks_are_told_apart_and_nothing_is_said_twice(
    graph: Graph, cell: SyntheticCell, tmp_path: Path
) -> None:
    add_labeler(graph, cell, tmp_path / "s")

    def label(rollout_id: str, value: int, labeler: str, **fields: bool) -> LabelOutcome.Response:
        request = LabelOutcome.Request(rollout_id=rollout_id, **fields)
        request.outcome = OutcomeMsg(value=value, labeler=labeler)
        return graph.call(cell, LabelOutcome, names.LABEL_OUTCOME, request)

    for index in range(4):
        cell.rollout(f"r{index}", 2, OutcomeMsg.UNKNOWN)
    until(lambda: len(cell.labeled) == 4)
    assert label("r0", OutcomeMsg.SUCCESS, "bob", second_look=True).error_code == (
        ErrorCode.INVALID_ARGUMENT  # nobody has looked a first time
    )
    first = (OutcomeMsg.SUCCESS, OutcomeMsg.SUCCESS, OutcomeMsg.FAILURE, OutcomeMsg.FAILURE)
    for index, value in enumerate(first):
        label(f"r{index}", value, "ann")
        assert label(f"r{index}", value, "ann").rollout.label_count == 1
    assert math.isnan(until(lambda: [s for s in cell.summaries if s.failures == 2])[-1].kappa)
    for index, value in enumerate((*first[:3], OutcomeMsg.SUCCESS)):
        for _ in range(2):
            seen = label(f"r{index}", value, "bob", second_look=True).rollout
            assert (seen.outcome.value, seen.outcome.labeler) == (first[index], "ann")
            assert (seen.second_look.value, seen.second_look.labeler) == (value, "bob")
            assert seen.label_count == 1
    assert label("", OutcomeMsg.SUCCESS, "bob", second_look=True).error_code == (
        ErrorCode.INVALID_ARGUMENT
    )
    summary = until(lambda: [s for s in cell.summaries if s.second_looks == 4])[-1]
    assert summary.kappa == pytest.approx(0.5)  # 3 of 4 alike, 2 by chance
    assert label("r3", 0, "bob", undo=True, second_look=True).rollout.second_look.value == 0
    until(lambda: [s for s in cell.summaries if s.second_looks == 3])
    assert label("r3", OutcomeMsg.INVALID, "ann").rollout.label_count == 2
    with Study.open(tmp_path / "s").store(read_only=True) as store:
        assert len(store.history("r3")) == 4
        assert len(store.history("r0")) == 2


def test_list_rollouts(graph: Graph, cell: SyntheticCell, tmp_path: Path) -> None:
    add_labeler(graph, cell, tmp_path / "s")

    def page(**fields: object) -> ListRollouts.Response:
        request = ListRollouts.Request(**{"outcome": 255, **fields})
        return graph.call(cell, ListRollouts, names.LIST_ROLLOUTS, request)

    empty = page()
    assert (empty.error_code, empty.total) == (ErrorCode.OK, 0)
    for index, outcome in enumerate((OutcomeMsg.SUCCESS, OutcomeMsg.FAILURE, OutcomeMsg.FAILURE)):
        cell.rollout(f"r{index}", 2, outcome)
    until(lambda: len(cell.labeled) == 3)
    assert [r.rollout_id for r in page(limit=2).rollouts] == ["r2", "r1"]
    assert [r.rollout_id for r in page(outcome=int(Outcome.SUCCESS)).rollouts] == ["r0"]
    assert page(perturbation_id="cube_blue").total == 0
    with_pictures = page(with_thumbnails=True, offset=1)
    assert [t.format for t in with_pictures.thumbnails] == ["png", "png"]
    assert page(limit=501).error_code == ErrorCode.TOO_LARGE
    assert page(limit=51, with_thumbnails=True).error_code == ErrorCode.TOO_LARGE
    assert page(outcome=200).error_code == ErrorCode.INVALID_ARGUMENT


def test_restart_keeps_everything(graph: Graph, cell: SyntheticCell, tmp_path: Path) -> None:
    node = add_labeler(graph, cell, tmp_path / "s")
    cell.rollout("r1", 3, OutcomeMsg.SUCCESS)
    until(lambda: cell.labeled)
    graph.remove(node)
    cell.rollout("meanwhile", 3, OutcomeMsg.FAILURE)  # while nobody stores
    until(lambda: sum(f.rollout_id == "meanwhile" for f in cell.frames) == 3)
    add_labeler(graph, cell, tmp_path / "s")
    until(lambda: any(r.rollout_id == "meanwhile" for r in cell.labeled))
    with Study.open(tmp_path / "s").store(read_only=True) as store:
        assert [(r.id, r.frames, r.outcome) for r in store.records()] == [
            ("r1", 3, Outcome.SUCCESS),
            ("meanwhile", 3, Outcome.FAILURE),
        ]


def test_full_disk_keeps_the_rollout_in_memory(
    graph: Graph, cell: SyntheticCell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = add_labeler(graph, cell, tmp_path / "s", retry=0.1)
    commit = keeper_module.commit_rollout

    def full(*_: object) -> None:
        raise StorageError(f"disk full while writing s: {errno.ENOSPC}")

    monkeypatch.setattr(keeper_module, "commit_rollout", full)
    cell.rollout("r1", 3, OutcomeMsg.SUCCESS)
    until(lambda: "disk full" in node.health().message)
    until(lambda: cell.summaries and "disk full" in cell.summaries[-1].trouble)
    cell.rollout("r2", 3, OutcomeMsg.SUCCESS)
    until(lambda: node.health().values["waiting_for_disk"] == 2)
    assert not cell.labeled
    monkeypatch.setattr(keeper_module, "commit_rollout", commit)
    until(lambda: len(cell.labeled) == 2)
    assert [r.rollout_id for r in cell.labeled] == ["r1", "r2"]
    assert node.health().level == 0
    summary = until(lambda: [s for s in cell.summaries if s.total == 2])[-1]
    assert summary.trouble == ""


def test_a_session_waits_for_the_disk_not_for_another_rollout(
    graph: Graph, cell: SyntheticCell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_labeler(graph, cell, tmp_path / "s", retry=0.1)
    session = graph.add(DiagnosisNode)
    ports = RosPorts(session, CATALOGUE, Deadlines(5.0, 5.0, 5.0, label=3.0), "")
    until(lambda: cell.statuses.get_subscription_count() >= 2)
    until(lambda: cell.count_subscribers(names.LABELED_ROLLOUT) >= 3)
    commit = keeper_module.commit_rollout

    def full(*_: object) -> None:
        raise StorageError("disk full while writing s")

    monkeypatch.setattr(keeper_module, "commit_rollout", full)
    cell.rollout("s1-0000-1", 3, OutcomeMsg.SUCCESS)
    with pytest.raises(StorageError, match="disk full"):
        ports.outcome("s1-0000-1")
    with pytest.raises(StorageError, match="disk full"):
        ports.history()
    monkeypatch.setattr(keeper_module, "commit_rollout", commit)

    def outcome(rollout_id: str) -> Outcome | None:
        with contextlib.suppress(StorageError):
            return ports.outcome(rollout_id)
        return None

    assert until(lambda: outcome("s1-0000-1")) is Outcome.SUCCESS
    with pytest.raises(UnknownIdError, match="not stored"):
        until(lambda: outcome("s1-0001-2"))


def test_a_label_whose_event_got_lost_is_found_in_the_store(
    graph: Graph, cell: SyntheticCell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_ports, "_ASK", 0.2)
    add_labeler(graph, cell, tmp_path / "s")
    cell.rollout("r0", 2, OutcomeMsg.UNKNOWN)
    until(lambda: cell.labeled)
    # An operator may take for ever, and labels while the session's node is away.
    ports = RosPorts(graph.add(DiagnosisNode), CATALOGUE, Deadlines(5.0, 5.0, 5.0, label=0.0), "")
    found: list[Outcome] = []
    wait = threading.Thread(target=lambda: found.append(ports.outcome("r0")))
    ports._labels = _Deaf()
    wait.start()
    request = LabelOutcome.Request(rollout_id="r0")
    request.outcome = OutcomeMsg(value=OutcomeMsg.FAILURE, labeler="ann")
    graph.call(cell, LabelOutcome, names.LABEL_OUTCOME, request)
    wait.join(20)
    assert found == [Outcome.FAILURE]
    monkeypatch.setattr(session_ports, "_LOST", 0.5)
    with pytest.raises(UnknownIdError, match="not stored"):
        ports.outcome("never-stored")


class _Deaf(dict):
    """Events that got lost on the way."""

    def __setitem__(self, *_: object) -> None:
        pass


def test_what_has_finished_is_stored_at_the_end(
    graph: Graph, cell: SyntheticCell, tmp_path: Path
) -> None:
    node = add_labeler(graph, cell, tmp_path / "s", frame_wait=60.0)
    cell.rollout("r1", 4, OutcomeMsg.FAILURE, skip=2)
    until(lambda: sum(f.rollout_id == "r1" for f in cell.frames) == 3)
    until(lambda: any(r.finished is not None for r in node._rollouts.values()))
    graph.remove(node)
    with Study.open(tmp_path / "s").store(read_only=True) as store:
        row = store.get("r1")
    assert (row.outcome, row.frames_expected) == (Outcome.FAILURE, 4)


def test_a_rollout_of_another_policy_is_stored_and_said(
    graph: Graph, cell: SyntheticCell, tmp_path: Path
) -> None:
    Study.create(tmp_path / "s", StudyMeta("lift", "Panda", "bc-2"))
    node = add_labeler(graph, cell, tmp_path / "s")
    cell.rollout("r1", 2, OutcomeMsg.SUCCESS)
    until(lambda: cell.labeled)
    health = node.health()
    assert health.level == WARN
    assert "'bc-2'" in health.message
    assert "'bc-1'" in health.message
