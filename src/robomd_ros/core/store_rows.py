"""A rollout record as rows of the store, and back."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError, StorageError, TooLargeError
from robomd_ros.core.outcome import Control, Label, Outcome
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.variations import Perturbation, Variation

MAX_TEXT = 10_000
"""Characters of one text field."""
MAX_FACTS = 64
"""Entries of `facts`."""

Row = dict[str, Any]
_INT64 = 2**63 - 1


def record_row(record: RolloutRecord) -> Row:
    """The columns of table `rollouts`, checked; `digest` covers all of them but the recording's name."""
    row: Row = {
        "id": record.id,
        "perturbation_id": _text("perturbation id", record.perturbation.id),
        "variations": _variations_json(record.perturbation),
        "sentence": _text("sentence", record.perturbation.sentence),
        "task": _text("task", record.task),
        "robot": _text("robot", record.robot),
        "policy_id": _text("policy_id", record.policy_id),
        "purpose": record.purpose,
        "control": int(record.control),
        "facts": _facts_json(record.facts),
    }
    for name in ("started", "duration"):
        row[name] = _finite(name, getattr(record, name))
    for name in ("seed", "steps", "frames", "frames_expected"):
        row[name] = _integer(name, getattr(record, name))
    frame = record.first_frame
    row["pixels_sha256"] = "" if frame is None else pixels_sha256(frame)
    return row | {
        "digest": row_digest(row),
        "recording": _text("recording", record.recording),
    }


def label_row(rollout_id: str, label: Label) -> Row:
    """The columns of a label in table `labels`, checked."""
    if label.outcome is Outcome.UNKNOWN:
        raise InvalidArgumentError(
            "a label says SUCCESS, FAILURE, INVALID, SAFETY_STOP, TIMEOUT or POLICY_ERROR, not UNKNOWN: "
            "undo the newest label instead."
        )
    return _entry(rollout_id, label, None)


def undo_row(rollout_id: str, labeler: str, stamp: float, undoes: int) -> Row:
    """The columns of an entry of table `labels` that takes entry `undoes` back."""
    return _entry(rollout_id, Label(Outcome.UNKNOWN, labeler, stamp), undoes)


def _entry(rollout_id: str, label: Label, undoes: int | None) -> Row:
    row: Row = {
        "rollout_id": rollout_id,
        "outcome": int(label.outcome),
        "labeler": _text("labeler", label.labeler),
        "stamp": _finite("stamp", label.stamp),
        "reason": _text("reason", label.reason),
        "phase": _text("phase", label.phase),
        "undoes": undoes,
        "second_look": int(label.second_look),
    }
    return row | {"digest": row_digest(row)}


def row_digest(row: Mapping[str, Any]) -> str:
    """Hash of the columns that never change: all but the row's number and the recording's name.

    A `second_look` of 0 is left out, so that rows and journals of schema 1, which had no such column, keep their hash.
    """
    fixed = sorted(
        (k, v)
        for k, v in row.items()
        if k not in ("seq", "recording", "digest") and (k != "second_look" or v)
    )
    return hashlib.sha256(json.dumps(fixed).encode()).hexdigest()


def read_label(row: Mapping[str, Any]) -> Label:
    """The label of a row of table `labels`. Raises StorageError when it is damaged."""
    try:
        outcome = Outcome(row["outcome"])
    except ValueError as error:
        raise StorageError(
            f"a label of rollout {row['rollout_id']!r} is damaged: {error}"
        ) from error
    return Label(
        outcome,
        row["labeler"],
        row["stamp"],
        row["reason"],
        row["phase"],
        bool(row.get("second_look", 0)),  # schema 1 had none
    )


def read_record(
    row: Mapping[str, Any], labels: Sequence[Label], frame: NDArray[np.uint8] | None
) -> RolloutRecord:
    """The record of a row of table `rollouts`; `labels` are all that stand, second looks included.

    Raises:
        StorageError: the row is damaged.
    """
    try:
        variations = tuple(
            Variation(v["factor"], v["id"], tuple(v["value"]), v["sentence"])
            for v in json.loads(row["variations"])
        )
        return RolloutRecord(
            id=row["id"],
            perturbation=Perturbation(variations),
            control=Control(row["control"]),
            first_frame=frame,
            labels=tuple(label for label in labels if not label.second_look),
            second_looks=tuple(label for label in labels if label.second_look),
            facts=json.loads(row["facts"]),
            **{name: row[name] for name in _PLAIN},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(f"rollout {row['id']!r} of the store is damaged: {error}") from error


def pixels_sha256(frame: NDArray[np.uint8]) -> str:
    """Hash of a frame's size and pixels, independent of how they are compressed."""
    head = "x".join(map(str, frame.shape)).encode()
    return hashlib.sha256(head + np.ascontiguousarray(frame).tobytes()).hexdigest()


_PLAIN = (
    "task", "robot", "policy_id", "purpose", "seed", "started", "duration", "steps", "frames",
    "frames_expected", "recording",
)  # fmt: skip


def _variations_json(perturbation: Perturbation) -> str:
    return json.dumps(
        [
            {
                "factor": v.factor,
                "id": v.id,
                "value": [float(x) for x in v.value],
                "sentence": v.sentence,
            }
            for v in perturbation.variations
        ]
    )


def _facts_json(facts: Mapping[str, str]) -> str:
    if len(facts) > MAX_FACTS:
        raise TooLargeError(f"{len(facts)} facts; at most {MAX_FACTS} a rollout.")
    checked = {_text("fact", k): _text(f"fact {k!s:.40}", v) for k, v in facts.items()}
    return json.dumps(dict(sorted(checked.items())))


def _text(name: str, value: str) -> str:
    if not isinstance(value, str):
        raise InvalidArgumentError(f"{name} wants a text, got {type(value).__name__}.")
    if len(value) > MAX_TEXT:
        raise TooLargeError(f"{name} of {len(value)} characters; at most {MAX_TEXT}.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(f"{name} is no valid Unicode text: {error}") from error
    return value


def _finite(name: str, value: float) -> float:
    if not math.isfinite(value):
        raise InvalidArgumentError(f"{name} wants a finite number of seconds, got {value}.")
    return float(value) + 0.0  # SQLite keeps no sign of zero


def _integer(name: str, value: int) -> int:
    number = int(value)
    if number != value or not -1 <= number <= _INT64:
        raise InvalidArgumentError(f"{name} wants an integer from -1 to {_INT64}, got {value}.")
    return number
