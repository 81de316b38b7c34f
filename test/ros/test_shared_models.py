"""Two cells train on one study at the same time: each keeps answering, and both end up with the same models."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ros_graph import Graph, until
from test_services_bad_input import small_study

from robomd_msgs.action import TrainEmbedding, TrainSearch
from robomd_msgs.msg import Question
from robomd_msgs.srv import EmbedObservation, QueryFailureLikelihood
from robomd_ros.adapters import names
from robomd_ros.core.errors import ErrorCode
from robomd_ros.core.outcome import Label, Outcome
from robomd_ros.core.study import Study
from robomd_ros.core.variations import load_catalogue
from robomd_ros.nodes import embedding_service
from robomd_ros.nodes.embedding_service import EmbeddingServiceNode
from robomd_ros.nodes.search_service import SearchServiceNode
from robomd_ros.search.asking import saved_models


class Cell:
    """The nodes of a cell that read and write models."""

    def __init__(self, study: Study, neighbour: bool) -> None:
        self.graph = Graph(neighbour)
        self.embedding = self.graph.add(EmbeddingServiceNode, study=str(study.folder))
        self.search = self.graph.add(SearchServiceNode, study=str(study.folder), refresh=0.5)
        self.codes: list[int] = []

    def train(self, seed: int) -> None:
        """As a session does."""
        goals = (
            (TrainEmbedding, names.TRAIN_EMBEDDING, TrainEmbedding.Goal(epochs=2, seed=seed)),
            (TrainSearch, names.TRAIN_SEARCH, TrainSearch.Goal(steps=2048, seed=seed)),
        )
        for action, name, goal in goals:
            self.codes.append(self.graph.act(self.search, action, name, goal).error_code)

    def query(self) -> Any:
        request = QueryFailureLikelihood.Request(
            questions=[Question(variation_ids=["table_green"])]
        )
        return self.graph.call(
            self.search, QueryFailureLikelihood, names.QUERY_FAILURE_LIKELIHOOD, request
        )

    def models(self) -> tuple[str, str]:
        answer = self.query()
        return answer.embedding_id, answer.search_id

    def embedded_with(self) -> str:
        request = EmbedObservation.Request(questions=[Question(nominal=True)])
        return self.graph.call(self.embedding, EmbedObservation, names.EMBED, request).embedding_id


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return small_study(tmp_path / "study")


@pytest.fixture
def cells(study: Study, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Cell]]:
    monkeypatch.setattr(embedding_service, "_LOOK", 0.5)
    made = [Cell(study, neighbour) for neighbour in (False, True)]
    yield made
    for cell in made:
        cell.graph.close()


def test_cells_share_models_and_evidence(study: Study, cells: list[Cell]) -> None:
    left, right = cells
    left.train(0)
    # What one has trained the other answers with.
    first = saved_models(study.models)
    until(lambda: left.models() == right.models() == first)
    until(lambda: left.embedded_with() == right.embedded_with() == first[0])

    both = [threading.Thread(target=c.train, args=(n,)) for n, c in enumerate(cells, start=1)]
    for thread in both:
        thread.start()
    while any(thread.is_alive() for thread in both):
        assert all(cell.query().error_code == ErrorCode.OK for cell in cells)
    assert left.codes + right.codes == [ErrorCode.OK] * 6
    last = saved_models(study.models)
    assert last is not None
    assert last != first
    until(lambda: left.models() == right.models() == last)
    until(lambda: left.embedded_with() == right.embedded_with() == last[0])

    # A label that neither cell was told of is evidence in both.
    def failures(cell: Cell) -> int:
        return cell.query().answers[0].failures

    before = failures(left)
    with study.store() as store:
        twin = store.get("r0")
        green = load_catalogue("lift").perturbation("table_green")
        label = Label(Outcome.FAILURE, "ann", 99.0)
        store.add(replace(twin, id="another", perturbation=green, labels=(label,)))
    until(lambda: [failures(c) for c in cells] == [before + 1] * 2)
