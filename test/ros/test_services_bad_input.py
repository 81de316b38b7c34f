"""Random and hostile requests at the running services: an error code and a sentence, and the node answers the next call."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rclpy.node import Node
from ros_graph import Graph, until
from sensor_msgs.msg import Image
from synthetic_cell import SyntheticCell

from robomd_msgs.action import Diagnose, TrainEmbedding, TrainSearch
from robomd_msgs.msg import Outcome as OutcomeMsg
from robomd_msgs.msg import Question
from robomd_msgs.srv import (
    ApplyPerturbation,
    EmbedObservation,
    LabelOutcome,
    ListRollouts,
    QueryFailureLikelihood,
    SuggestNext,
)
from robomd_ros.adapters import names
from robomd_ros.core.errors import ErrorCode
from robomd_ros.core.outcome import Label, Outcome
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.study import Study, StudyMeta
from robomd_ros.core.variations import load_catalogue
from robomd_ros.learning.config import EmbeddingConfig
from robomd_ros.nodes.camera_capture import CameraCaptureNode
from robomd_ros.nodes.diagnosis import DiagnosisNode
from robomd_ros.nodes.embedding_service import EmbeddingServiceNode
from robomd_ros.nodes.outcome_labeler import OutcomeLabelerNode
from robomd_ros.nodes.perturbation_tagger import PerturbationTaggerNode
from robomd_ros.nodes.search_service import SearchServiceNode
from robomd_ros.search.config import SearchConfig
from robomd_ros.search.fit import fit_study

LIFT = load_catalogue("lift")
FAST = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def small_study(folder: Path) -> Study:
    """60 rollouts: everything with a changed table colour fails."""
    rng = np.random.default_rng(0)
    study = Study.create(folder, StudyMeta("lift", "Panda", "bc-1"))
    with study.store() as store:
        for i in range(60):
            perturbation = LIFT.sample(rng)
            fails = any(v.factor == "table_color" for v in perturbation.variations)
            image = np.full((24, 24, 3), 200 if fails else 60, np.uint8)
            image += rng.integers(0, 20, image.shape, dtype=np.uint8)
            label = Label(Outcome.FAILURE if fails else Outcome.SUCCESS, "sim", 1.0 + i)
            store.add(
                RolloutRecord(
                    f"r{i}", perturbation, "lift", "Panda", "bc-1",
                    seed=i, started=1.0 + i, frames=1, frames_expected=1,
                    first_frame=image, labels=(label,),
                )
            )  # fmt: skip
    return study


ONE_DOMAIN = True
"""The nodes here are shared by all tests."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Graph, Node]]:
    """All answering nodes over a study with models that took seconds to train."""
    study = small_study(tmp_path_factory.mktemp("bad") / "study")
    fit_study(study.folder, EmbeddingConfig(epochs=3), SearchConfig(steps=2048), seed=0)
    yield from _graph(study.folder)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Graph, Node]]:
    """The same nodes over a study without models."""
    yield from _graph(small_study(tmp_path_factory.mktemp("bad") / "study").folder, True)


def _graph(folder: Path, neighbour: bool = False) -> Iterator[tuple[Graph, Node]]:
    graph = Graph(neighbour)
    try:
        cell = graph.add(SyntheticCell)
        graph.add(CameraCaptureNode)
        graph.add(PerturbationTaggerNode)
        graph.add(OutcomeLabelerNode, study=str(folder))
        graph.add(EmbeddingServiceNode, study=str(folder))
        graph.add(DiagnosisNode, study=str(folder))
        search = graph.add(SearchServiceNode, study=str(folder))
        until(lambda: search.health().message != "loading", 60.0)
        yield graph, cell
    finally:
        graph.close()


def image_msg(height=8, width=8, encoding="rgb8", step=None, size=None) -> Image:
    step = width * 3 if step is None else step
    size = height * step if size is None else size
    msg = Image(height=height, width=width, encoding=encoding, step=step)
    msg.data = array("B", bytes(size))
    return msg


MEGABYTE = "x" * 1_000_000
FAILURE = OutcomeMsg(value=OutcomeMsg.FAILURE, labeler="ann")
NOMINAL = Question(nominal=True)
PLAIN = (
    (QueryFailureLikelihood, names.QUERY_FAILURE_LIKELIHOOD, {"questions": [NOMINAL]}),
    (EmbedObservation, names.EMBED, {"questions": [NOMINAL]}),
    (SuggestNext, names.SUGGEST_NEXT, {"count": 1, "strategy": "search"}),
    (ApplyPerturbation, names.APPLY_PERTURBATION, {"variation_ids": ["cube_red"]}),
    (LabelOutcome, names.LABEL_OUTCOME, {"rollout_id": "r0", "outcome": FAILURE}),
    (ListRollouts, names.LIST_ROLLOUTS, {"limit": 5, "outcome": 255}),
)
"""One good request of every service."""


@pytest.fixture
def alive(trained: tuple[Graph, Node]) -> Iterator[None]:
    """Whatever a test sent, every service answers a plain call after it."""
    yield
    graph, cell = trained
    for srv_type, name, fields in PLAIN:
        response = graph.call(cell, srv_type, name, srv_type.Request(**fields))
        assert response.error_code == ErrorCode.OK, f"{name}: {response.error_msg}"


def query(graph: Graph, cell: Node, *questions: Question, evidence: int = 0):
    request = QueryFailureLikelihood.Request(questions=list(questions), evidence=evidence)
    return graph.call(cell, QueryFailureLikelihood, names.QUERY_FAILURE_LIKELIHOOD, request)


BAD_QUESTIONS = {
    "empty": (Question(), ErrorCode.INVALID_ARGUMENT),
    "unknown id": (Question(variation_ids=["cube_pink"]), ErrorCode.UNKNOWN_ID),
    "unknown factor": (Question(variation_ids=["colour=1,2,3"]), ErrorCode.UNKNOWN_ID),
    "NaN": (Question(variation_ids=["cube_color=nan,0,0"]), ErrorCode.INVALID_ARGUMENT),
    "infinite": (Question(variation_ids=["light_intensity=1e999"]), ErrorCode.INVALID_ARGUMENT),
    "too few numbers": (Question(variation_ids=["cube_color=1"]), ErrorCode.INVALID_ARGUMENT),
    "no number": (Question(variation_ids=["cube_color=a,b,c"]), ErrorCode.INVALID_ARGUMENT),
    "one factor twice": (
        Question(variation_ids=["cube_red", "cube_blue"]),
        ErrorCode.INVALID_ARGUMENT,
    ),
    "nominal and more": (
        Question(nominal=True, variation_ids=["cube_red"]),
        ErrorCode.INVALID_ARGUMENT,
    ),
    "10,000 ids": (Question(variation_ids=["cube_red"] * 10_000), ErrorCode.TOO_LARGE),
    "1 MB of text": (Question(text="dim " * 250_000), ErrorCode.TOO_LARGE),
    "1 MB of id": (Question(variation_ids=["x" * 1_000_000]), ErrorCode.UNKNOWN_ID),
    "blank text": (Question(text=" \n\t"), ErrorCode.INVALID_ARGUMENT),
    "encoding": (Question(image=image_msg(encoding="gibberish")), ErrorCode.INVALID_ARGUMENT),
    "depth image": (Question(image=image_msg(encoding="32FC1")), ErrorCode.INVALID_ARGUMENT),
    "short image": (Question(image=image_msg(size=5)), ErrorCode.INVALID_ARGUMENT),
    "long image": (Question(image=image_msg(size=500)), ErrorCode.INVALID_ARGUMENT),
    "wrong step": (Question(image=image_msg(step=2)), ErrorCode.INVALID_ARGUMENT),
    "no rows": (Question(image=image_msg(height=0)), ErrorCode.INVALID_ARGUMENT),
}


@pytest.mark.parametrize("name", BAD_QUESTIONS)
def test_a_bad_question_gets_its_code_and_a_sentence(trained, name):
    graph, cell = trained
    question, code = BAD_QUESTIONS[name]
    response = query(graph, cell, question)
    assert response.error_code == code
    assert 10 < len(response.error_msg) <= 500
    assert not response.answers
    embed = graph.call(
        cell, EmbedObservation, names.EMBED, EmbedObservation.Request(questions=[question])
    )
    assert embed.error_code == code
    assert not embed.embeddings
    assert query(graph, cell, Question(nominal=True)).error_code == ErrorCode.OK


@pytest.mark.parametrize(
    ("count", "code"),
    [(0, ErrorCode.INVALID_ARGUMENT), (257, ErrorCode.TOO_LARGE), (10_000, ErrorCode.TOO_LARGE)],
)
def test_the_number_of_questions_is_bounded(trained, count, code):
    graph, cell = trained
    response = query(graph, cell, *[Question(variation_ids=["cube_red"])] * count)
    assert response.error_code == code
    assert str(count) in response.error_msg


def test_text_in_any_script_is_answered_and_flagged(trained):
    graph, cell = trained
    texts = [
        "目が回る暗い部屋",
        "кубик покрасили",
        "🤖🔥",
        "a\u0000b\u202e",
        "'; DROP TABLE rollouts;--",
    ]
    response = query(graph, cell, *[Question(text=t) for t in texts])
    assert response.error_code == ErrorCode.OK, response.error_msg
    assert len(response.answers) == len(texts)
    assert not any(a.seen for a in response.answers)


def test_before_anything_is_trained(untrained):
    graph, cell = untrained
    response = query(graph, cell, Question(variation_ids=["cube_red"]))
    assert response.error_code == ErrorCode.NOT_READY
    assert "train" in response.error_msg
    embed = EmbedObservation.Request(questions=[Question(nominal=True)])
    assert graph.call(cell, EmbedObservation, names.EMBED, embed).error_code == ErrorCode.NOT_READY
    suggested = graph.call(cell, SuggestNext, names.SUGGEST_NEXT, SuggestNext.Request(count=3))
    assert suggested.error_code == ErrorCode.OK
    assert len(suggested.perturbations) == 3
    assert all(math.isnan(p) for p in suggested.p_failure)


def test_without_a_camera_there_is_no_live_image(untrained):
    graph, cell = untrained
    response = query(graph, cell, Question(use_live_image=True))
    assert response.error_code == ErrorCode.NOT_READY
    assert "camera" in response.error_msg


numbers = st.floats(allow_nan=True, allow_infinity=True, width=32)
ids = st.one_of(
    st.sampled_from(list(LIFT.variations)),
    st.builds(
        lambda f, v: f"{f}={','.join(map(str, v))}",
        st.sampled_from([*LIFT.factors, "", "x"]),
        st.lists(numbers, max_size=4),
    ),
    st.text(max_size=20),
)
images = st.builds(
    image_msg,
    height=st.integers(0, 40),
    width=st.integers(0, 40),
    encoding=st.sampled_from(["rgb8", "bgr8", "mono8", "16UC1", "32FC1", "bayer_rggb8", ""]),
    step=st.none() | st.integers(0, 200),
    size=st.none() | st.integers(0, 6000),
)
questions = st.builds(
    Question,
    variation_ids=st.lists(ids, max_size=4),
    nominal=st.booleans(),
    text=st.text(max_size=60),
    image=st.one_of(st.just(Image()), images),
    use_live_image=st.booleans(),
)


@FAST
@given(st.lists(questions, max_size=4), st.integers(0, 2**32 - 1))
def test_random_questions(trained, alive, asked, evidence):
    graph, cell = trained
    response = query(graph, cell, *asked, evidence=evidence)
    assert (response.error_code == ErrorCode.OK) == (not response.error_msg)
    assert response.error_code != ErrorCode.INTERNAL, response.error_msg
    for answer in response.answers:
        assert 0 <= answer.p_failure_low <= answer.p_failure <= answer.p_failure_high <= 1
        assert answer.distance >= 0


@FAST
@given(st.lists(questions, max_size=4))
def test_random_embeddings(trained, alive, asked):
    graph, cell = trained
    request = EmbedObservation.Request(questions=asked)
    response = graph.call(cell, EmbedObservation, names.EMBED, request)
    assert (response.error_code == ErrorCode.OK) == (not response.error_msg)
    assert response.error_code != ErrorCode.INTERNAL, response.error_msg
    n = len(asked) if response.error_code == ErrorCode.OK else 0
    assert len(response.failure_logits) == n
    assert len(response.embeddings) == n * response.dim
    assert np.isfinite(response.embeddings).all()


@FAST
@given(st.integers(0, 2**32 - 1), st.text(max_size=20), st.integers(-(2**63), 2**63 - 1))
def test_random_suggestions(trained, alive, count, strategy, seed):
    graph, cell = trained
    request = SuggestNext.Request(count=count % 70, strategy=strategy, seed=seed)
    response = graph.call(cell, SuggestNext, names.SUGGEST_NEXT, request)
    assert response.error_code != ErrorCode.INTERNAL, response.error_msg
    assert (response.error_code == ErrorCode.OK) == (not response.error_msg)


@FAST
@given(st.lists(ids, max_size=5))
def test_random_perturbations(trained, alive, variation_ids):
    graph, cell = trained
    request = ApplyPerturbation.Request(variation_ids=variation_ids)
    response = graph.call(cell, ApplyPerturbation, names.APPLY_PERTURBATION, request)
    assert response.error_code != ErrorCode.INTERNAL, response.error_msg


@FAST
@given(st.text(max_size=80), st.integers(0, 255), st.text(max_size=20), st.booleans())
def test_random_labels(trained, alive, rollout_id, value, labeler, undo):
    graph, cell = trained
    request = LabelOutcome.Request(rollout_id=rollout_id, undo=undo)
    request.outcome = OutcomeMsg(value=value, labeler=labeler)
    response = graph.call(cell, LabelOutcome, names.LABEL_OUTCOME, request)
    assert response.error_code != ErrorCode.INTERNAL, response.error_msg


@FAST
@given(
    st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.text(max_size=30), st.integers(0, 255)
)
def test_random_pages(trained, alive, offset, limit, perturbation_id, outcome):
    graph, cell = trained
    request = ListRollouts.Request(
        offset=offset, limit=limit, perturbation_id=perturbation_id, outcome=outcome
    )
    response = graph.call(cell, ListRollouts, names.LIST_ROLLOUTS, request)
    assert response.error_code != ErrorCode.INTERNAL, response.error_msg
    assert len(response.rollouts) <= 500


HUGE = {
    "reason": (
        LabelOutcome,
        names.LABEL_OUTCOME,
        {"outcome": OutcomeMsg(value=OutcomeMsg.FAILURE, labeler="ann", reason=MEGABYTE)},
        ErrorCode.TOO_LARGE,
    ),
    "strategy": (
        SuggestNext,
        names.SUGGEST_NEXT,
        {"count": 1, "strategy": MEGABYTE},
        ErrorCode.INVALID_ARGUMENT,
    ),
    "perturbation_id": (  # a filter that matches nothing
        ListRollouts,
        names.LIST_ROLLOUTS,
        {"perturbation_id": MEGABYTE, "outcome": 255},
        ErrorCode.OK,
    ),
}


@pytest.mark.parametrize("field", HUGE)
def test_a_megabyte_in_a_string_is_answered(trained, alive, field):
    graph, cell = trained
    srv_type, name, fields, code = HUGE[field]
    response = graph.call(cell, srv_type, name, srv_type.Request(**fields))
    assert response.error_code == code, response.error_msg
    assert len(response.error_msg) <= 500
    assert getattr(response, "total", 0) == 0


@pytest.mark.parametrize(
    ("action", "name", "goal"),
    [
        (TrainEmbedding, names.TRAIN_EMBEDDING, TrainEmbedding.Goal(profile="huge")),
        (TrainEmbedding, names.TRAIN_EMBEDDING, TrainEmbedding.Goal(epochs=4_000_000_000)),
        (TrainSearch, names.TRAIN_SEARCH, TrainSearch.Goal(algorithm="sarsa")),
        (TrainSearch, names.TRAIN_SEARCH, TrainSearch.Goal(steps=4_000_000_000)),
        (Diagnose, names.DIAGNOSE, Diagnose.Goal(rollouts=0)),
        (Diagnose, names.DIAGNOSE, Diagnose.Goal(rollouts=100_001)),
        (Diagnose, names.DIAGNOSE, Diagnose.Goal(rollouts=5, session_id="two words")),
        (Diagnose, names.DIAGNOSE, Diagnose.Goal(rollouts=5, session_id=MEGABYTE)),
    ],
)
def test_bad_goals(trained, action, name, goal):
    graph, cell = trained
    result = graph.act(cell, action, name, goal)
    assert result.error_code == ErrorCode.INVALID_ARGUMENT, result.error_msg
    assert 10 < len(result.error_msg) <= 500
