"""Kill -9 at random instants: every acknowledged label is there afterwards, and nothing half."""

import os
import random
import subprocess
import sys
import time

import pytest
from store_samples import make_study

from robomd_ros.core.outcome import Outcome
from robomd_ros.core.study import Study
from robomd_ros.recording import read_recording, verify_recording

WRITER = """
import sys
from store_samples import make_record, make_trace
from robomd_ros.core.outcome import Label, Outcome
from robomd_ros.core.study import Study
from robomd_ros.recording import commit_rollout

study = Study.open(sys.argv[1])
store, findings = study.open_store()
print("open", flush=True)
first = store.revision()[0]
for n in range(first, first + int(sys.argv[2])):
    rollout_id = f"r{n}"
    commit_rollout(study, store, make_record(rollout_id), make_trace(n))
    print("stored", rollout_id, flush=True)
    if n % 3 == 0:
        store.label(rollout_id, Label(Outcome.FAILURE, "operator", float(n)))
        print("relabelled", rollout_id, flush=True)
    if n % 6 == 0:
        store.undo(rollout_id, "operator", float(n))
        print("undone", rollout_id, flush=True)
"""


def write_and_kill(folder, count, delay):
    """Run the writer, kill it `delay` seconds after it opened the store, and return what it acknowledged."""
    here = os.path.dirname(__file__)
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(count)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([here, *sys.path])},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "open\n"
    if delay is not None:
        time.sleep(delay)
        child.kill()
    said, _ = child.communicate(timeout=120)
    lines = said.splitlines()
    if said and not said.endswith("\n"):
        lines.pop()  # killed while it was speaking
    return [tuple(line.split()) for line in lines]


def check_everything(folder, acknowledged):
    with Study.open(folder).store(read_only=True) as reader:  # also before any repair
        before = {r.id for r in reader.records()}
    study = Study.open(folder)
    store, findings = study.open_store()
    with store:
        records = {r.id: r for r in store.records()}
        assert before == set(records)
        for what, rollout_id in acknowledged:
            said = [e.label.outcome if e.label else None for e in store.history(rollout_id)]
            wanted = {"stored": 1, "relabelled": 2, "undone": 3}[what]
            assert said[:wanted] == [Outcome.SUCCESS, Outcome.FAILURE, None][:wanted]
    for record in records.values():
        verify_recording(study.recordings / record.recording)
        trace = read_recording(study.recordings / record.recording)
        assert (trace.frames[0] == record.first_frame).all()
    assert {p.stem for p in study.recordings.iterdir()} == set(records)
    assert study.check() == []
    for finding in findings:  # at most the one rollout that was under way
        assert finding.action in ("removed", "moved to quarantine"), finding
    return len(records)


@pytest.mark.parametrize("seed", range(2))
def test_kill_at_random_instants_during_200_writes(tmp_path, seed):
    folder, rng = tmp_path / "s", random.Random(seed)
    make_study(folder)
    acknowledged, kills = [], 0
    while kills < 4:
        acknowledged += write_and_kill(folder, 1000, rng.uniform(0.0, 0.25))
        kills += 1
        check_everything(folder, acknowledged)
    stored = sum(what == "stored" for what, _ in acknowledged)
    acknowledged += write_and_kill(folder, max(0, 100 - stored), None)
    assert check_everything(folder, acknowledged) >= 100
