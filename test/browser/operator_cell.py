"""Run as a process: a cell that asks its operator as ur5e_driver does, with camera_capture and outcome_labeler beside it.

python operator_cell.py STUDY [SECONDS_PER_ROLLOUT]
"""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ros"))

from request_desk import RequestDesk
from ros_graph import Graph

from robomd_msgs.action import Diagnose
from robomd_msgs.msg import (
    CellState,
    FailureLikelihood,
    LabeledRollout,
    OperatorRequest,
    Outcome,
    RiskMap,
    RolloutStatus,
    SessionStatus,
    SetupCheck,
)
from robomd_ros.adapters import names, qos, stamps
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.adapters.conversions import perturbation_to_msg
from robomd_ros.adapters.images import image_to_msg
from robomd_ros.core.errors import CancelledByUserError
from robomd_ros.core.statistics import wilson
from robomd_ros.core.variations import Perturbation, load_catalogue
from robomd_ros.nodes.camera_capture import CameraCaptureNode
from robomd_ros.nodes.outcome_labeler import OutcomeLabelerNode

CATALOGUE = load_catalogue("lift")
TRIED = ("cube_red", "nominal", "table_green", "light_red", "cube_blue")
FRAME_TIME = 0.05
ALARMING = "auto exposure changed with the light: lock it, or the variation is not what it says."


class OperatorCell(RobomdNode):
    """Set-up, consent, a rollout of a second that only a person can judge, the next when it is labelled."""

    threads = 8

    def __init__(self, seconds: float, **kwargs: Any) -> None:
        super().__init__("operator_cell", **kwargs)
        self._seconds = seconds
        self._applied = CATALOGUE.perturbation([])
        self._wanted: Perturbation | None = None
        self._state, self._message, self._rollout = CellState.READY, "ready for a rollout", ""
        self._phase = 0.0
        self._stopped = threading.Event()
        self._labels: dict[str, int] = {}
        self._tally: dict[str, list[int]] = {}
        self._session = SessionStatus()
        self._images = self.create_publisher(Image, names.CAMERA_IMAGE, qos.CAMERA_WRITER)
        self._statuses = self.create_publisher(
            RolloutStatus, names.ROLLOUT_STATUS, qos.ROLLOUT_STATUS
        )
        self._states = self.create_publisher(CellState, names.CELL_STATE, qos.LATCHED)
        self._checks = self.create_publisher(SetupCheck, names.SETUP_CHECK, qos.STREAM)
        self._sessions = self.create_publisher(SessionStatus, names.SESSION, qos.LATCHED)
        self._maps = self.create_publisher(RiskMap, names.RISK_MAP, qos.LATCHED)
        self._desk = RequestDesk(self)
        self.listen(LabeledRollout, names.LABELED_ROLLOUT, self._on_label, qos.EVENTS)
        self.create_service(
            Trigger, names.OPERATOR_STOP, self._on_stop, callback_group=self.reentrant
        )
        self.serve_action(Diagnose, names.DIAGNOSE, self._diagnose, self.worker("session"))
        self.every(0.1, self._look, self.reentrant)
        self.every(0.5, self._check, self.reentrant)
        self.every(1.0, self._tell, self.reentrant)

    # -- the session ----------------------------------------------------------------------------------------------

    def _diagnose(self, goal: Any, result: Any, feedback: Any, cancelled: Any) -> None:
        self._session = SessionStatus(
            state=SessionStatus.RUNNING, session_id="s1", total=goal.rollouts
        )
        try:
            for number in range(goal.rollouts):
                self._session.message = f"rollout {number + 1}"
                self._one(f"r{number:04d}-{time.time_ns() % 10**6}", number, cancelled)
            self._session.state = SessionStatus.DONE
        except CancelledByUserError:
            self._session.state = SessionStatus.IDLE
            raise
        finally:
            self._tell()
            result.status = self._session

    def _one(self, rollout_id: str, number: int, cancelled: Any) -> None:
        name = TRIED[number % len(TRIED)]
        self._session.current = name
        self._wanted = CATALOGUE.perturbation([] if name == "nominal" else [name])
        self._become(CellState.WAITING, "waits until the variation is set up")
        steps = ["Put the cube on its mark.", "Step back from the table."]
        if not self._ask(OperatorRequest.SET_UP, f"Set up {name}", steps, rollout_id, cancelled):
            return
        self._applied, self._wanted = self._wanted, None
        self._become(CellState.WAITING, "waits for consent")
        steps = ["Look at the work space: nobody in it.", "Keep a hand at the emergency stop."]
        if not self._ask(OperatorRequest.CONSENT, f"Run {name}", steps, rollout_id, cancelled):
            return
        self._run(rollout_id)
        while not self._labels.get(rollout_id):
            if cancelled():
                raise CancelledByUserError("cancelled")
            self.closing.wait(0.01)
        self._session.done += 1
        self._session.remaining = 40.0 * (self._session.total - self._session.done)
        self._tell()

    def _ask(
        self, kind: int, title: str, steps: list[str], rollout_id: str, cancelled: Any
    ) -> bool:
        request = OperatorRequest(kind=kind, title=title, steps=steps, rollout_id=rollout_id)
        request.perturbation = self._message_of(self._wanted or self._applied)
        return self._desk.ask(request, cancelled)

    def _run(self, rollout_id: str) -> None:
        self._stopped.clear()
        self._rollout = rollout_id
        self._become(CellState.RUNNING, "the policy moves the robot")
        frames = max(2, round(self._seconds / FRAME_TIME))
        for index in range(frames):
            self._phase = index / frames
            stamp = self._publish_frame()
            if index == 0:
                self._status(rollout_id, RolloutStatus.STARTED, stamp, 0)
            if self._stopped.wait(FRAME_TIME):
                break
        stamp = self._publish_frame()
        self._rollout, self._phase = "", 0.0
        stopped = self._stopped.is_set()
        self._status(rollout_id, RolloutStatus.FINISHED, stamp, index + 2, stopped)
        self._become(
            CellState.STOPPED if stopped else CellState.READY,
            "stopped by the operator" if stopped else "ready for a rollout",
        )
        if stopped:
            steps = ["Look at the robot.", "Make it safe."]
            self._ask(OperatorRequest.RECOVER, "Recover", steps, rollout_id, self.closing.is_set)

    # -- on the wire ----------------------------------------------------------------------------------------------

    def _on_stop(self, _: Any, response: Any) -> Any:
        moving = bool(self._rollout)
        self._stopped.set()
        response.success = True
        response.message = "the robot stands" if moving else "nothing was moving"
        return response

    def _on_label(self, msg: LabeledRollout) -> None:
        before = self._labels.get(msg.rollout_id, 0)
        self._labels[msg.rollout_id] = int(msg.label_count)
        if not before and msg.outcome.value in (Outcome.SUCCESS, Outcome.FAILURE):
            failed = msg.outcome.value == Outcome.FAILURE
            tally = self._tally.setdefault(msg.perturbation.id, [0, 0])
            tally[0] += failed
            tally[1] += 1
            self._session.failures += failed
            self._session.successes += not failed
            self._publish_map()

    def _publish_map(self) -> None:
        entries = []
        for name, (failures, rollouts) in self._tally.items():
            low, high = wilson(failures, rollouts, 0.9)
            entry = FailureLikelihood(perturbation_id=name, rollouts=rollouts, failures=failures)
            entry.p_failure = float((failures + 0.5) / (rollouts + 1))
            entry.p_failure_low, entry.p_failure_high = float(low), float(high)
            entries.append(entry)
        entries.sort(key=lambda e: -e.p_failure)
        self._maps.publish(RiskMap(entries=entries, policy_id="bc-1"))

    def _status(
        self, rollout_id: str, state: int, stamp: Any, frames: int, stopped: bool = False
    ) -> None:
        msg = RolloutStatus(
            rollout_id=rollout_id, state=state, task="lift", robot="UR5e", policy_id="bc-1",
            purpose="search", seed=-1, steps=max(frames - 1, 0), frames=frames,
            duration=frames * FRAME_TIME, speed_scaling=math.nan,
        )  # fmt: skip
        msg.header.stamp = stamp
        msg.perturbation = self._message_of(self._applied)
        if stopped:
            msg.outcome = Outcome(value=Outcome.SAFETY_STOP, labeler="operator_cell")
        self._statuses.publish(msg)

    def _become(self, state: int, message: str) -> None:
        self._state, self._message = state, message
        self._tell()

    def _tell(self) -> None:
        msg = CellState(
            state=self._state, message=self._message, hardware="standin", robot_mode="RUNNING",
            safety_mode="NORMAL", program_running=True, speed_scaling=1.0, camera_age=0.05,
            joints_age=0.01, rollout_id=self._rollout,
        )  # fmt: skip
        msg.header.stamp = stamps.wall()
        self._states.publish(msg)
        self._sessions.publish(self._session)

    def _check(self) -> None:
        wanted = self._wanted or self._applied
        changed = bool(wanted.variations)
        msg = SetupCheck(
            perturbation_id=wanted.id, setting_up=self._wanted is not None,
            there=self._wanted is None or not changed, luminance=0.41, luminance_nominal=0.44,
            hue=4.0 if changed else math.nan, saturation=0.82 if changed else math.nan,
            image_change=0.06 if changed else 0.0, changed_share=0.09 if changed else 0.0,
            warning=ALARMING if "light" in wanted.id else "",
        )  # fmt: skip
        self._checks.publish(msg)

    def _look(self) -> None:
        if not self._rollout:
            self._publish_frame()

    def _publish_frame(self) -> Any:
        stamp = stamps.wall()
        self._images.publish(image_to_msg(scene(self._applied.id, self._phase), stamp, "camera"))
        return stamp

    @staticmethod
    def _message_of(perturbation: Perturbation) -> Any:
        return perturbation_to_msg(perturbation, "lift", stamps.wall(), 0.06, verified=True)


def scene(perturbation: str, phase: float) -> np.ndarray:
    """A table, a cube and an arm that reaches for it, (240, 320, 3) RGB; `phase` 0..1 of the rollout."""
    image = np.full((240, 320, 3), (196, 202, 208), np.uint8)
    table = (92, 150, 96) if "table_green" in perturbation else (178, 142, 104)
    cube = {"cube_red": (196, 44, 40), "cube_blue": (40, 72, 200)}.get(perturbation, (64, 150, 70))
    cv2.fillPoly(image, [np.array([[20, 235], [90, 120], [250, 120], [310, 235]])], table)
    lift = int(60 * max(0.0, phase - 0.6))
    cv2.rectangle(image, (196, 168 - lift), (224, 196 - lift), cube, -1)
    hand = (int(80 + 130 * min(1.0, phase * 1.8)), int(70 + 90 * min(1.0, phase * 1.8)) - lift)
    cv2.line(image, (60, 200), (70, 60), (70, 78, 86), 16, cv2.LINE_AA)
    cv2.line(image, (70, 60), hand, (90, 98, 108), 12, cv2.LINE_AA)
    cv2.circle(image, hand, 8, (40, 44, 50), -1, cv2.LINE_AA)
    if "light" in perturbation:
        image = (image * np.array([1.0, 0.72, 0.70])).astype(np.uint8)
    return image


def main() -> None:
    """Until SIGTERM."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 0.4
    graph = Graph()
    graph.add(OutcomeLabelerNode, study=sys.argv[1])
    graph.add(CameraCaptureNode)
    graph.add(lambda **kwargs: OperatorCell(seconds, **kwargs))
    print("the cell is up", flush=True)  # noqa: T201
    while not ended.wait(1.0):
        pass
    graph.close()


if __name__ == "__main__":
    main()
