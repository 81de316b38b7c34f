"""The one way a rollout gets into a study: the recording first, then the row that names it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

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

    The first frame and the number of frames are taken from the trace where the record has none.

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
        frame = trace.frames[0] if record.first_frame is None else record.first_frame
        record = replace(record, first_frame=frame, frames=record.frames or len(trace.frames))
    if store.holds(record.id):
        return store.add(record)  # the same once more, or an error
    if trace is None or not keep_recording:
        return store.add(replace(record, recording=""))
    info = {
        "perturbation_id": record.perturbation.id,
        "sentence": record.perturbation.sentence,
        "task": record.task,
        "robot": record.robot,
        "policy_id": record.policy_id,
        "purpose": record.purpose,
        "seed": str(record.seed),
    }
    name = write_recording(trace, study.recordings, record.id, info)
    try:
        return store.add(replace(record, recording=name))
    except BaseException:
        with suppress(OSError):
            (study.recordings / name).unlink()
        raise
