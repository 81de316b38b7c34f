"""`robomd label --watch` as an operator uses it: a process of its own in a pseudo-terminal, against real nodes."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from operator_cell import OperatorCell
from ros_graph import Graph, until

from robomd_msgs.msg import CellState, OperatorRequest, SetupCheck
from robomd_msgs.srv import AnswerRequest
from robomd_ros.core.outcome import Label, Outcome
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.study import Study, StudyMeta
from robomd_ros.core.variations import Perturbation
from robomd_ros.nodes.outcome_labeler import OutcomeLabelerNode

COMMAND = [sys.executable, "-m", "robomd_ros.cli.main", "label"]


class Terminal:
    """A process in a pseudo-terminal, and what it has written."""

    def __init__(self, *arguments: str) -> None:
        self._master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
        )
        self.text = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 4096)
            except OSError:
                return
            self.text += data.decode(errors="replace")

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def shows(self, text: str) -> None:
        """Wait for a piece of text."""
        until(lambda: text in self.text)

    def press_until(self, key: str, condition: Callable[[], object]) -> None:
        """Press a key, and again where it was too early to be meant."""
        refused = self.text.count("just appeared")
        self.type(key)

        def done() -> bool:
            nonlocal refused
            if (seen := self.text.count("just appeared")) > refused:
                refused = seen
                self.type(key)
            return bool(condition())

        until(done)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(20)
        os.close(self.slave)
        self._reader.join(20)
        os.close(self._master)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    made = Study.create(tmp_path / "study", StudyMeta("lift", "UR5e", "policy-1"))
    frame = np.zeros((8, 8, 3), np.uint8)
    with made.store() as store:
        for number in range(2):
            store.add(
                RolloutRecord(
                    f"r{number}", Perturbation(), "lift", "UR5e", "policy-1",
                    started=10.0 + number, first_frame=frame,
                )
            )  # fmt: skip
    return made


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        opened.append(Terminal(*arguments))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def outcome(study: Study, rollout_id: str) -> Outcome:
    with study.store(read_only=True) as store:
        return store.get(rollout_id).outcome


def test_an_operator_at_a_terminal(
    graph: Graph, study: Study, terminal: Callable[..., Terminal]
) -> None:
    cell = graph.add(OperatorCell)
    graph.add(OutcomeLabelerNode, study=str(study.folder))
    screen = terminal("--watch", "--labeler", "ann")
    screen.shows("ann: Space stop")
    screen.shows("r1 (nominal) waits for a label")
    screen.press_until("f", lambda: outcome(study, "r1") is Outcome.FAILURE)
    screen.shows("r1 (nominal): FAILURE, stored in")
    screen.shows("r0 (nominal) waits for a label")
    screen.press_until("s", lambda: outcome(study, "r0") is Outcome.SUCCESS)
    screen.type("s")
    screen.shows("no rollout waits")
    screen.type("u")
    until(lambda: outcome(study, "r0") is Outcome.UNKNOWN)
    screen.press_until("i", lambda: outcome(study, "r0") is Outcome.INVALID)

    cell.states.publish(CellState(state=CellState.WAITING, message="the cube is wanted"))
    screen.shows("cell: waiting, the cube is wanted")
    cell.ask("q1", OperatorRequest.SET_UP, "make the cube red", "Take the red cube.", "Leave.")
    screen.shows("SET UP: make the cube red")
    screen.shows("2. Leave.")
    cell.checks.publish(SetupCheck(warning="the changed pixels look green"))
    screen.shows("camera: the changed pixels look green")
    screen.press_until("\r", lambda: cell.answers)
    screen.shows("answered: ann: done")
    cell.ask("q2", OperatorRequest.CONSENT, "stand clear")
    screen.shows("CONSENT: stand clear")
    screen.type("\x1b[A\x1b[B")  # arrow keys are no answers
    screen.press_until("r", lambda: len(cell.answers) == 2)
    screen.type(" ")
    until(lambda: cell.stops == 1)
    screen.shows("the arm holds")
    screen.type("q")
    assert screen.process.wait(20) == 0
    assert termios.tcgetattr(screen.slave) == screen.before
    given = [(a.request_id, a.answer, a.answered_by) for a in cell.answers]
    request = AnswerRequest.Request
    assert given == [("q1", request.DONE, "ann"), ("q2", request.REFUSE, "ann")]


@pytest.mark.parametrize(
    ("end", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_the_terminal_is_given_back(
    graph: Graph, terminal: Callable[..., Terminal], end: signal.Signals, code: int
) -> None:
    graph.add(OperatorCell).states.publish(CellState(state=CellState.READY))
    screen = terminal("--watch")
    screen.shows("cell: ready")
    assert termios.tcgetattr(screen.slave) != screen.before
    screen.process.send_signal(end)
    assert screen.process.wait(20) == code
    assert termios.tcgetattr(screen.slave) == screen.before


def test_an_error_gives_the_terminal_back(terminal: Callable[..., Terminal]) -> None:
    screen = terminal("--watch", "--timeout", "0.3")
    assert screen.process.wait(20) == 1
    screen.shows("robomd up")
    assert termios.tcgetattr(screen.slave) == screen.before


def script(lines: str, *arguments: str) -> str:
    """Run with lines on standard input instead of a terminal; what was printed."""
    done = subprocess.run(
        [*COMMAND, *arguments], input=lines, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_script_waits_for_what_it_answers(graph: Graph, study: Study) -> None:
    cell = graph.add(OperatorCell)
    graph.add(OutcomeLabelerNode, study=str(study.folder))
    cell.ask("q1", OperatorRequest.SET_UP, "make the cube red")
    said = script("failure slipped off\nnonsense\ndone all right\n\nsuccess\n", "--watch")
    assert "'nonsense': want one of" in said
    with study.store(read_only=True) as store:
        assert store.get("r1").labels[-1].reason == "slipped off"
        assert store.get("r0").outcome is Outcome.SUCCESS
    assert [a.note for a in cell.answers] == ["all right"]


def test_a_second_look_is_blind_and_reaches_the_store(graph: Graph, study: Study) -> None:
    with study.store() as store:
        for number in range(2):
            store.label(f"r{number}", Label(Outcome.FAILURE, "ann", 1.0, "slipped off"))
    graph.add(OutcomeLabelerNode, study=str(study.folder))
    said = script(
        "stop\nsuccess\nundo\nskip\nfailure\n", "--second-look", "--share", "1", "--labeler", "bob"
    )
    assert "1 second looks stored" in said
    assert len(re.findall(r"[12] of 2: rollout r[01], /\S+\.png", said)) == 4
    assert not re.search("ann|slipped|FAILURE", said)
    with study.store(read_only=True) as store:
        (look,) = store.looks()
        assert (look.first.labeler, look.second.labeler, look.agrees) == ("ann", "bob", True)
        assert len(store.history(look.rollout_id)) == 2
    assert "no rollout wants" not in script("", "--second-look", "--share", "1")


def test_a_second_look_at_a_study_on_disk(study: Study) -> None:
    with study.store() as store:
        store.label("r0", Label(Outcome.SUCCESS, "ann", 1.0))
    folder = str(study.folder)
    assert "1 second looks stored" in script("s\n", "--second-look", "--study", folder)
    assert "no rollout wants" in script("s\n", "--second-look", "--study", folder)
    assert "r0 (nominal): SUCCESS" in script(
        "", "r0", "failure", "--second-look", "--labeler", "cid", "--study", folder
    )
    with study.store(read_only=True) as store:
        assert [x.labeler for x in store.get("r0").second_looks][-1] == "cid"
