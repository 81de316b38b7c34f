"""The command line against real nodes: what a user at a second terminal does."""

from __future__ import annotations

from pathlib import Path

import pytest
from ros_graph import Graph

from robomd_msgs.srv import EmbedObservation, ListRollouts
from robomd_ros.adapters import names
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
