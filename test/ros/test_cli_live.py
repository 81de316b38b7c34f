"""The command line against real nodes: what a user at a second terminal does."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from ros_graph import Graph

from robomd_msgs.action import Diagnose
from robomd_msgs.msg import SessionStatus
from robomd_msgs.srv import EmbedObservation, ListRollouts
from robomd_ros.adapters import names, qos
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.cli import main as cli
from robomd_ros.cli.wire import Wire
from robomd_ros.core.errors import UnavailableError
from robomd_ros.core.outcome import Outcome
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.study import Study, StudyMeta
from robomd_ros.core.variations import Perturbation
from robomd_ros.nodes.outcome_labeler import OutcomeLabelerNode
from robomd_ros.nodes.search_service import SearchServiceNode


@pytest.fixture
def study(tmp_path: Path) -> Study:
    made = Study.create(tmp_path / "study", StudyMeta("lift", "Panda", "policy-1"))
    with made.store() as store:
        store.add(RolloutRecord("one", Perturbation(), "lift", "Panda", "policy-1"))
    return made


def test_a_label_reaches_the_store(
    graph: Graph, study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    graph.add(OutcomeLabelerNode, study=str(study.folder))

    assert cli.run(["label", "last", "failure", "--reason", "slipped"]) == 0
    assert "one (nominal): FAILURE" in capsys.readouterr().out
    with study.store(read_only=True) as store:
        assert store.get("one").labels[-1].reason == "slipped"

    assert cli.run(["label", "one", "--undo"]) == 0
    with study.store(read_only=True) as store:
        assert store.get("one").outcome is Outcome.UNKNOWN


def test_the_nodes_own_sentence_is_what_the_user_reads(
    graph: Graph, study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    graph.add(OutcomeLabelerNode, study=str(study.folder))
    graph.add(SearchServiceNode, study=str(study.folder))

    assert cli.run(["label", "nobody", "success"]) == 1
    assert "nobody" in capsys.readouterr().err
    assert cli.run(["query", "cube_red", "two words"]) == 1
    said = capsys.readouterr().err
    assert "nothing is trained yet" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "node"),
    [(["query", "cube_red"], "search_service"), (["label", "one", "success"], "outcome_labeler")],
    ids=["query", "label"],
)
def test_a_missing_node_is_named(
    arguments: list[str], node: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([*arguments, "--timeout", "0.5"]) == 1
    said = capsys.readouterr().err
    assert node in said
    assert "robomd up" in said


def test_a_namespace_is_another_cell(
    graph: Graph, study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    graph.add(OutcomeLabelerNode, study=str(study.folder))

    assert cli.run(["label", "one", "success", "--namespace", "cell2", "--timeout", "0.5"]) == 1
    assert "outcome_labeler" in capsys.readouterr().err


def test_the_wire_can_be_used_twice_in_one_process(graph: Graph, study: Study) -> None:
    graph.add(OutcomeLabelerNode, study=str(study.folder))
    for _ in range(2):
        with Wire() as wire:
            page = wire.call(ListRollouts, names.LIST_ROLLOUTS, ListRollouts.Request(outcome=255))
            assert page.total == 1
    with Wire() as wire, pytest.raises(UnavailableError, match="embedding_service"):
        wire.call(EmbedObservation, names.EMBED, EmbedObservation.Request(), timeout=0.3)


class StubDiagnosis(RobomdNode):
    """Serves robomd/diagnose: tells the session's id, then ends when it is let go, or with the node."""

    threads = 4

    def __init__(self, ends: bool = True, **kwargs: Any) -> None:
        super().__init__("diagnosis", **kwargs)
        self.goals: list[Diagnose.Goal] = []
        self._ends = ends
        self._state = SessionStatus.IDLE
        self._publisher = self.create_publisher(SessionStatus, names.SESSION, qos.LATCHED)
        self._action = self.serve_action(
            Diagnose, names.DIAGNOSE, self._diagnose, self.worker("session")
        )
        self.every(0.2, self._publish)

    def forget(self) -> None:
        """What a respawned node is: it knows no goal, and says so."""
        self._state = SessionStatus.IDLE
        self._ends = True

    def _publish(self) -> None:
        self._publisher.publish(SessionStatus(state=self._state))

    def _diagnose(self, goal: Any, result: Any, feedback: Any, cancelled: Any) -> None:
        self.goals.append(goal)
        ends, self._state = self._ends, SessionStatus.RUNNING
        feedback(Diagnose.Feedback(status=SessionStatus(session_id="s1", done=len(self.goals))))
        while not ends and not cancelled():
            threading.Event().wait(0.02)
        result.status = SessionStatus(session_id="s1", done=7)


def test_a_session_goes_on_when_its_node_forgot_it(graph: Graph) -> None:
    server = graph.add(lambda **kwargs: StubDiagnosis(ends=False, **kwargs))
    lost: list[str] = []

    def on_status(status: SessionStatus) -> None:
        if status.done == 1:
            server.forget()

    with Wire() as wire:
        goal = Diagnose.Goal(rollouts=7)
        result = wire.diagnose(goal, 30.0, on_status, on_lost=lambda: lost.append("once"))

    assert result.status.done == 7
    assert [g.session_id for g in server.goals] == ["", "s1"]
    assert lost == ["once"]


def test_a_session_ends_when_the_graph_does(graph: Graph) -> None:
    server = graph.add(lambda **kwargs: StubDiagnosis(ends=False, **kwargs))

    def check() -> None:
        if server.goals:
            raise UnavailableError("the nodes stopped with exit code -9")

    with Wire() as wire, pytest.raises(UnavailableError, match="nodes stopped"):
        wire.diagnose(Diagnose.Goal(rollouts=7), 30.0, lambda _: None, check)
