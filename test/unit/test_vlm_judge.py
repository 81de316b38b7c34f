"""The VLM judge against a real HTTP server that answers from the images."""

import logging
import threading

import numpy as np
import pytest
from helpers.chat_server import Model, images, serving
from store_samples import make_record, make_trace

from robomd_ros.core.errors import InvalidArgumentError, TooLargeError, UnavailableError
from robomd_ros.core.outcome import Outcome
from robomd_ros.evaluation.chat_client import (
    ChatClient,
    ChatConfig,
    Reply,
    config_from_environment,
    image_part,
)
from robomd_ros.evaluation.plan import Plan
from robomd_ros.evaluation.steps import Result, Results
from robomd_ros.evaluation.tables import ranking
from robomd_ros.evaluation.vlm_judge import (
    Case,
    Judgement,
    VlmJudge,
    case_before,
    case_whole,
    draw_pairs,
    read_verdict,
)
from robomd_ros.evaluation.vlm_row import judge_cell, judge_note, judge_rollouts

RED = np.full((12, 16, 3), (200, 30, 30), np.uint8)
BLUE = np.full((12, 16, 3), (30, 30, 200), np.uint8)
KEY = "sk-very-secret"


def config(url, **changed):
    return ChatConfig(url, "looker", KEY, **{"backoff": 0.0, "deadline": 10.0, **changed})


def rollouts(n=40, red_fails=True, noise=0):
    """Half red, half blue; the red ones fail, but the first `noise` of each colour."""
    made = []
    for i in range(n):
        is_red = i % 2 == 0
        failed = (is_red == red_fails) != (i // 2 < noise)
        frame = RED if is_red else BLUE
        outcome = Outcome.FAILURE if failed else Outcome.SUCCESS
        made.append(make_record(f"r{i}", outcome=outcome, frame=frame, seed=i // 2))
    return made


def judged(model, records, **arguments):
    with serving(model) as url:
        return judge_rollouts(config(url, **arguments.pop("config", {})), records, **arguments)


def test_a_model_that_sees_the_cause_ranks_every_pair_and_a_blind_one_half_of_them():
    seen = judged(Model(), rollouts(), pairs=40)
    blind = judged(Model(lambda _: {"content": "ANSWER: A"}), rollouts(), pairs=200)

    assert (seen["accuracy"], seen["low"], seen["high"], seen["calls"]) == (1.0, 1.0, 1.0, 40)
    assert 0.2 < seen["first"] < 0.8
    assert 0.4 < blind["accuracy"] < 0.6
    assert blind["first"] == 1.0


def test_the_accuracy_is_the_share_of_pairs_that_are_right():
    records = rollouts(n=16, noise=2)
    cases = [case_before(record) for record in records]
    failed = np.array([case.failed for case in cases])
    failures, successes = np.flatnonzero(failed), np.flatnonzero(~failed)
    pairs = np.array([(f, s) for f in failures for s in successes if f % 2 != s % 2])
    with serving(Model()) as url, ChatClient(config(url)) as client:
        found = VlmJudge(client, "A policy.").judge(cases, pairs, np.random.default_rng(0))

    # red against blue: 6 failing red with 6 succeeding blue are named rightly, 2 with 2 of the noise wrongly
    assert found.accuracy == 36 / 40
    low, high = found.interval(np.random.default_rng(0))
    assert low < 0.9 < high <= 1.0


def test_five_solved_pairs_of_other_scenes_turn_the_rule_round():
    model = Model()
    records = rollouts(red_fails=False)
    zero = judged(Model(), records, pairs=20)
    five = judged(model, records, pairs=20, shots=5)

    assert (zero["accuracy"], five["accuracy"]) == (0.0, 1.0)
    messages = model.requests[0]["messages"]
    assert [m["role"] for m in messages] == ["system", *["user", "assistant"] * 5, "user"]
    assert {m["content"] for m in messages[2::2]} == {"ANSWER: A", "ANSWER: B"}
    assert all(len(images(m)) == 2 for m in messages[1::2])


def test_the_frame_before_the_policy_moves_or_the_whole_video():
    trace = make_trace(frames=30, size=24)
    record = make_record("r", outcome=Outcome.FAILURE, frame=trace.frames[0])

    assert len(case_before(record).frames) == 1
    whole = case_whole(record, trace).frames
    assert len(whole) == 7
    np.testing.assert_array_equal(whole[0], trace.frames[0])
    np.testing.assert_array_equal(whole[-1], trace.frames[-1])
    with pytest.raises(InvalidArgumentError, match="camera was silent"):
        case_before(make_record("r"))


def test_an_image_is_sent_without_loss_and_a_large_one_made_smaller():
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    sent = images({"content": [image_part(noise, 336), image_part(noise, 15)]})

    np.testing.assert_array_equal(sent[0], noise)
    assert sent[1].shape == (10, 15, 3)
    for wrong in (noise.astype(np.float32), noise[:, :, 0], np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(InvalidArgumentError):
            image_part(wrong, 336)
    with pytest.raises(TooLargeError):
        image_part(np.zeros((5000, 10, 3), np.uint8), 336)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("ANSWER: A", "A"),
        ("It is darker in B, so\n**ANSWER: B**", "B"),
        ("Answer: **B**.", "B"),
        ("The answer is A", "A"),
        ("answer - condition b", "B"),
        ("ANSWER: A. No, wait.\nANSWER: B", "B"),
        (" b.", "B"),
        ("Condition A", "A"),
        ("ANSWER: neither", None),
        ("Both look alike.", None),
        ("", None),
    ],
)
def test_the_verdict_is_read(text, verdict):
    assert read_verdict(Reply(text)) == verdict
    assert read_verdict(Reply(text, refused=True)) is None


@pytest.mark.parametrize(
    ("answer", "counted"),
    [
        ({"content": None, "refusal": "I cannot judge robots."}, "refused"),
        ({"content": "ANSWER: A", "finish_reason": "content_filter"}, "refused"),
        ({"content": "Hard to say."}, "unparsable"),
        ({"content": ""}, "unparsable"),
    ],
)
def test_no_verdict_is_a_tie_and_counted(answer, counted):
    found = judged(Model(lambda _: dict(answer)), rollouts(), pairs=10)

    assert (found["accuracy"], found[counted]) == (0.5, 10)
    assert found["refused"] + found["unparsable"] == 10
    assert np.isnan(found["first"])


def test_what_passes_is_tried_again_with_the_pause_that_the_server_asks_for():
    model = Model(
        first=[(429, {"Retry-After": "7"}, "slow down"), (503, {}, "busy"), (500, {}, "oops")]
    )
    pauses = []
    with serving(model) as url, ChatClient(config(url, backoff=0.001), pauses.append) as client:
        reply = client.ask([{"role": "user", "content": "ANSWER?"}])

    assert "ANSWER" in reply.text
    assert (client.calls, len(model.requests)) == (4, 4)
    assert pauses[0] == 7.0
    assert 0.0 < pauses[1] < pauses[2] < 0.01


@pytest.mark.parametrize(
    ("status", "message", "sentence", "requests"),
    [
        (
            401,
            f"Incorrect API key provided: {KEY}",
            r"HTTP 401: Incorrect API key provided: \*\*\*",
            1,
        ),
        (404, "no model looker", "HTTP 404: no model looker", 1),
        (302, "elsewhere", "HTTP 302", 1),
        (500, "oops", "HTTP 500: oops", 5),
    ],
)
def test_an_endpoint_that_fails_for_good_is_no_row(status, message, sentence, requests, caplog):
    caplog.set_level(logging.DEBUG)
    model = Model(first=[(status, {}, message)] * 9)
    with pytest.raises(UnavailableError, match=sentence) as caught:
        judged(model, rollouts(), pairs=10)

    assert len(model.requests) == requests
    assert KEY not in str(caught.value) + repr(config("http://h/v1")) + caplog.text
    assert model.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_a_model_that_takes_no_temperature_or_calls_the_limit_otherwise():
    model = Model(
        first=[
            (400, {}, "Unsupported value: 'temperature' does not support 0 with this model."),
            (400, {}, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
        ]
    )
    assert judged(model, rollouts(), pairs=3)["accuracy"] == 1.0
    assert len(model.requests) == 5
    assert "max_tokens" in model.requests[0]
    assert {"temperature", "max_tokens"} & set(model.requests[-1]) == set()
    assert model.requests[-1]["max_completion_tokens"] == 300


@pytest.mark.parametrize(
    "answer",
    [b"not JSON", b"[1]", b'{"choices": []}', b'{"choices": [{"message": "A"}]}', b"[" * 100_000],
)
def test_an_answer_in_another_form(answer):
    with pytest.raises(UnavailableError, match="no chat completion"):
        judged(Model(lambda _: answer), rollouts(), pairs=3)


def test_an_answer_that_is_too_long_or_never_comes_or_nobody_there():
    with pytest.raises(UnavailableError, match="longer than"):
        judged(Model(lambda _: bytes(2_000_000)), rollouts(), pairs=3, config={"attempts": 1})
    silence = threading.Event()
    try:
        with pytest.raises(UnavailableError, match="Timeout"):
            judged(Model(delay=silence), rollouts(), pairs=3, config={"deadline": 0.3})
    finally:
        silence.set()
    with pytest.raises(UnavailableError, match="ConnectError"):
        judge_rollouts(config("http://127.0.0.1:1/v1", attempts=2), rollouts(), pairs=3)


def test_the_cost_is_bounded():
    model = Model()
    with pytest.raises(TooLargeError, match="10 pairs want as many calls; 9 are allowed"):
        judged(model, rollouts(), pairs=10, config={"max_calls": 9})
    assert not model.requests
    spent = Model(first=[(500, {}, "oops")] * 9)
    with pytest.raises(UnavailableError, match="all 4 calls are spent"):
        judged(spent, rollouts(), pairs=4, config={"max_calls": 4})
    assert len(spent.requests) == 4


def test_pairs_want_a_failure_and_a_success_and_solved_ones_their_own_scenes():
    with pytest.raises(InvalidArgumentError, match="a pair wants one of each"):
        draw_pairs(np.ones(4, bool), 3, np.random.default_rng(0))
    same_scene = [r for r in rollouts() if r.seed % 5]
    with pytest.raises(InvalidArgumentError, match="no scene is left"):
        judged(Model(), same_scene, pairs=3, shots=5)


def test_the_interval_is_that_of_rollouts_not_of_pairs():
    """Twenty failures of which half are always lost to any success: 400 pairs, but the doubt is that of twenty rollouts."""
    pairs = np.array([(f, s) for f in range(20) for s in range(20, 40)])
    scores = (pairs[:, 0] < 10).astype(float)
    low, high = Judgement(scores, pairs, 0, 0, 0.5, 400).interval(np.random.default_rng(0))

    deviation = np.sqrt(0.25 / 20)
    np.testing.assert_allclose([low, high], 0.5 + deviation * np.array([-1.96, 1.96]), atol=0.05)


@pytest.mark.parametrize(
    ("environment", "error", "sentence"),
    [
        ({}, UnavailableError, "no endpoint was given"),
        ({"ROBOMD_VLM_URL": "http://h/v1"}, InvalidArgumentError, "ROBOMD_VLM_MODEL"),
        (
            {"ROBOMD_VLM_URL": "ftp://h/v1", "ROBOMD_VLM_MODEL": "m"},
            InvalidArgumentError,
            "want http",
        ),
        (
            {"ROBOMD_VLM_URL": "http://u:pw@h/v1", "ROBOMD_VLM_MODEL": "m"},
            InvalidArgumentError,
            "'h'",
        ),
        (
            {"ROBOMD_VLM_URL": "http://h", "ROBOMD_VLM_MODEL": "m", "ROBOMD_VLM_MAX_CALLS": "many"},
            InvalidArgumentError,
            "whole number",
        ),
    ],
)
def test_the_environment_names_the_endpoint(environment, error, sentence):
    with pytest.raises(error, match=sentence):
        config_from_environment(environment)


def test_the_environment_is_read():
    made = config_from_environment(
        {
            "ROBOMD_VLM_URL": " https://h/v1/ ",
            "ROBOMD_VLM_MODEL": "m",
            "ROBOMD_VLM_KEY": "k",
            "ROBOMD_VLM_MAX_CALLS": "7",
        }
    )
    assert (made.url, made.model, made.key, made.max_calls) == ("https://h/v1/", "m", "k", 7)


def test_a_case_is_told_nothing_of_its_outcome():
    model = Model()
    with serving(model) as url, ChatClient(config(url)) as client:
        VlmJudge(client, "A policy.").ask(Case((RED,), True), Case((BLUE,), False))
    said = repr(model.requests[0]).lower()

    assert "true" not in said
    assert "success" not in said


def test_a_table_says_what_was_judged_or_why_there_is_no_row():
    found = judged(Model(lambda _: {"content": "Hard to say."}), rollouts(), pairs=10)

    assert judge_cell(found) == "0.500 [0.500, 0.500] (50.0 %)"
    assert "looker" in judge_note([found, None])
    assert "in 10 of 10" in judge_note([found, None])
    assert judge_cell(None) == "–"
    assert "no endpoint was given" in judge_note([None, None])


def test_the_ranking_table_asks_the_judge_where_an_endpoint_is_given(monkeypatch, tmp_path):
    def asked():
        return [
            step.name for step in ranking.steps(Plan(tmp_path, quick=True)) if "vlm" in step.name
        ]

    monkeypatch.delenv("ROBOMD_VLM_URL", raising=False)
    assert asked() == []
    monkeypatch.setenv("ROBOMD_VLM_URL", "http://127.0.0.1:1/v1")
    assert asked() == ["ranking/lift/vlm_0", "ranking/lift/vlm_5"]

    step = next(step for step in ranking.steps(Plan(tmp_path, quick=True)) if "vlm" in step.name)
    with pytest.raises(UnavailableError, match="name of a model"):
        step.run(tmp_path)
    results = Results(tmp_path / "results.json")
    value = judged(Model(), rollouts(), pairs=20)
    results.add(step, Result(step.key, value, 1.0))
    shown = ranking.render(results, Plan(tmp_path, quick=True))
    assert "| VLM judge, 0 shots | 1.000 [1.000, 1.000] (100.0 %) |" in shown
    assert "VLM judge: looker" in shown
