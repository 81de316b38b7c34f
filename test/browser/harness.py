"""Processes of the browser tests, and the person at a page."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ros_graph import until

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
CELL = Path(__file__).with_name("operator_cell.py")
PATIENCE = 30.0
"""Seconds after which something that should have happened counts as missing."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def child(*command: str, log: Path) -> subprocess.Popen[bytes]:
    """`python COMMAND` in this test's ROS domain."""
    private = ("_ROS_WHEELS_BOOTSTRAP_COMPLETE", "PYTEST_CURRENT_TEST")
    environment = {k: v for k, v in os.environ.items() if k not in private}
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, *command], stdout=out, stderr=subprocess.STDOUT, env=environment
        )


class Console:
    """operator_console as a process; it keeps its port when it is started again."""

    def __init__(self, folder: Path, **parameters: object) -> None:
        self.log = folder / "console.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self._parameters = {"port": self.port, **parameters}
        self.start()

    def start(self) -> None:
        flat = [a for k, v in self._parameters.items() for a in ("-p", f"{k}:={v}")]
        self.process = child(
            "-m", "robomd_ros.nodes.operator_console", "--ros-args", *flat, log=self.log
        )

    def wait(self) -> None:
        until(self.answers, PATIENCE)

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            with urllib.request.urlopen(self.url, timeout=5):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)

    def stop(self, by: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(by)
        return self.process.wait(PATIENCE)


class Operator:
    """A person at one page: presses keys, waits for what the page shows."""

    def __init__(self, browser: Any, url: str, name: str = "Ada", **context: Any) -> None:
        self.context = browser.new_context(viewport={"width": 820, "height": 1180}, **context)
        self.context.set_default_timeout(1000 * PATIENCE)
        self.page = self.context.new_page()
        self.hosts: set[str] = set()
        self.problems: list[str] = []
        self.page.on("request", lambda r: self.hosts.add(_host(r.url)))
        self.page.on("pageerror", lambda e: self.problems.append(str(e)))
        self.url = url
        self.page.goto(url)
        if name:
            self.page.wait_for_selector(".ask input")
            self.wait_connected()
            self.page.wait_for_function("document.activeElement?.closest('.ask') !== null")
            self.press(*name, "Enter")
            self.gone(".ask")

    def wait_connected(self) -> None:
        self.page.wait_for_function("window.did_handshake === true && window.robomd !== undefined")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def sees(self, selector: str, text: str = "") -> Any:
        found = self.page.locator(selector).filter(has_text=text).filter(visible=True).first
        found.wait_for(state="visible")
        return found

    def gone(self, selector: str) -> None:
        self.page.locator(selector).first.wait_for(state="hidden")

    def tab_to(self, selector: str) -> None:
        """Reach an element as somebody without a mouse does."""
        for _ in range(80):
            if self.page.evaluate(f"document.activeElement?.closest('{selector}') !== null"):
                return
            self.press("Tab")
        raise AssertionError(f"no way to {selector} by Tab")

    def start(self, rollouts: int) -> None:
        self.sees("[data-act=start]")
        self.tab_to(".session-start input")
        self.press("Control+a", *str(rollouts))
        self.tab_to("[data-act=start]")
        self.press("Enter")

    def run_one(self) -> str:
        """Set up, consent, watch; the id of the rollout that now waits for its label."""
        self.sees(".request.set-up")
        self.press("d")
        self.sees(".request.consent")
        self.press("d")
        self.sees("[data-act=success]")
        return str(self.shown("rollout"))

    def shown(self, name: str) -> Any:
        return self.page.evaluate(f"document.querySelector('.shown').dataset.{name}")

    def stored(self) -> list[float]:
        """Milliseconds from key to told, of each label since the page was loaded."""
        return self.page.evaluate(
            "robomd.latencies.filter(l => l.text.startsWith('stored')).map(l => l.ms)"
        )

    def label(self, key: str) -> float:
        """Press the key; milliseconds until it was stored."""
        before = len(self.stored())
        self.press(key)
        until(lambda: len(self.stored()) > before, PATIENCE)
        return self.stored()[-1]


def _host(url: str) -> str:
    """Where a request goes; a blob: stays in the page."""
    return urlsplit(url.removeprefix("blob:")).netloc
