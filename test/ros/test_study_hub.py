"""Two cells in two namespaces and domains feed one study through a hub that is a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ros_graph import DEADLINE, Graph, until
from synthetic_cell import SyntheticCell, picture

from robomd_msgs.msg import Outcome as OutcomeMsg
from robomd_msgs.msg import RolloutStatus
from robomd_msgs.srv import LabelOutcome, ListRollouts
from robomd_ros.adapters import names
from robomd_ros.core.errors import ErrorCode, InvalidArgumentError
from robomd_ros.core.outcome import Outcome
from robomd_ros.core.study import Study
from robomd_ros.nodes.camera_capture import CameraCaptureNode
from robomd_ros.nodes.study_hub import CellAddress, parse_cells
from robomd_ros.recording import read_recording

CELLS = ("left", "right")


def domains() -> dict[str, int]:
    """This test's domain for each cell."""
    own = int(os.environ["ROS_DOMAIN_ID"])
    return {"left": own, "right": own + 100}


class Cell:
    """A synthetic cell and its camera_capture in a namespace and domain of their own."""

    def __init__(self, name: str) -> None:
        self.graph = Graph(neighbour=name == "right")
        self.node = self.graph.add(partial(SyntheticCell, namespace=name))
        self.graph.add(partial(CameraCaptureNode, namespace=name))
        self.closed = False

    def meets_hub(self) -> Cell:
        until(lambda: self.node.statuses.get_subscription_count() == 2, 60)
        until(lambda: self.node.joints.get_subscription_count() == 1)
        until(lambda: self.node.count_publishers(names.LABELED_ROLLOUT) == 1)
        until(lambda: self.node.images.get_subscription_count() >= 1)
        until(lambda: self.node.count_subscribers(names.FRAMES) == 2)
        return self

    def stored(self) -> list[str]:
        return [r.rollout_id for r in self.node.labeled]

    def run(self, rollout_id: str, outcome: int = OutcomeMsg.FAILURE) -> None:
        self.node.rollout(rollout_id, 4, outcome)
        until(lambda: rollout_id in self.stored())

    def label(self, rollout_id: str, value: int, labeler: str = "ann") -> LabelOutcome.Response:
        request = LabelOutcome.Request(rollout_id=rollout_id)
        request.outcome = OutcomeMsg(value=value, labeler=labeler)
        return self.graph.call(self.node, LabelOutcome, names.LABEL_OUTCOME, request)

    def totals(self) -> int:
        return self.node.summaries[-1].total if self.node.summaries else 0

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.graph.close()


class Hub:
    """`robomd hub` as a process."""

    def __init__(self, folder: Path) -> None:
        self.study, self.log = folder / "study", folder / "hub.log"
        self.start()

    def start(self) -> None:
        command = "import sys; from robomd_ros.cli.main import main; sys.argv[0] = 'robomd'; main()"
        cells = [f"{name}@{domain}" for name, domain in domains().items()]
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", command, "hub", "--study", str(self.study), *cells],
                stdout=out,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )

    def text(self) -> str:
        return self.log.read_text()

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(how)
        return self.process.wait(DEADLINE)

    def rows(self) -> dict[str, Any]:
        with Study.open(self.study).store(read_only=True) as store:
            return {r.id: r for r in store.records()}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(tmp_path)
    yield made
    if made.process.poll() is None:
        made.process.kill()
        made.process.wait(DEADLINE)


@pytest.fixture
def cells(hub: Hub) -> Iterator[dict[str, Cell]]:
    made = {name: Cell(name) for name in CELLS}
    yield made
    for cell in made.values():
        cell.close()


def test_two_cells_feed_one_study(hub: Hub, cells: dict[str, Cell]) -> None:
    left, right = (cells[name].meets_hub() for name in CELLS)
    runs = [
        threading.Thread(
            target=lambda c=cell, n=name: [c.run(f"{n}-s1-000{i}-1") for i in range(4)]
        )
        for name, cell in cells.items()
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    rows = hub.rows()
    assert len(rows) == 8
    assert {i: r.facts["cell"] for i, r in rows.items()} == {i: i.split("-")[0] for i in rows}
    assert all(r.frames == r.frames_expected == 4 for r in rows.values())
    trace = read_recording(hub.study / "recordings" / rows["left-s1-0000-1"].recording)
    np.testing.assert_array_equal(trace.frames[0], picture(10) // 2)

    # The numbers are the study's; what an operator is shown is the cell's own.
    until(lambda: left.totals() == right.totals() == 8)
    assert {r.rollout_id for r in left.node.summaries[-1].latest} == set(left.stored())
    page = left.graph.call(
        left.node, ListRollouts, names.LIST_ROLLOUTS, ListRollouts.Request(outcome=255)
    )
    assert page.total == 8

    # The newest rollout is the cell's own, too; a label by id reaches the other cell.
    left.run("left-s1-0004-1", OutcomeMsg.UNKNOWN)
    right.run("right-s1-0004-1", OutcomeMsg.UNKNOWN)
    assert left.label("", OutcomeMsg.SUCCESS).rollout.rollout_id == "left-s1-0004-1"
    assert left.label("right-s1-0004-1", OutcomeMsg.SUCCESS).error_code == ErrorCode.OK
    until(lambda: right.stored().count("right-s1-0004-1") == 2)
    assert "right-s1-0004-1" not in left.stored()
    until(lambda: right.node.summaries[-1].successes == 2)
    assert hub.stop() == 0
    assert "Traceback" not in hub.text()


def test_an_id_that_another_cell_has_used_is_refused_and_nothing_is_lost(
    hub: Hub, cells: dict[str, Cell]
) -> None:
    left, right = (cells[name].meets_hub() for name in CELLS)
    left.run("r1")
    right.node.now = 500 * 100_000_000
    right.node.rollout("r1", 3, OutcomeMsg.UNKNOWN)
    until(lambda: "stored already with other content" in hub.text())
    for wanted in ("r1", ""):
        answer = right.label(wanted, OutcomeMsg.SUCCESS, "bob")
        assert answer.error_code == ErrorCode.INVALID_ARGUMENT
        assert "give the new one a new id" in answer.error_msg
    right.run("r2")
    left.run("r3")
    rows = hub.rows()
    assert {i: r.facts["cell"] for i, r in rows.items()} == {
        "r1": "left",
        "r2": "right",
        "r3": "left",
    }
    assert [label.labeler for label in rows["r1"].labels] == ["sim"]
    (aside,) = (hub.study / "quarantine").glob("r1.*.mcap")
    assert len(read_recording(aside).frames) == 3
    assert "r1" in aside.with_name(f"{aside.name}.reason.txt").read_text()
    until(lambda: left.node.summaries[-1].quarantined == 1)
    assert hub.stop(signal.SIGTERM) == 0


def test_a_cell_that_vanishes_and_a_hub_that_was_killed_hold_up_nobody(
    hub: Hub, cells: dict[str, Cell]
) -> None:
    left, right = (cells[name].meets_hub() for name in CELLS)
    right.run("right-1")
    right.node.status("right-2", RolloutStatus.STARTED, right.node.now)
    right.node.image(right.node.now)
    until(lambda: any(f.rollout_id == "right-2" for f in right.node.frames))
    right.close()
    until(lambda: "rollout right-2 is given up: its cell went away" in hub.text())
    left.run("left-1")

    hub.process.kill()
    hub.process.wait(DEADLINE)
    left.node.rollout("left-2", 3, OutcomeMsg.SUCCESS)  # while nobody stores
    until(lambda: sum(f.rollout_id == "left-2" for f in left.node.frames) == 3)
    hub.start()
    until(lambda: "left-2" in left.stored(), 60)
    rows = hub.rows()
    assert {i: r.outcome for i, r in rows.items()} == {
        "right-1": Outcome.FAILURE,
        "left-1": Outcome.FAILURE,
        "left-2": Outcome.SUCCESS,
    }
    assert rows["left-2"].frames == 3
    assert "refused" not in hub.text()
    again = cells["right"] = Cell("right").meets_hub()
    again.node.now = 900 * 100_000_000
    again.run("right-3")
    assert hub.stop() == 0


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        ["left"],
        ["left@"],
        ["@3"],
        ["left@233"],
        ["le ft@3"],
        ["1@3"],
        ["a//b@3"],
        ["a@3", "a@4"],
    ],
)
def test_what_is_no_cell(wrong: list[str]) -> None:
    with pytest.raises(InvalidArgumentError, match="cell"):
        parse_cells(wrong)


def test_addresses() -> None:
    assert parse_cells(["/lab/left@0", "right@232"]) == [
        CellAddress("lab/left", 0),
        CellAddress("right", 232),
    ]


def test_wrong_cells_are_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "robomd_ros.cli.main", "hub", "--study", str(tmp_path / "s"), "a@1", "a@2"],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "two cells are called 'a'" in done.stderr
    assert not (tmp_path / "s").exists()
