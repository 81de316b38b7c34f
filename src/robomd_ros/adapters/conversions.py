"""Core objects to robomd_msgs and back: the one place where they meet.

Every number is cast: rclpy sends an int or a numpy scalar in a float field as garbage where its checks are off.
"""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import KeyValue
from numpy.typing import NDArray

from robomd_msgs.msg import (
    FailureLikelihood,
    LabeledRollout,
    RolloutStatus,
)
from robomd_msgs.msg import Outcome as OutcomeMsg
from robomd_msgs.msg import Perturbation as PerturbationMsg
from robomd_msgs.msg import Question as QuestionMsg
from robomd_msgs.msg import RiskMap as RiskMapMsg
from robomd_msgs.msg import Variation as VariationMsg
from robomd_ros.adapters import stamps
from robomd_ros.adapters.images import image_from_msg, image_to_msg
from robomd_ros.core.answers import (
    MAX_QUESTIONS,
    MAX_TEXT,
    Answer,
    Evidence,
    Quality,
    Question,
    RiskMap,
)
from robomd_ros.core.errors import InvalidArgumentError, NotReadyError, TooLargeError
from robomd_ros.core.outcome import Control, Label, Outcome
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.variations import MAX_VARIATIONS, Catalogue, Perturbation, Variation

_VERIFIED, _CHANGE = "perturbation_verified", "image_change"  # keys of RolloutRecord.facts

MAX_NAME = 200
"""Longest labeler, phase or id that is taken from outside."""
MAX_FACTS = 64
"""Facts a cell may tell about a rollout."""


# -- variations -------------------------------------------------------------------------------------------------


def variation_to_msg(variation: Variation) -> VariationMsg:
    """Core to message."""
    value = array("d", [float(v) for v in variation.value])
    return VariationMsg(
        id=variation.id, factor=variation.factor, value=value, sentence=variation.sentence
    )


def perturbation_to_msg(
    perturbation: Perturbation,
    task: str,
    stamp: Time | None = None,
    image_change: float = math.nan,
    verified: bool = False,
) -> PerturbationMsg:
    """Core to message; `stamp` is when it was applied."""
    msg = PerturbationMsg(id=perturbation.id, task=task, sentence=perturbation.sentence)
    msg.header.stamp = stamp or Time()
    msg.variations = [variation_to_msg(v) for v in perturbation.variations]
    msg.image_change = float(image_change)
    msg.verified = bool(verified)
    return msg


def perturbation_from_msg(msg: PerturbationMsg, catalogue: Catalogue | None = None) -> Perturbation:
    """Message to core: parsed from the ids by the catalogue where one is given, else taken as the message says."""
    if len(msg.variations) > MAX_VARIATIONS:
        raise TooLargeError(f"{len(msg.variations)} variations at once; at most {MAX_VARIATIONS}.")
    if catalogue is not None:
        return catalogue.perturbation([v.id for v in msg.variations])
    return Perturbation(
        tuple(Variation(v.factor, v.id, tuple(v.value), v.sentence) for v in msg.variations)
    )


# -- outcomes and rollouts ----------------------------------------------------------------------------------------


def label_to_msg(label: Label | None) -> OutcomeMsg:
    """Core to message; None is UNKNOWN."""
    if label is None:
        return OutcomeMsg(value=int(Outcome.UNKNOWN))
    return OutcomeMsg(
        value=int(label.outcome),
        labeler=label.labeler,
        stamp=stamps.from_seconds(label.stamp),
        reason=label.reason,
        phase=label.phase,
    )


def label_from_msg(msg: OutcomeMsg, second_look: bool = False) -> Label:
    """Message to core; stamp 0 becomes now.

    Raises:
        InvalidArgumentError: UNKNOWN, a value that is no Outcome, no labeler.
        TooLargeError: a text over its limit.
    """
    if msg.value not in {int(o) for o in Outcome} - {int(Outcome.UNKNOWN)}:
        names = ", ".join(f"{o.name}={int(o)}" for o in Outcome if o is not Outcome.UNKNOWN)
        raise InvalidArgumentError(f"outcome {msg.value}: want one of {names}.")
    if not msg.labeler.strip():
        raise InvalidArgumentError("labeler is empty: say who judges, for example your name.")
    for name, limit in (("labeler", MAX_NAME), ("phase", MAX_NAME), ("reason", MAX_TEXT)):
        if len(getattr(msg, name)) > limit:
            raise TooLargeError(f"{name} of {len(getattr(msg, name))} characters; at most {limit}.")
    stamp = stamps.to_seconds(msg.stamp) or time.time()
    return Label(
        Outcome(msg.value), msg.labeler.strip(), stamp, msg.reason, msg.phase, bool(second_look)
    )


def record_to_msg(record: RolloutRecord) -> LabeledRollout:
    """Row of the store to message."""
    msg = LabeledRollout(
        rollout_id=record.id,
        policy_id=record.policy_id,
        robot=record.robot,
        purpose=record.purpose,
        recording=record.recording,
    )
    msg.header.stamp = stamps.from_seconds(record.started)
    msg.perturbation = perturbation_to_msg(
        record.perturbation,
        record.task,
        msg.header.stamp,
        float(record.facts.get(_CHANGE, "nan")),
        record.facts.get(_VERIFIED) == "true",
    )
    msg.outcome = label_to_msg(record.labels[-1] if record.labels else None)
    msg.second_look = label_to_msg(record.second_looks[-1] if record.second_looks else None)
    msg.label_count = len(record.labels)
    msg.seed = int(record.seed)
    msg.frames = int(record.frames)
    msg.frames_expected = int(record.frames_expected)
    msg.duration = float(record.duration)
    return msg


def record_from_status(
    msg: RolloutStatus, started: float, seen: PerturbationMsg | None = None
) -> RolloutRecord:
    """What a FINISHED status says about a rollout, without its frames.

    Args:
        msg: the status.
        started: wall clock, seconds since the epoch.
        seen: what perturbation_tagger saw in the image; used when it is about the same perturbation.
    """
    facts = {fact.key[:MAX_NAME]: fact.value[:MAX_TEXT] for fact in msg.facts[:MAX_FACTS]}
    facts["camera_clock_end"] = f"{stamps.to_seconds(msg.header.stamp):.9f}"
    if math.isfinite(msg.speed_scaling):
        facts["speed_scaling"] = f"{msg.speed_scaling:.4g}"
    if seen is not None and seen.id == msg.perturbation.id:
        facts[_VERIFIED] = str(seen.verified).lower()
        facts[_CHANGE] = f"{seen.image_change:.4g}"
    known = msg.outcome.value != Outcome.UNKNOWN
    return RolloutRecord(
        id=msg.rollout_id,
        perturbation=perturbation_from_msg(msg.perturbation),
        task=msg.task,
        robot=msg.robot,
        policy_id=msg.policy_id,
        purpose=msg.purpose or "manual",
        control=Control(msg.control),
        seed=msg.seed,
        started=started,
        duration=msg.duration,
        steps=msg.steps,
        labels=(label_from_msg(msg.outcome),) if known else (),
        facts=facts,
    )


# -- questions and answers ----------------------------------------------------------------------------------------


def question_from_msg(
    msg: QuestionMsg, catalogue: Catalogue, live_image: NDArray[np.uint8] | None = None
) -> Question:
    """Message to core.

    Args:
        msg: as it came.
        catalogue: parses the variation ids.
        live_image: newest camera frame, (H, W, 3) RGB; None = no camera.

    Raises:
        RobomdError: what was wrong with the question.
    """
    if msg.nominal and len(msg.variation_ids):
        raise InvalidArgumentError("nominal and variation_ids exclude each other: leave one out.")
    perturbation = None
    if msg.nominal or len(msg.variation_ids):
        perturbation = catalogue.perturbation(list(msg.variation_ids))
    image = image_from_msg(msg.image) if msg.image.width else None
    if msg.use_live_image:
        if live_image is None:
            raise NotReadyError("use_live_image: no camera frame has arrived yet.")
        image = live_image
    return Question(perturbation, msg.text, image)


def questions_from_msg(
    msgs: Sequence[QuestionMsg], catalogue: Catalogue, live_image: NDArray[np.uint8] | None = None
) -> list[Question]:
    """A request's questions; an error names the first question that is wrong."""
    if not 1 <= len(msgs) <= MAX_QUESTIONS:
        error = TooLargeError if len(msgs) else InvalidArgumentError
        raise error(f"{len(msgs)} questions; want 1 to {MAX_QUESTIONS}.")
    questions = []
    for index, msg in enumerate(msgs):
        try:
            questions.append(question_from_msg(msg, catalogue, live_image))
        except Exception as error:
            error.args = (f"question {index}: {error}",)
            raise
    return questions


def question_to_msg(question: Question) -> QuestionMsg:
    """Core to message."""
    msg = QuestionMsg(text=question.text)
    if question.perturbation is not None:
        msg.variation_ids = list(question.perturbation.ids)
        msg.nominal = not question.perturbation.variations
    if question.image is not None:
        msg.image = image_to_msg(question.image, Time())
    return msg


_ANSWER_FLOATS = {
    "p_failure": "p_failure", "p_failure_low": "p_low", "p_failure_high": "p_high",
    "log_density": "log_density", "density_ratio": "density_ratio",
    "log_density_untrained": "log_density_untrained",
    "distance": "distance", "distance_limit": "distance_limit",
    "effective_rollouts": "effective_rollouts",
}  # fmt: skip


def answer_to_msg(answer: Answer) -> FailureLikelihood:
    """Core to message."""
    perturbation = answer.question.perturbation
    msg = FailureLikelihood(
        question=int(answer.index),
        rank=int(answer.rank),
        perturbation_id=perturbation.id if perturbation is not None else "",
        sentence=answer.question.sentence,
        trusted=bool(answer.trusted),
        seen=bool(answer.seen),
        rollouts=int(answer.rollouts),
        failures=int(answer.failures),
    )
    for theirs, ours in _ANSWER_FLOATS.items():
        setattr(msg, theirs, float(getattr(answer, ours)))
    msg.evidence_ids = [e.rollout_id for e in answer.evidence]
    msg.evidence_outcomes = array("B", [int(e.outcome) for e in answer.evidence])
    msg.evidence_distances = array("d", [float(e.distance) for e in answer.evidence])
    return msg


def answer_from_msg(msg: FailureLikelihood, catalogue: Catalogue) -> Answer:
    """Message to core; the question comes back without its image."""
    perturbation = catalogue.perturbation(msg.perturbation_id) if msg.perturbation_id else None
    text = "" if perturbation and perturbation.sentence == msg.sentence else msg.sentence
    question = Question(perturbation, text or ("" if perturbation is not None else "(an image)"))
    evidence = zip(msg.evidence_ids, msg.evidence_outcomes, msg.evidence_distances, strict=True)
    return Answer(
        question=question,
        index=msg.question,
        rank=msg.rank,
        seen=msg.seen,
        rollouts=msg.rollouts,
        failures=msg.failures,
        evidence=tuple(Evidence(i, Outcome(o), d) for i, o, d in evidence),
        **{ours: getattr(msg, theirs) for theirs, ours in _ANSWER_FLOATS.items()},
    )


def risk_map_to_msg(risk_map: RiskMap, study: str) -> RiskMapMsg:
    """Core to message, stamped now."""
    quality = risk_map.quality
    msg = RiskMapMsg(
        study=study,
        policy_id=risk_map.policy_id,
        embedding_id=risk_map.embedding_id,
        search_id=risk_map.search_id,
        entries=[answer_to_msg(a) for a in risk_map.answers],
        rollouts=int(risk_map.rollouts),
        auc=float(quality.auc),
        auc_low=float(quality.auc_low),
        auc_high=float(quality.auc_high),
        auc_rollouts=int(quality.rollouts),
        calibration_error=float(quality.calibration_error),
        entropy=float(risk_map.entropy),
        failure_modes=int(risk_map.failure_modes),
        severity_index=float(risk_map.severity_index),
    )
    msg.header.stamp = stamps.wall()
    return msg


def risk_map_from_msg(msg: RiskMapMsg, catalogue: Catalogue) -> RiskMap:
    """Message to core."""
    return RiskMap(
        answers=tuple(answer_from_msg(entry, catalogue) for entry in msg.entries),
        quality=Quality(
            auc=msg.auc,
            auc_low=msg.auc_low,
            auc_high=msg.auc_high,
            calibration_error=msg.calibration_error,
            rollouts=msg.auc_rollouts,
        ),
        entropy=msg.entropy,
        failure_modes=msg.failure_modes,
        severity_index=msg.severity_index,
        rollouts=msg.rollouts,
        policy_id=msg.policy_id,
        embedding_id=msg.embedding_id,
        search_id=msg.search_id,
    )


def key_values(facts: dict[str, object]) -> list[KeyValue]:
    """A dictionary as diagnostic_msgs/KeyValue, floats with four significant digits."""
    return [
        KeyValue(key=str(k), value=f"{v:.4g}" if isinstance(v, float) else str(v))
        for k, v in facts.items()
    ]
