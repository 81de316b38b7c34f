"""Core objects survive the way into messages and back, also through the wire format."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image

from robomd_msgs.msg import Outcome as OutcomeMsg
from robomd_msgs.msg import Question as QuestionMsg
from robomd_ros.adapters import conversions as convert
from robomd_ros.adapters import stamps
from robomd_ros.adapters.images import (
    image_from_compressed,
    image_from_msg,
    image_to_msg,
    image_to_png,
)
from robomd_ros.core.answers import Answer, Evidence, Quality, Question, RiskMap
from robomd_ros.core.errors import InvalidArgumentError, NotReadyError, RobomdError, TooLargeError
from robomd_ros.core.outcome import Label, Outcome
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.variations import Perturbation, load_catalogue

CATALOGUE = load_catalogue("lift")
RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
STAMP = stamps.from_ns(1_700_000_000_123_456_789)


def over_the_wire(msg):
    return deserialize_message(serialize_message(msg), type(msg))


def answer(**changes) -> Answer:
    base = Answer(
        question=Question(CATALOGUE.perturbation("cube_red+light_intensity=0.4")),
        index=3, p_failure=np.float32(0.5), p_low=0.25, p_high=1, log_density=-3.5, density_ratio=1.0,
        log_density_untrained=math.nan, distance=0.5, distance_limit=2, seen=True, rollouts=np.int64(4),
        failures=2, effective_rollouts=5.5, evidence=(Evidence("a", Outcome.FAILURE, 0.25),), rank=1,
    )  # fmt: skip
    return replace(base, **changes)


def test_answer_with_numpy_and_int_numbers() -> None:
    back = convert.answer_from_msg(over_the_wire(convert.answer_to_msg(answer())), CATALOGUE)
    assert math.isnan(back.log_density_untrained)
    assert replace(back, log_density_untrained=0.0) == answer(log_density_untrained=0.0)


def test_risk_map() -> None:
    quality = Quality(auc=0.75, auc_low=0.5, auc_high=1.0, calibration_error=0.1, rollouts=40)
    answers = (
        answer(log_density_untrained=-1.0),
        answer(question=Question(text="a ghost"), log_density_untrained=-1.0),
    )
    risk_map = RiskMap(answers, quality, 2.0, 3, 0.5, 100, "bc-1", "e", "s")
    back = convert.risk_map_from_msg(
        over_the_wire(convert.risk_map_to_msg(risk_map, "st")), CATALOGUE
    )
    assert back.answers == risk_map.answers
    assert (back.quality.auc, back.quality.rollouts, back.entropy) == (0.75, 40, 2.0)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_perturbations(seed: int) -> None:
    perturbation = CATALOGUE.sample(np.random.default_rng(seed))
    msg = over_the_wire(convert.perturbation_to_msg(perturbation, "lift", STAMP, 0.5, True))
    assert convert.perturbation_from_msg(msg) == perturbation
    assert convert.perturbation_from_msg(msg, CATALOGUE) == perturbation
    assert msg.id == perturbation.id
    assert [tuple(v.value) for v in msg.variations] == [v.value for v in perturbation.variations]


def test_record() -> None:
    record = RolloutRecord(
        "r1", CATALOGUE.perturbation("cube_red"), "lift", "Panda", "bc-1", seed=-1, started=1.7e9,
        duration=4, frames=41, frames_expected=42, labels=(Label(Outcome.SUCCESS, "sim", 1.7e9),),
    )  # fmt: skip
    msg = over_the_wire(convert.record_to_msg(record))
    assert (msg.rollout_id, msg.seed, msg.frames, msg.frames_expected) == ("r1", -1, 41, 42)
    assert (msg.label_count, msg.outcome.labeler, msg.duration) == (1, "sim", 4.0)
    assert convert.label_from_msg(msg.outcome) == record.labels[0]


def test_questions() -> None:
    questions = [
        Question(CATALOGUE.perturbation("cube_red+table_red"), "seen from above"),
        Question(Perturbation()),
        Question(text="ein roter Würfel, 红色"),
        Question(image=RGB),
    ]
    back = convert.questions_from_msg(
        [over_the_wire(convert.question_to_msg(q)) for q in questions], CATALOGUE
    )
    for one, other in zip(back, questions, strict=True):
        assert (one.perturbation, one.text) == (other.perturbation, other.text)
    np.testing.assert_array_equal(back[3].image, RGB)


@pytest.mark.parametrize(
    ("msg", "error", "says"),
    [
        (QuestionMsg(), InvalidArgumentError, "empty question"),
        (QuestionMsg(nominal=True, variation_ids=["cube_red"]), InvalidArgumentError, "exclude"),
        (QuestionMsg(use_live_image=True), NotReadyError, "no camera frame"),
        (QuestionMsg(text="x" * 2001), TooLargeError, "2001"),
        (
            QuestionMsg(image=Image(width=3, height=2, encoding="rgb8", step=9)),
            InvalidArgumentError,
            "0 bytes",
        ),
        (
            QuestionMsg(image=Image(width=3, height=2, encoding="nonsense")),
            InvalidArgumentError,
            "not known",
        ),
        (QuestionMsg(image=Image(width=5000, height=1, encoding="rgb8")), TooLargeError, "5000x1"),
        (QuestionMsg(image=Image(width=1, height=0, encoding="rgb8")), InvalidArgumentError, "1x0"),
    ],
)
def test_bad_questions(msg: QuestionMsg, error: type[RobomdError], says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        convert.questions_from_msg([QuestionMsg(nominal=True), msg], CATALOGUE)
    assert str(caught.value).startswith("question 1: ")


def test_number_of_questions() -> None:
    with pytest.raises(InvalidArgumentError):
        convert.questions_from_msg([], CATALOGUE)
    with pytest.raises(TooLargeError, match="257"):
        convert.questions_from_msg([QuestionMsg(nominal=True)] * 257, CATALOGUE)


@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb8", RGB),
        ("bgr8", RGB[:, :, ::-1]),
        ("rgba8", np.dstack([RGB, np.full((5, 7), 9, np.uint8)])),
        ("bgra8", np.dstack([RGB[:, :, ::-1], np.full((5, 7), 9, np.uint8)])),
        ("mono8", RGB[:, :, 0]),
    ],
)
@pytest.mark.parametrize("padding", [0, 3])
def test_encodings(encoding: str, pixels: np.ndarray, padding: int) -> None:
    rows = np.ascontiguousarray(pixels).reshape(5, -1)
    msg = Image(height=5, width=7, encoding=encoding, step=rows.shape[1] + padding)
    msg.data.frombytes(np.pad(rows, ((0, 0), (0, padding))).tobytes())
    wanted = np.repeat(RGB[:, :, :1], 3, 2) if encoding == "mono8" else RGB
    got = image_from_msg(over_the_wire(msg))
    np.testing.assert_array_equal(got, wanted)
    assert got.flags.writeable
    assert got.flags.owndata


def test_image_and_png_round_trips() -> None:
    np.testing.assert_array_equal(image_from_msg(over_the_wire(image_to_msg(RGB, STAMP))), RGB)
    png = over_the_wire(image_to_png(RGB, STAMP, "camera"))
    np.testing.assert_array_equal(image_from_compressed(png), RGB)
    assert png.header.stamp == STAMP
    with pytest.raises(InvalidArgumentError, match="cannot be decoded"):
        image_from_compressed(CompressedImage(format="png", data=b"no picture"))


@given(st.binary(max_size=60), st.sampled_from(["rgb8", "mono16", "yuv422", "bayer_rggb8", "16UC1", ""]),
       st.integers(0, 5), st.integers(0, 5), st.integers(0, 40))  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_any_image_is_rgb_or_an_error(
    data: bytes, encoding: str, height: int, width: int, step: int
) -> None:
    msg = Image(height=height, width=width, encoding=encoding, step=step)
    msg.data.frombytes(data)
    try:
        got = image_from_msg(msg)
    except RobomdError:
        return
    assert got.shape == (height, width, 3)


def test_stamps() -> None:
    assert stamps.to_ns(STAMP) == 1_700_000_000_123_456_789
    assert stamps.from_ns(stamps.to_ns(STAMP)) == STAMP
    assert stamps.to_seconds(stamps.from_seconds(12.25)) == 12.25
    for bad in (-1.0, math.nan, 1e12):
        with pytest.raises(InvalidArgumentError):
            stamps.from_seconds(bad)


def test_labels_are_checked() -> None:
    assert convert.label_from_msg(OutcomeMsg(value=1, labeler=" ann ")).labeler == "ann"
    for bad in (
        OutcomeMsg(value=0, labeler="a"),
        OutcomeMsg(value=7, labeler="a"),
        OutcomeMsg(value=1),
    ):
        with pytest.raises(InvalidArgumentError):
            convert.label_from_msg(bad)
    with pytest.raises(TooLargeError):
        convert.label_from_msg(OutcomeMsg(value=1, labeler="a", reason="x" * 2001))
