"""Two rehearsal cells, each a stand-in arm and its driver in processes of their own, feed one study through the hub."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("robomd_msgs", reason="robomd_msgs is not built")

from robomd_msgs.action import RunRollout
from robomd_msgs.msg import CellState, LabeledRollout, RolloutStatus
from robomd_msgs.srv import ApplyPerturbation
from robomd_ros.adapters import names, qos
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.core.outcome import Outcome
from robomd_ros.core.study import Study
from robomd_ros.graph import GraphOptions, NodeSpec, node_table

CELLS = ("left", "right")


def domains() -> dict[str, int]:
    """This test's domain for each cell."""
    own = int(os.environ["ROS_DOMAIN_ID"])
    return {"left": own, "right": own + 100}


NODES = ("standin_cell", "ur5e_driver", "camera_capture")
PATIENT = {"camera_silence": 5.0, "observation_age": 5.0, "joint_silence": 5.0, "action_age": 5.0}
"""Two simulators and their policies share few cores here; what is late is another test's business."""


def ros_graph() -> Any:
    """The helper of test/ros, which this folder is not on the path of."""
    path = Path(__file__).parents[1] / "ros" / "ros_graph.py"
    spec = importlib.util.spec_from_file_location("ros_graph", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ROS = ros_graph()


class Neighbour(RobomdNode):
    """Hears a cell."""

    threads = 3

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("neighbour", **kwargs)
        self.states: list[CellState] = []
        self.statuses: list[RolloutStatus] = []
        self.labeled: list[LabeledRollout] = []
        self.listen(CellState, names.CELL_STATE, self.states.append, qos.LATCHED)
        self.listen(RolloutStatus, names.ROLLOUT_STATUS, self.statuses.append, qos.ROLLOUT_STATUS)
        self.listen(LabeledRollout, names.LABELED_ROLLOUT, self.labeled.append, qos.EVENTS)


class Cell:
    """The processes of a rehearsal that run rollouts, as `robomd up --hub` starts them."""

    def __init__(self, name: str, folder: Path, config: Path) -> None:
        self.name, self.folder = name, folder
        options = GraphOptions(
            mode="ur5e",
            hardware="standin",
            operator="auto",
            study=str(folder / "study"),
            namespace=name,
            hub=True,
            seed=domains()[name],
            cell_config=str(config),
        )
        table = {spec.name: spec for spec in node_table(options)}
        assert "outcome_labeler" not in table
        self.session = table["diagnosis"].parameters["cell"]
        self.graph = ROS.Graph(neighbour=name == "right")
        self.node = self.graph.add(partial(Neighbour, namespace=name))
        self.processes = [self._start(table[node]) for node in NODES]

    def _start(self, spec: NodeSpec) -> subprocess.Popen[bytes]:
        path = self.folder / f"{self.name}.{spec.name}.yaml"
        path.write_text(yaml.safe_dump({"/**": {"ros__parameters": dict(spec.parameters)}}))
        arguments = ["-r", f"__node:={spec.name}", "-r", f"__ns:=/{self.name}"]
        for name, other in spec.remappings.items():
            arguments += ["-r", f"{name}:={other}"]
        for file in filter(None, (spec.params_file, str(path))):
            arguments += ["--params-file", file]
        with path.with_suffix(".log").open("wb") as out:
            return subprocess.Popen(
                [sys.executable, "-m", spec.module, "--ros-args", *arguments],
                stdout=out,
                stderr=subprocess.STDOUT,
                env=os.environ | {"ROS_DOMAIN_ID": str(domains()[self.name])},
            )

    def ready(self) -> bool:
        return bool(self.node.states) and self.node.states[-1].state == CellState.READY

    def set_up(self) -> None:
        """The nominal scene, which the stand-in's own hands see to."""
        answer = self.graph.call(
            self.node, ApplyPerturbation, names.CELL_APPLY_PERTURBATION, ApplyPerturbation.Request()
        )
        assert not answer.error_code, answer.error_msg

    def started(self, rollout_id: str) -> bool:
        return (rollout_id, RolloutStatus.STARTED) in [
            (s.rollout_id, s.state) for s in self.node.statuses
        ]

    def send(self, rollout_id: str) -> None:
        """Have a rollout run; its label is what tells that it is over."""
        goal = RunRollout.Goal(
            rollout_id=rollout_id, perturbation_id="nominal", seed=-1, purpose="manual"
        )
        client = ROS.ActionClient(self.node, RunRollout, names.RUN_ROLLOUT)
        assert client.wait_for_server(ROS.DEADLINE)
        client.send_goal_async(goal)

    def labels(self) -> dict[str, Outcome]:
        return {r.rollout_id: Outcome(r.outcome.value) for r in self.node.labeled}

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait(ROS.DEADLINE)

    def close(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGINT)
        _, alive = psutil.wait_procs(
            [psutil.Process(p.pid) for p in self.processes if p.poll() is None], 20
        )
        for process in alive:
            process.kill()
        for process in self.processes:
            process.wait(ROS.DEADLINE)
        self.graph.close()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = "import sys; from robomd_ros.cli.main import main; sys.argv[0] = 'robomd'; main()"
    cells = [f"{name}@{domain}" for name, domain in domains().items()]
    with (tmp_path / "hub.log").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", command, "hub", "--study", str(tmp_path / "study"), *cells],
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    yield process
    process.kill()
    process.wait(ROS.DEADLINE)


@pytest.fixture
def cells(tmp_path: Path) -> Iterator[dict[str, Cell]]:
    config = tmp_path / "cell.yaml"
    config.write_text(yaml.safe_dump({"/**": {"ros__parameters": PATIENT}}))
    made: dict[str, Cell] = {}
    try:
        for name in CELLS:
            made[name] = Cell(name, tmp_path, config)
        yield made
    finally:
        for cell in made.values():
            cell.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_rehearsals_feed_one_study(
    hub: subprocess.Popen[bytes], cells: dict[str, Cell], tmp_path: Path
) -> None:
    left, right = cells["left"], cells["right"]
    assert (left.session, right.session) == ("left", "right")
    ROS.until(lambda: left.ready() and right.ready(), 120)
    left.set_up()
    right.set_up()
    for number in range(2):
        for cell in (left, right):
            cell.send(f"{cell.name}-{number}")
        for cell in (left, right):
            ROS.until(lambda c=cell, n=number: c.labels().get(f"{c.name}-{n}"), 120)

    # One is gone in the middle of a rollout; the other goes on at once.
    right.send("right-2")
    ROS.until(lambda: right.started("right-2"), 60)
    right.kill()
    left.send("left-2")
    ROS.until(lambda: left.labels().get("left-2"), 120)

    with Study.open(tmp_path / "study").store(read_only=True) as store:
        rows = {r.id: r for r in store.records(with_frames=False)}
    assert set(rows) == {"left-0", "right-0", "left-1", "right-1", "left-2"}
    for rollout_id, row in rows.items():
        assert row.facts["cell"] == rollout_id.split("-")[0]
        assert row.outcome is not Outcome.UNKNOWN
        assert row.recording
        assert row.frames > 0
    log = (tmp_path / "hub.log").read_text
    ROS.until(lambda: "right-2 is given up: its cell went away" in log(), 60)
    hub.send_signal(signal.SIGTERM)
    assert hub.wait(30) == 0
    assert "Traceback" not in log()
