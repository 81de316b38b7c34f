"""Small rollouts for the tests of the store, the study and the recordings."""

import numpy as np

from robomd_ros.core.outcome import Label, Outcome
from robomd_ros.core.records import RolloutRecord, Trace
from robomd_ros.core.study import Study, StudyMeta
from robomd_ros.core.variations import load_catalogue

META = StudyMeta("lift", "Panda", "bc-test")
LIFT = load_catalogue("lift")


def make_study(folder):
    return Study.create(folder, META)


def make_trace(seed=0, frames=4, size=8, joints=2):
    rng = np.random.default_rng(seed)
    stamps = 0.1 * np.arange(frames)
    return Trace(
        stamps=stamps,
        frames=rng.integers(0, 256, (frames, size, size, 3), dtype=np.uint8),
        joint_names=tuple(f"joint_{n}" for n in range(joints)),
        joint_stamps=stamps,
        joint_positions=rng.normal(size=(frames, joints)),
        joint_velocities=rng.normal(size=(frames, joints)),
        actions=rng.normal(size=(frames - 1, 4)).astype(np.float32),
    )


def make_record(rollout_id, variation="cube_red", outcome=Outcome.SUCCESS, frame=None, **fields):
    labels = () if outcome is Outcome.UNKNOWN else (Label(outcome, "sim", 1.5),)
    return RolloutRecord(
        rollout_id,
        LIFT.perturbation(variation),
        "lift",
        "Panda",
        "bc-test",
        first_frame=frame,
        labels=labels,
        **fields,
    )


def same(a, b):
    """Records compare by value, arrays included."""
    if a.first_frame is None or b.first_frame is None:
        pixels = a.first_frame is b.first_frame
    else:
        pixels = np.array_equal(a.first_frame, b.first_frame)
    return pixels and vars_without_frame(a) == vars_without_frame(b)


def vars_without_frame(record):
    return {k: v for k, v in vars(record).items() if k != "first_frame"} | {
        "facts": dict(record.facts)
    }
