"""kill -9 at every node in the middle of a live session: it ends anyway, and every label that was announced is stored."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from robomd_ros.core.study import Study
from robomd_ros.recording import read_recording

pytest.importorskip("rclpy", reason="rclpy is not installed")

ROLLOUTS = 18
VICTIMS = (
    "sim_bridge",
    "outcome_labeler",
    "camera_capture",
    "perturbation_tagger",
    "search_service",
    "embedding_service",
    "risk_overlay",
    "diagnosis",
)


class Session:
    """`robomd up --diagnose` in a process group of its own."""

    def __init__(self, folder: Path) -> None:
        self.study, self.log = folder / "study", folder / "up.log"
        command = "import sys; from robomd_ros.cli.main import main; sys.argv[0] = 'robomd'; main()"
        arguments = [
            "up",
            "--study",
            str(self.study),
            "--diagnose",
            str(ROLLOUTS),
            "--stop-when-done",
        ]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", command, *arguments],
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def stored(self) -> list[str]:
        """Rollouts whose storing was announced."""
        return re.findall(r"stored (\S+): ", self.text())

    def kill(self, node: str) -> None:
        for child in psutil.Process(self.process.pid).children():
            if f"__node:={node}" in child.cmdline():
                child.send_signal(signal.SIGKILL)
                child.wait(10)
                return
        raise AssertionError(f"{node} is not running")

    def until(self, condition: Callable[[], object], timeout: float) -> None:
        deadline, pause = time.monotonic() + timeout, threading.Event()
        while not condition():
            assert time.monotonic() < deadline, self.text()[-4000:]
            pause.wait(0.2)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    made = Session(tmp_path)
    yield made
    if made.process.poll() is None:
        os.killpg(made.process.pid, signal.SIGKILL)
        made.process.wait(20)


@pytest.mark.timeout(600)
def test_a_session_survives_the_death_of_each_node(session: Session) -> None:
    for number, victim in enumerate(VICTIMS):
        session.until(lambda n=number: len(session.stored()) > 2 * n, 240)
        session.kill(victim)
    session.until(lambda: session.process.poll() is not None, 300)
    text = session.text()
    assert session.process.returncode == 0, text[-4000:]

    with Study.open(session.study).store(read_only=True) as store:
        rows = {r.id: r for r in store.records(with_frames=False)}
    announced = session.stored()
    assert set(announced) <= set(rows)
    assert all(rows[i].labels for i in announced)
    # Each number of the session is there; a rollout that was cut off may be there twice, under another try.
    numbers = Counter(i.rsplit("-", 2)[1] for i in rows)
    assert len(numbers) == ROLLOUTS, numbers
    # Nothing half: a recording is there whole, and missing only where the camera's frames were lost.
    for row in rows.values():
        assert row.recording or row.frames < row.frames_expected
        if row.recording:
            trace = read_recording(session.study / "recordings" / row.recording)
            assert len(trace.frames) == row.frames
