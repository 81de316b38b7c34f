"""The supervisor of `robomd up` with real node processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from ros_graph import DEADLINE, until

SCRIPT = Path(__file__).with_name("up_two_nodes.py")


class Up:
    """A running supervisor and what it has written."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "up.log"
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(SCRIPT), str(folder / "study")],
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def text(self) -> str:
        return self.log.read_text()

    def ready(self, node: str) -> int:
        return len(re.findall(rf"^{node} +\| .*ready$", self.text(), re.MULTILINE))

    def children(self) -> dict[str, psutil.Process]:
        found = psutil.Process(self.process.pid).children()
        return {c.cmdline()[2].rsplit(".", 1)[-1]: c for c in found if len(c.cmdline()) > 2}


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    made = Up(tmp_path)
    yield made
    if made.process.poll() is None:
        made.process.kill()
        made.process.wait(DEADLINE)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_respawn_and_clean_stop(up: Up, stop: signal.Signals) -> None:
    until(lambda: up.ready("camera_capture") == 1 and up.ready("perturbation_tagger") == 1, 60)
    victim = up.children()["camera_capture"]
    victim.send_signal(signal.SIGKILL)
    until(lambda: up.ready("camera_capture") == 2, 60)
    assert "camera_capture      | was killed by signal 9; started again in 0.5 s" in up.text()
    children = up.children()
    assert children["camera_capture"].pid != victim.pid
    assert "__ns:=/cell" in " ".join(children["camera_capture"].cmdline())
    up.process.send_signal(stop)
    assert up.process.wait(60) == 0
    assert not [c for c in children.values() if c.is_running()]
    assert "Traceback" not in up.text()


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_children_do_not_outlive_a_killed_supervisor(up: Up) -> None:
    until(lambda: up.ready("camera_capture") and up.ready("perturbation_tagger"), 60)
    children = list(up.children().values())
    assert len(children) == 2
    os.kill(up.process.pid, signal.SIGKILL)
    up.process.wait(DEADLINE)
    _, alive = psutil.wait_procs(children, DEADLINE)
    assert not alive
