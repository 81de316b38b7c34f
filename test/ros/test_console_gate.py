"""operator_console over HTTP: who is let in, what is answered without a browser, and how the process ends."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from ros_graph import DEADLINE, Graph, until
from synthetic_cell import STEP, SyntheticCell

from robomd_ros.console.gate import is_loopback, kept_token

WEBSOCKET = "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


class Console:
    """operator_console as a process on a port of its own choice."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        private = ("_ROS_WHEELS_BOOTSTRAP_COMPLETE", "PYTEST_CURRENT_TEST")
        environment = {k: v for k, v in os.environ.items() if k not in private}
        environment["XDG_STATE_HOME"] = str(folder)
        flat = [part for argument in arguments for part in ("-p", argument)]
        self.log = folder / "console.log"
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "robomd_ros.nodes.operator_console", "--ros-args", *flat],
                stdout=out,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    def address(self) -> re.Match[str]:
        def found() -> re.Match[str] | None:
            assert self.process.poll() is None, self.log.read_text()
            return re.search(r"console at http://(\S+):(\d+)/(\S*)", self.log.read_text())

        return until(found, 30.0)

    def ask(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers in lower case, body; the Host header is this machine unless given."""
        connection = http.client.HTTPConnection("127.0.0.1", int(self.address()[2]), timeout=20)
        try:
            connection.request(
                method, path, headers={k.replace("_", "-"): v for k, v in headers.items()}
            )
            answer = connection.getresponse()
            fields = {k.lower(): v for k, v in answer.getheaders()}
            body = b"" if answer.status == 101 else answer.read()
            return answer.status, fields, body
        finally:
            connection.close()


ONE_DOMAIN = True
"""The nodes here are shared by all tests."""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    made = Console(tmp_path_factory.mktemp("plain"), "port:=0")
    yield made
    made.process.kill()
    made.process.wait()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    made = Console(tmp_path_factory.mktemp("guarded"), "port:=0", "token:=open-sesame")
    yield made
    made.process.kill()
    made.process.wait()


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", {}, 200),
        ("/second-look", {}, 200),
        ("/static/console.js", {}, 200),
        (WEBSOCKET, UPGRADE, 101),
        ("/", {"Host": "robot-lab.example:8090"}, 403),  # a name that somebody pointed here
        (WEBSOCKET, {**UPGRADE, "Origin": "https://evil.example"}, 403),
        (WEBSOCKET, {**UPGRADE, "Origin": "null"}, 403),
        ("/film/..%2f..%2fetc%2fpasswd.webp", {}, 404),
        ("/film/none.webp", {}, 404),
        ("/openapi.json", {}, 404),
    ],
)
def test_without_a_token_this_machine_only(
    plain: Console, path: str, headers: dict[str, str], status: int
) -> None:
    assert plain.ask(path, **headers)[0] == status


def test_a_page_of_another_site_cannot_press_stop(plain: Console) -> None:
    assert plain.ask("/stop", "POST", Origin="https://evil.example")[0] == 403
    assert plain.ask("/stop", "GET")[0] in (404, 405)


def test_the_stop_says_that_nobody_could_be_told(plain: Console) -> None:
    status, _, body = plain.ask("/stop", "POST")
    assert status == 503
    assert "nobody serves /robomd/operator/stop" in json.loads(body)["said"]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/", {}),
        ("/?token=wrong", {}),
        ("/second-look", {}),
        ("/camera.jpg", {}),
        ("/reference/nominal.png", {}),
        ("/film/r1.webp", {}),
        ("/static/console.js", {}),
        ("/_nicegui/auto-index", {}),
        (WEBSOCKET, UPGRADE),
        ("/", {"Cookie": "robomd_console=open-sesame"}),
        ("/", {"Cookie": "robomd_console="}),
    ],
)
def test_with_a_token_everything_wants_it(
    guarded: Console, path: str, headers: dict[str, str]
) -> None:
    assert guarded.ask(path, **headers)[0] == 403
    assert guarded.ask("/stop", "POST")[0] == 403


def test_the_token_becomes_a_cookie(guarded: Console) -> None:
    status, headers, _ = guarded.ask("//evil.example/?a=1&token=open-sesame")
    assert (status, headers["location"]) == (303, "/evil.example/?a=1")
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "open-sesame" not in cookie
    with_it = {"Cookie": cookie.split(";")[0]}
    assert guarded.ask("/", **with_it)[0] == 200
    assert guarded.ask(WEBSOCKET, **with_it, **UPGRADE)[0] == 101
    assert guarded.ask("/", Host="robot-lab.example", **with_it)[0] == 200
    assert guarded.ask("/stop", "POST", Origin="https://evil.example", **with_it)[0] == 403


def test_another_address_makes_a_token_that_stays(tmp_path: Path) -> None:
    tokens = []
    for _ in range(2):
        console = Console(tmp_path, "port:=0", "host:=0.0.0.0")
        tokens.append(console.address()[3])
        assert console.ask("/")[0] == 403
        assert console.ask(f"/{tokens[-1]}")[0] == 303
        console.process.kill()
        console.process.wait()
    assert tokens[0] == tokens[1]
    assert len(tokens[0]) > len("?token=") + 20
    assert (tmp_path / "robomd" / "console_token").stat().st_mode & 0o077 == 0


def test_kept_token_is_not_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "robomd").mkdir()
    (tmp_path / "robomd" / "console_token").write_text("")  # a disk that was full
    assert len(kept_token()) > 20


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("localhost", True),
        ("0.0.0.0", False), ("192.168.1.4", False), ("localhost.evil.example", False), ("", False),
    ],
)  # fmt: skip
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly_with_a_page_open(tmp_path: Path, by: signal.Signals) -> None:
    console = Console(tmp_path, "port:=0")
    port = int(console.address()[2])
    until(lambda: "ready" in console.log.read_text())
    with socket.create_connection(("127.0.0.1", port)) as page:
        lines = [f"GET {WEBSOCKET} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
        lines += [f"{k}: {v}" for k, v in UPGRADE.items()]
        page.sendall("\r\n".join([*lines, "", ""]).encode())
        assert b"101" in page.recv(100)
        console.process.send_signal(by)
        assert console.process.wait(DEADLINE) == 0, console.log.read_text()
    assert "Traceback" not in console.log.read_text()


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        console = Console(tmp_path, f"port:={taken.getsockname()[1]}")
        assert console.process.wait(DEADLINE) == 2
    assert "the console cannot listen on 127.0.0.1:" in console.log.read_text()
    assert "Traceback" not in console.log.read_text()


def test_the_camera_is_the_newest_frame(graph: Graph, plain: Console) -> None:
    assert plain.ask("/camera.jpg")[0] == 204
    cell = graph.add(SyntheticCell)
    sent = itertools.count(10)

    def newest() -> bool:
        for value in (0, 200, 40):
            cell.image(next(sent) * STEP, np.full((24, 32, 3), value, np.uint8))
        status, headers, body = plain.ask("/camera.jpg")
        if status != 200:
            return False
        assert headers["cache-control"] == "no-store"
        shown = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
        assert shown.shape == (24, 32, 3)
        return abs(float(shown.mean()) - 20) < 2

    until(newest)
    number = plain.ask("/camera.jpg")[1]["x-number"]
    assert plain.ask(f"/camera.jpg?after={number}")[0] == 204
