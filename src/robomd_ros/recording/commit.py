"""The one way a rollout gets into a study: the recording first, then the row that names it."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from robomd_ros.core.assembly import FRAME_0
from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.files import write_atomic
from robomd_ros.core.records import RolloutRecord, Trace
from robomd_ros.core.store import RolloutStore
from robomd_ros.core.study import Study
from robomd_ros.recording.writer import write_recording


def commit_rollout(
    study: Study,
    store: RolloutStore,
    record: RolloutRecord,
    trace: Trace | None = None,
    keep_recording: bool = True,
) -> RolloutRecord:
    """Store a rollout; when this returns, its recording, first frame and labels are on the disk.

    The first frame and the number of frames are taken from the trace where the record has none; a record whose facts say
    that frame 0 was lost gets none, since a later frame shows the outcome.

    Args:
        study: where the recording goes.
        store: the open writer of the same study.
        record: its `recording` is filled in here.
        trace: the time series; None = nothing to record.
        keep_recording: False = the row and its first frame only.

    Returns:
        The record as stored.

    Raises:
        InvalidArgumentError: another rollout has this id, or a field is out of range.
        StorageError: disk full or not writable; neither recording nor row remains, and it can be tried again.
    """
    if trace is not None:
        frame = record.first_frame
        if frame is None and len(trace.frames) and record.facts.get(FRAME_0) != "lost":
            frame = trace.frames[0]
        record = replace(record, first_frame=frame, frames=record.frames or len(trace.frames))
    if store.holds(record.id):
        return store.add(record)  # the same once more, or an error
    if trace is None or not keep_recording:
        return store.add(replace(record, recording=""))
    name = write_recording(trace, study.recordings, record.id, _info(record))
    try:
        return store.add(replace(record, recording=name))
    except BaseException:
        with suppress(OSError):
            (study.recordings / name).unlink()
        raise


def set_aside(study: Study, record: RolloutRecord, trace: Trace, reason: str) -> Path:
    """Write the recording of a rollout that the store refused to quarantine/, with the reason beside it.

    Raises:
        StorageError: disk full or not writable; it can be tried again.
    """
    facts = f"{record.perturbation.id}, policy {record.policy_id}, cell {record.facts.get('cell', '')!r}"
    with suppress(OSError):
        study.quarantine.mkdir(exist_ok=True)
    name = write_recording(trace, study.quarantine, f"{record.id}.{time.time_ns()}", _info(record))
    path = study.quarantine / name
    write_atomic(path.with_name(f"{name}.reason.txt"), f"{reason} ({facts})\n".encode())
    return path


def attach_recording(
    study: Study, store: RolloutStore, replay: RolloutRecord, trace: Trace
) -> RolloutRecord:
    """Give a stored rollout the recording of its replay, if that is the same rollout again.

    Raises:
        UnknownIdError: no such rollout.
        InvalidArgumentError: the replay began with another frame, took other steps, or ended otherwise.
    """
    stored = store.get(replay.id)
    first_label = stored.labels[0].outcome if stored.labels else replay.outcome
    same_start = stored.first_frame is None or np.array_equal(stored.first_frame, trace.frames[0])
    if not same_start or (stored.steps, first_label) != (replay.steps, replay.outcome):
        raise InvalidArgumentError(
            f"the replay of rollout {replay.id} is another rollout ({replay.outcome.name} after {replay.steps} steps, "
            f"stored: {first_label.name} after {stored.steps}): other policy, versions or renderer?"
        )
    name = write_recording(trace, study.recordings, stored.id, _info(stored))
    return store.set_recording(stored.id, name)


def _info(record: RolloutRecord) -> dict[str, str]:
    return {
        "perturbation_id": record.perturbation.id,
        "sentence": record.perturbation.sentence,
        "task": record.task,
        "robot": record.robot,
        "policy_id": record.policy_id,
        "purpose": record.purpose,
        "seed": str(record.seed),
        # Whoever imports the recording must not take a later frame for frame 0.
        **{key: value for key, value in record.facts.items() if key == FRAME_0},
    }
