"""A real browser, a console in a process that can be killed, and a cell in another one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("robomd_msgs", reason="robomd_msgs is not built")
pytest.importorskip("playwright", reason="playwright is not installed")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ros"))  # ros_graph

from harness import CELL, CHROMIUM, FLAGS, PATIENCE, Console, child
from ros_graph import until


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return tmp_path / "study"


@pytest.fixture
def cell(study: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """operator_cell.py until the end of the test."""
    log = tmp_path / "cell.log"
    process = child(str(CELL), str(study), "0.4", log=log)
    until(lambda: process.poll() is not None or "cell is up" in log.read_text(), PATIENCE)
    assert process.poll() is None, log.read_text()
    yield process
    process.terminate()
    assert process.wait(PATIENCE) == 0, log.read_text()


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    made = Console(tmp_path, second_look_share=1.0)
    made.wait()
    yield made
    made.kill()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, started once."""
    if CHROMIUM is None:
        pytest.skip(
            "no Chromium is installed (Debian package chromium): the console was not tested"
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield made
        made.close()
