"""standin_cell: a robot cell to rehearse with, which speaks the names of a UR driver and of a RealSense camera."""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

from robomd_msgs.msg import OperatorRequest, RolloutStatus
from robomd_msgs.srv import AnswerRequest, InjectFault, LabelOutcome
from robomd_ros.adapters import names, qos
from robomd_ros.adapters.base import ERROR, WARN, Health, RobomdNode
from robomd_ros.adapters.conversions import perturbation_from_msg
from robomd_ros.adapters.parameters import declare, parameter
from robomd_ros.adapters.runner import run, switch_often
from robomd_ros.core.errors import (
    DeadlineError,
    NotReadyError,
    RobomdError,
    UnavailableError,
)
from robomd_ros.core.outcome import Outcome
from robomd_ros.core.variations import load_catalogue
from sim_bridge import gl
from sim_bridge.scene import IMAGE_HEIGHT, IMAGE_WIDTH
from sim_bridge.standin_arm import StandinArm
from sim_bridge.standin_cell import StandinCell
from sim_bridge.standin_faults import Faults, order, parse_schedule
from sim_bridge.standin_operator import Act, Do, Hands
from sim_bridge.standin_robot import StandinRobot
from sim_bridge.standin_services import StandinServices
from sim_bridge.standin_topics import StandinTopics

LABELER = "standin"
_DEADLINE = 5.0
_LOOP = 0.004
_ROBOT_PERIOD = 0.02
_LATE_PERIOD = 0.05
_LABEL_PERIOD = 0.5
_LABEL_LOST = 5.0


@dataclass(frozen=True)
class StandinCellConfig:
    """Parameters of standin_cell."""

    task: str = parameter("lift", "task of the scene", choices=("lift",))
    catalogue: str = parameter(
        "", "catalogue of variations: a task or a TOML file; empty = the task's"
    )
    seed: int = parameter(0, "of the cube's places", low=0, high=2**31 - 1)
    height: int = parameter(IMAGE_HEIGHT, "of the picture", low=16, high=640, unit="pixel")
    width: int = parameter(IMAGE_WIDTH, "of the picture", low=16, high=640, unit="pixel")
    camera_rate: float = parameter(20.0, "pictures", low=0.5, high=60.0, unit="Hz")
    joint_rate: float = parameter(125.0, "joint states", low=10.0, high=250.0, unit="Hz")
    gripper_pin: int = parameter(16, "digital output that closes the gripper", low=0, high=17)
    operator: str = parameter(
        "", "auto: answers requests and labels by its own success check", choices=("", "auto")
    )
    hand_delay: float = parameter(
        0.3, "hands take this long to set something up", low=0.0, high=60.0, unit="s"
    )
    faults: str = parameter("", 'what goes wrong in which rollout: "4:protective_stop"')


class StandinCellNode(RobomdNode):
    """A simulated UR5e cell in wall time under the names of ur_robot_driver and realsense2_camera, all relative.

        standin_cell --ros-args -p operator:=auto -p faults:=4:protective_stop,8:frozen_camera

    Publishes: joint_states, camera/camera/color/image_raw and camera_info, io_and_status_controller/robot_program_running
    (latched), speed_scaling_state_broadcaster/speed_scaling (0..100), tcp_pose_broadcaster/pose (grip site in `base`);
    where the types are installed io_and_status_controller/robot_mode, safety_mode (latched), tf, tf_static.
    Takes: forward_position_controller/commands, forward_velocity_controller/commands,
    scaled_joint_trajectory_controller/joint_trajectory.
    Services: gripper/close (SetBool), dashboard_client/{play, pause, stop, power_on, brake_release,
    unlock_protective_stop, restart_safety}, io_and_status_controller/resend_robot_program (Trigger),
    robomd/standin/inject_fault; where the types are installed io_and_status_controller/{set_io, set_speed_slider},
    controller_manager/{switch_controller, list_controllers}.
    Actions, where the types are installed: scaled_joint_trajectory_controller/follow_joint_trajectory,
    ur_robot_state_helper/set_mode.
    Hands: shows the perturbation of a SET_UP request after hand_delay; places the cube anew when CONSENT is asked and when
    a trajectory begins outside a rollout (homing); releases the button when RECOVER is asked. With operator auto it also
    answers, and labels rollouts of UNKNOWN outcome by its success check.
    Parameters: StandinCellConfig. Diagnostics: real_time_factor, commands, commands_while_stopped,
    last_command_after_stop_ms (of the newest stop), commands_to_inactive_controller, stops, rollouts, faults.
    """

    threads = 4

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("standin_cell", **kwargs)
        self._config = declare(self, StandinCellConfig)
        self._faults = Faults(parse_schedule(self._config.faults))
        gl.prepare()
        self._catalogue = load_catalogue(self._config.catalogue or self._config.task)
        self._hands = Hands(self._config.hand_delay, self._config.operator == "auto")
        self._inbox: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._cell: StandinCell | None = None
        self._ur: StandinServices | None = None
        self._broken = ""
        self._shown = "nominal"
        self._factor = 1.0
        self._unlabelled: dict[str, bool] = {}
        self._labels_sent: dict[str, float] = {}
        self._answer = self.create_client(
            AnswerRequest, names.OPERATOR_ANSWER, callback_group=self.reentrant
        )
        self._label = self.create_client(
            LabelOutcome, names.LABEL_OUTCOME, callback_group=self.reentrant
        )
        self.serve(InjectFault, names.INJECT_FAULT, self._inject, self.reentrant)
        self._simulator = self.worker("simulator")
        self._simulator.submit(self._live)
        self.every(_LABEL_PERIOD, self._send_labels, self.reentrant)

    def health(self) -> Health:
        """Whether the simulator is there and keeps up; commands, stops and faults."""
        cell = self._cell
        if self._broken:
            return Health(ERROR, self._broken)
        if cell is None:
            return Health(WARN, "the simulator is being built")
        robot = cell.robot
        values: dict[str, object] = {
            "real_time_factor": round(self._factor, 3),
            **robot.counts,
            "last_command_after_stop_ms": round(1e3 * robot.last_command_after_stop, 1),
            "stops": robot.stops,
            "rollouts": cell.faults.rollouts,
            "faults": ",".join(cell.faults.history),
            "faults_on": ",".join(cell.faults.on),
            "perturbation": self._shown,
            "controller": robot.active,
            "not_installed": ",".join(self._ur.missing) if self._ur else "",
        }
        state = "moving" if robot.moving else f"stopped, safety mode {robot.safety_mode.name}"
        return Health(message=state, values=values)

    # -- the simulator's thread ---------------------------------------------------------------------------------------

    def _live(self) -> None:
        """Build, then run in wall time until the node closes."""
        try:
            config = self._config
            arm = StandinArm(config.seed, config.height, config.width)
            cell = StandinCell(arm, StandinRobot(), self._faults, config.seed)
        except Exception as error:  # a bug in the stack below: the node stays and says so
            self._broken = f"the simulator cannot be built: {type(error).__name__}: {error}"
            self.note_error("build", error)
            return
        try:
            self._run(cell)
        finally:
            self._cell = None
            arm.close()

    def _run(self, cell: StandinCell) -> None:
        topics = StandinTopics(self, cell)
        self._ur = StandinServices(self, cell, self._do, self._send, self._config.gripper_pin)
        self._cell = cell
        self.listen(
            OperatorRequest, names.OPERATOR_REQUEST, self._asked, qos.LATCHED, self.reentrant
        )
        self.listen(RolloutStatus, names.ROLLOUT_STATUS, self._status, qos.EVENTS, self.reentrant)
        self.get_logger().info(f"the stand-in runs; not installed: {self._ur.missing or 'nothing'}")
        config = self._config
        jobs = [
            _Job(1.0 / config.joint_rate, lambda now, wall: topics.joints(wall)),
            _Job(_ROBOT_PERIOD, lambda now, wall: topics.robot(wall)),
            _Job(1.0 / config.camera_rate, topics.camera),
            _Job(_LATE_PERIOD, lambda now, wall: topics.late_pictures(now)),
            _Job(1.0, lambda now, wall: self._measure(cell, now)),
        ]
        while not self.closing.is_set():
            now = time.monotonic()
            self.guard(cell.advance, now)
            for act in self._hands.due(now):
                self.guard(self._act, cell, act)
            self.guard(topics.state)
            for job in jobs:
                if job.due(now):
                    self.guard(job.run, now, time.time())
            self._take_jobs(now + _LOOP)

    def _take_jobs(self, until: float) -> None:
        """Do all that the others have asked, and wait for more until this time: a late loop leaves nothing undone."""
        while True:
            left = until - time.monotonic()
            try:
                future, job = self._inbox.get(block=left > 0, timeout=max(left, 0.0))
            except queue.Empty:
                return
            try:
                future.set_result(job())
            except Exception as error:
                future.set_exception(error)

    def _measure(self, cell: StandinCell, now: float) -> None:
        steps, before = getattr(self, "_measured", (cell.arm.steps, now))
        if now > before:
            self._factor = (cell.arm.steps - steps) * cell.arm.step / (now - before)
        self._measured = cell.arm.steps, now

    def _act(self, cell: StandinCell, act: Act) -> None:
        if act.do is Do.SHOW:
            cell.arm.scene.appearance.apply(act.payload)
            self._shown = act.payload.id
        elif act.do is Do.PLACE:
            cell.place_cube()
        elif act.do is Do.MAKE_SAFE:
            cell.make_safe()
        elif act.do is Do.ANSWER and self._answer.service_is_ready():
            self._answer.call_async(
                AnswerRequest.Request(
                    request_id=act.request_id,
                    answer=AnswerRequest.Request.DONE,
                    answered_by=LABELER,
                )
            )

    # -- the executor's threads ---------------------------------------------------------------------------------------

    def _send(self, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        """Have it done on the simulator's thread; an error in it is logged."""
        future: Future[Any] = Future()
        future.add_done_callback(self._log_failure)
        self._inbox.put((future, partial(fn, *args)))
        return future

    def _do(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Have it done on the simulator's thread, and wait for it."""
        if self._cell is None:
            raise NotReadyError("the simulator is being built: ask again in a few seconds.")
        future: Future[Any] = Future()
        self._inbox.put((future, partial(fn, *args)))
        try:
            return future.result(_DEADLINE)
        except TimeoutError:
            raise DeadlineError(f"the simulator did not answer within {_DEADLINE:g} s.") from None

    def _log_failure(self, future: Future[Any]) -> None:
        error = future.exception()
        if isinstance(error, RobomdError):
            self.get_logger().info(f"refused: {error}"[:500], throttle_duration_sec=1.0)
        elif error is not None:
            self.note_error("command", error)

    def _inject(self, request: InjectFault.Request, response: InjectFault.Response) -> None:
        wanted = order(request.fault, request.delay, request.duration)
        if self._broken:
            raise UnavailableError(self._broken)
        if self._cell is None:
            raise NotReadyError("the simulator is being built: ask again in a few seconds.")
        self._do(self._cell.inject, wanted, time.monotonic())

    def _asked(self, msg: OperatorRequest) -> None:
        payload = None
        if msg.kind == OperatorRequest.SET_UP:
            payload = perturbation_from_msg(msg.perturbation, self._catalogue)
        self._send(self._hands.asked, time.monotonic(), msg.id, int(msg.kind), payload)

    def _status(self, msg: RolloutStatus) -> None:
        cell = self._cell
        if cell is None:
            return
        if msg.state == RolloutStatus.STARTED:
            self._send(cell.started, msg.rollout_id)
        elif msg.state == RolloutStatus.FINISHED:
            success = self._do(cell.finished)
            unknown = msg.outcome.value == int(Outcome.UNKNOWN)
            if unknown and self._config.operator == "auto":
                self._unlabelled[msg.rollout_id] = success

    def _send_labels(self) -> None:
        """Until the labeler has them: it knows a rollout only when the recording is stored."""
        if not self._label.service_is_ready():
            return
        now = time.monotonic()
        for rollout_id, success in list(self._unlabelled.items()):
            if now - self._labels_sent.get(rollout_id, -_LABEL_LOST) < _LABEL_LOST:
                continue
            self._labels_sent[rollout_id] = now
            request = LabelOutcome.Request(rollout_id=rollout_id)
            request.outcome.value = int(Outcome.SUCCESS if success else Outcome.FAILURE)
            request.outcome.labeler = LABELER
            self._label.call_async(request).add_done_callback(partial(self._labelled, rollout_id))

    def _labelled(self, rollout_id: str, future: Any) -> None:
        self._labels_sent.pop(rollout_id, None)
        response = future.result()
        if response is not None and response.error_code == LabelOutcome.Response.OK:
            self._unlabelled.pop(rollout_id, None)


class _Job:
    """Something the loop does at a rate; what was missed is not made up for."""

    def __init__(self, period: float, run: Callable[[float, float], None]) -> None:
        self._period, self.run = period, run
        self._due = 0.0

    def due(self, now: float) -> bool:
        if now < self._due:
            return False
        self._due = max(self._due + self._period, now)
        return True


def main() -> int:
    """Run the node."""
    switch_often()
    return run(StandinCellNode)


if __name__ == "__main__":
    sys.exit(main())
