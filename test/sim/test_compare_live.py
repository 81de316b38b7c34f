"""Comparison and minimal sets with rollouts of the simulator in worker processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from robomd_ros.cli import main
from robomd_ros.core.errors import UnavailableError
from robomd_ros.core.study import Study
from robomd_ros.core.variations import Perturbation
from robomd_ros.recording.rollout_stream import RolloutStream
from sim_bridge.jobs import make_job

SERVO, LAZY = "python:red_servo:servo", "python:compare_policies:lazy"


def robomd(capfd, *arguments):
    code = main.run([*map(str, arguments)])
    said = capfd.readouterr()
    return code, said.out, said.err


def test_a_policy_that_does_nothing_is_worse_and_the_comparison_stops_early(tmp_path, capfd):
    arguments = ("compare", "--live", SERVO, LAZY, "--only", "nominal", "--in", tmp_path, "--json")
    code, out, _ = robomd(capfd, *arguments)
    found = json.loads(out)
    assert (code, found["verdict"]) == (1, "worse")
    assert 14 <= found["rollouts"] <= 40  # of 600; 2^9 / 9 > 40 after 8 pairs that all agree
    assert "2 rollouts without actions failed" in found["notes"][1]
    assert "4 of 4 ended alike" in found["notes"][1]

    stored = {side: Study.open(tmp_path / side).store(read_only=True).revision() for side in "ab"}
    again = json.loads(robomd(capfd, *arguments)[1])  # every rollout is read, none is run
    assert again == found
    assert stored == {s: Study.open(tmp_path / s).store(read_only=True).revision() for s in "ab"}
    offline = json.loads(robomd(capfd, "compare", tmp_path / "a", tmp_path / "b", "--json")[1])
    assert (offline["verdict"], offline["paired"]) == ("worse", True)

    code, _, err = robomd(capfd, "compare", "--live", LAZY, SERVO, "--in", tmp_path)
    assert code == 3
    assert "choose another --in" in err


def test_the_minimal_set_is_the_colour_that_hides_the_cube(tmp_path, capfd):
    arguments = ("minimize", "cube_green+table_long", "--policy", SERVO, "--in", tmp_path / "s", "--json")  # fmt: skip
    code, out, _ = robomd(capfd, *arguments)
    found = json.loads(out)
    assert code == 0
    assert (found["minimal"], found["complete"], found["proven"]) == ("cube_green", True, True)
    assert found["rollouts"] == sum(t["rollouts"] for t in found["tested"])
    assert json.loads(robomd(capfd, *arguments)[1]) == found


TWO_AND_MORE = "cube_green+light_grey+robot_grey+table_long"
"""Takes so many rollouts that Ctrl-C comes before the end."""


def test_ctrl_c_shows_what_is_known_and_the_rest_goes_on_later(tmp_path):
    command = [sys.executable, "-m", "robomd_ros.cli.main", "minimize", TWO_AND_MORE]
    command += ["--policy", SERVO, "--workers", "1", "--in", str(tmp_path / "s")]
    here = str(Path(__file__).parent)
    process = subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": here, "COLUMNS": "200"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    try:
        wait_for_rollouts(tmp_path / "s", 2, process)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "what is known so far" in err
    assert "Traceback" not in err
    assert TWO_AND_MORE in out


def wait_for_rollouts(folder, count, process, deadline=120.0):
    """Until the study holds so many."""
    ends, pause = time.monotonic() + deadline, threading.Event()
    while rollouts_in(folder) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < ends, "no rollouts"
        pause.wait(0.1)


def rollouts_in(folder):
    if not (folder / "study.json").is_file():
        return 0
    with Study.open(folder).store(read_only=True) as store:
        return store.revision()[0]


def test_a_worker_that_dies_is_said_in_a_sentence():
    jobs = [make_job(Perturbation(), 13, "manual")]
    with (
        RolloutStream("python:red_servo:dies", "lift", "Panda") as stream,
        pytest.raises(UnavailableError, match="a process that ran policy python:red_servo:dies"),
    ):
        list(stream.records(jobs))


def test_a_policy_that_breaks_down_ends_the_comparison(capfd):
    code, _, err = robomd(capfd, "compare", "--live", SERVO, "python:red_servo:raises", "--only", "nominal")  # fmt: skip
    assert code == 3
    assert "rollouts ended without success or failure" in err
    assert "out of ideas" in err
