"""The whole real-cell graph against the stand-in, in processes of their own, with faults; `robomd rehearse` judges it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import ur_interfaces

from robomd_ros.core.outcome import Outcome
from robomd_ros.core.study import Study
from robomd_ros.recording.reader import verify_recording

FEW = "3:protective_stop,4:frozen_camera,6:emergency_stop,7:lost_network,9:joint_jump"


def rehearse(folder: Path, *arguments: str, env: dict[str, str]) -> tuple[int, list[dict], str]:
    done = subprocess.run(
        [sys.executable, "-m", "robomd_ros.cli.main", "rehearse", "--json", "--study", str(folder), *arguments],
        env=env, capture_output=True, text=True, timeout=1200, check=False,
    )  # fmt: skip
    start = done.stdout.find("[\n {")
    rows = json.JSONDecoder().raw_decode(done.stdout[start:])[0] if start >= 0 else []
    return done.returncode, rows, done.stdout[-1500:] + done.stderr[-1500:]


def check(folder: Path, code: int, rows: list[dict], said: str, faults: str) -> None:
    log = folder / "nodes.log"
    assert code == 0, said + (log.read_text()[-3000:] if log.is_file() else "")
    planned = dict(part.split(":") for part in faults.split(","))
    assert {str(r["rollout"]): r["fault"] for r in rows if r["fault"]} == planned
    assert [r["commands_after_end"] for r in rows] == [0] * len(rows)
    moved = [r for r in rows if r["perturbation"] != "nominal" or r["fault"]]
    assert all(r["commands"] > 0 for r in moved)  # the watch heard them
    with Study.open(folder).store(read_only=True) as store:
        records = {r.id: r for r in store.records()}
    assert len(records) == len(rows)
    assert Outcome.UNKNOWN not in {r.outcome for r in records.values()}
    assert {r.outcome for r in records.values() if r.is_evidence} <= {
        Outcome.SUCCESS,
        Outcome.FAILURE,
    }
    for record in records.values():  # kept and whole, also where the arm was stopped
        verify_recording(folder / "recordings" / record.recording)
    evidence = sum(r.is_evidence for r in records.values())
    assert evidence < len(records) - len(planned)  # the negative control is none either
    report = (folder / "report" / "index.html").read_text()
    assert f"<b>{evidence}</b><span>rollouts are evidence" in report


@pytest.mark.timeout(1300)
def test_faults_end_as_they_must_with_the_messages_of_a_ur_driver(tmp_path):
    env = os.environ | ur_interfaces.environment()
    result = rehearse(tmp_path, "--rollouts", "10", "--faults", FEW, env=env)
    check(tmp_path, *result, FEW)


@pytest.mark.slow
@pytest.mark.timeout(1300)
def test_twenty_rollouts_as_a_newcomer_runs_them(tmp_path):
    from robomd_ros.cli.rehearse import FAULTS

    check(tmp_path, *rehearse(tmp_path, env=dict(os.environ)), FAULTS)
