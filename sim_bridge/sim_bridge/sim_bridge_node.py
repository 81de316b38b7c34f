"""sim_bridge: robosuite as a robot cell."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState

from robomd_msgs.action import RunRollout
from robomd_msgs.msg import RolloutStatus
from robomd_msgs.srv import ApplyPerturbation
from robomd_ros.adapters import names, qos, stamps
from robomd_ros.adapters.base import ERROR, WARN, Health, RobomdNode
from robomd_ros.adapters.conversions import perturbation_to_msg
from robomd_ros.adapters.images import image_to_msg
from robomd_ros.adapters.parameters import declare, parameter
from robomd_ros.adapters.policy_actions import action_to_msg
from robomd_ros.adapters.rollout_goal import check_goal
from robomd_ros.adapters.runner import run
from robomd_ros.core.errors import (
    BusyError,
    CancelledByUserError,
    DeadlineError,
    NotReadyError,
    RobomdError,
    UnavailableError,
)
from robomd_ros.core.outcome import Label, Outcome
from robomd_ros.core.variations import load_catalogue
from robomd_ros.policies.base import Observation
from sim_bridge import gl, messages
from sim_bridge.cell import CAMERA_FRAME, LABELER, RolloutResult, SimCell
from sim_bridge.collect import CellSpec, build_cell
from sim_bridge.jobs import Job
from sim_bridge.tasks import TASKS

_APPLY_DEADLINE = 10.0
_HEARTBEAT = 2.0
"""Feedback comes at least this often in a rollout [s]; its caller takes silence for a dead cell."""


@dataclass(frozen=True)
class SimBridgeConfig:
    """Parameters of sim_bridge."""

    task: str = parameter("lift", "task of the scene", choices=TASKS)
    robot: str = parameter("Panda", "robot of the scene", choices=("Panda", "UR5e"))
    policy: str = parameter(
        "",
        "policy under test: a shipped name, a folder, torchscript:, python: or tcp:; empty = none",
    )
    catalogue: str = parameter(
        "", "catalogue of variations: a task or a TOML file; empty = the task's"
    )
    real_time_factor: float = parameter(
        0.0,
        "simulated over wall-clock time in a rollout; 0 = as fast as possible",
        low=0.0,
        high=100.0,
    )
    idle_rate: float = parameter(
        5.0, "camera frames between rollouts", low=0.1, high=30.0, unit="Hz"
    )


class SimBridgeNode(RobomdNode):
    """A robot cell in simulation: the same topics, service and action as the real one.

    Publishes: camera/image_raw, camera/camera_info, joint_states, ee_pose, /clock, robomd/rollout_status,
        robomd/actions.
    Services: robomd/cell/apply_perturbation. Actions: robomd/run_rollout.
    Parameters: SimBridgeConfig.

    The simulator is built, stepped and rendered on one thread of its own, which owns the GL context; services answer
    while it works. Built in the background: until then the action and the service say NOT_READY.
    """

    threads = 4

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("sim_bridge", **kwargs)
        self._config = declare(self, SimBridgeConfig)
        gl.prepare()
        self._catalogue = load_catalogue(self._config.catalogue or self._config.task)
        self._cell: SimCell | None = None
        self._broken: RobomdError | None = None
        self._rolling = False
        self._beat: Callable[[], None] | None = None
        self._counts = {"rollouts": 0, "successes": 0, "failures": 0}
        self._simulator = self.worker("simulator")
        self._sim_clock = self.create_publisher(Clock, "/clock", qos.STREAM)
        self._image = self.create_publisher(Image, names.CAMERA_IMAGE, qos.CAMERA_WRITER)
        self._info = self.create_publisher(CameraInfo, names.CAMERA_INFO, qos.CAMERA_WRITER)
        self._joints = self.create_publisher(JointState, names.JOINT_STATES, qos.CAMERA_WRITER)
        self._pose = self.create_publisher(PoseStamped, names.EE_POSE, qos.CAMERA_WRITER)
        self._status = self.create_publisher(
            RolloutStatus, names.ROLLOUT_STATUS, qos.ROLLOUT_STATUS
        )
        self._actions = self.create_publisher(JointState, names.ACTIONS, qos.FRAMES)
        self.serve(ApplyPerturbation, names.CELL_APPLY_PERTURBATION, self._apply, self.reentrant)
        self._action = self.serve_action(
            RunRollout, names.RUN_ROLLOUT, self._run_rollout, self._simulator
        )
        self._simulator.submit(self._build)
        self.every(1.0 / self._config.idle_rate, self._tick, self.reentrant)
        self.every(_HEARTBEAT, self._still_rolling, self.reentrant)

    def health(self) -> Health:
        """Whether the simulator is there, and what it did."""
        if self._broken is not None:
            return Health(ERROR, str(self._broken))
        if self._cell is None:
            return Health(WARN, "the simulator is being built")
        values: dict[str, object] = {**self._counts, "perturbation": self._cell.perturbation.id}
        policy = self._cell.policy
        values["policy"] = policy.info.id if policy is not None else "none"
        return Health(message="in a rollout" if self._rolling else "idle", values=values)

    def destroy_node(self) -> None:
        """End a running rollout, free the GL context on its own thread, then the rest."""
        self.closing.set()
        if self._cell is not None:
            with contextlib.suppress(RobomdError):
                self._simulator.call(self._cell.close, timeout=_APPLY_DEADLINE)
        super().destroy_node()

    # -- on the simulator's thread ----------------------------------------------------------------------------------

    def _build(self) -> None:
        config = self._config
        try:
            cell = build_cell(CellSpec(config.policy, config.task, config.robot))
        except RobomdError as error:
            self._broken = UnavailableError(f"the simulator cannot be built: {error}")
            self.get_logger().error(str(self._broken))
            return
        except Exception as error:  # a bug in the stack below: the node stays and says so
            self._broken = UnavailableError(
                f"the simulator cannot be built: {type(error).__name__}: {error}"
            )
            self.note_error("build", error)
            return
        self._cell = cell
        self.get_logger().info(
            f"{config.robot} {config.task} is ready, policy {config.policy or 'none'}"
        )

    def _publish(self, cell: SimCell, observation: Observation) -> None:
        now = observation.stamp
        self._sim_clock.publish(messages.clock(now))
        self._joints.publish(messages.joint_state(cell.scene, now))
        self._pose.publish(messages.ee_pose(cell.scene, now))
        self._info.publish(messages.camera_info(cell.scene, now))
        stamp = stamps.from_seconds(now)
        self._image.publish(image_to_msg(observation.image, stamp, CAMERA_FRAME))

    def _publish_action(self, action: NDArray[np.float32], stamp: float) -> None:
        self._actions.publish(action_to_msg(action, stamps.from_seconds(stamp)))

    def _idle(self, cell: SimCell) -> None:
        if not self.closing.is_set():
            self.guard(self._publish, cell, cell.idle(1.0 / self._config.idle_rate))

    def _run_rollout(
        self,
        goal: RunRollout.Goal,
        result: RunRollout.Result,
        feedback: Callable[[RunRollout.Feedback], None],
        cancelled: Callable[[], bool],
    ) -> None:
        cell = self._ready()
        job, timeout = self._job(goal, cell)
        deadline = time.monotonic() + timeout
        self._rolling = True
        try:
            done = self._roll(
                cell, job, feedback, lambda: cancelled() or time.monotonic() > deadline
            )
        finally:
            self._rolling, self._beat = False, None
        outcome = done.outcome
        if done.stopped and not cancelled():
            outcome = Outcome.TIMEOUT
        reason = str(done.error) if done.error is not None else ""
        label = Label(outcome, LABELER, time.time(), reason)
        result.status = messages.finished(cell, job, done, label)
        self._status.publish(result.status)
        self._count(outcome)
        if done.error is not None:
            raise done.error
        if outcome is Outcome.TIMEOUT:
            raise DeadlineError(
                f"rollout {job.rollout_id} took longer than {timeout:g} s and was stopped after "
                f"{done.steps} of {done.horizon} steps: raise `timeout`."
            )
        if done.stopped:
            raise CancelledByUserError(
                f"rollout {job.rollout_id} was cancelled after {done.steps} of {done.horizon} steps."
            )

    def _roll(
        self,
        cell: SimCell,
        job: Job,
        feedback: Callable[[RunRollout.Feedback], None],
        should_stop: Callable[[], bool],
    ) -> RolloutResult:
        begin = time.monotonic()
        factor = self._config.real_time_factor
        last = RolloutStatus()

        def tell(step: int) -> None:
            progress = RunRollout.Feedback(step=int(step), horizon=int(cell.horizon))
            self._beat = lambda: feedback(progress)
            feedback(progress)

        def on_frame(observation: Observation, step: int) -> None:
            nonlocal last
            if step == 0:
                last = messages.started(cell, job, observation.stamp)
                self._status.publish(last)
            self._publish(cell, observation)
            tell(step)
            if factor > 0:
                due = begin + step / (cell.scene.rate * factor)
                self.closing.wait(max(0.0, due - time.monotonic()))

        tell(0)
        try:
            return cell.rollout(job.seed, job.control, on_frame, should_stop, self._publish_action)
        except Exception as error:
            if (
                last.state == RolloutStatus.STARTED
            ):  # whoever heard of the start must hear of the end
                self._status.publish(_broken_off(last, cell, error))
            raise

    # -- on the executor's threads ----------------------------------------------------------------------------------

    def _tick(self) -> None:
        cell = self._cell
        if cell is not None and self._simulator.jobs == 0 and not self.closing.is_set():
            self._simulator.submit(self._idle, cell)

    def _still_rolling(self) -> None:
        """Repeat the last feedback: a policy that loads a model at its reset is slow, and the cell alive."""
        beat = self._beat
        if beat is not None:
            beat()

    def _apply(
        self, request: ApplyPerturbation.Request, response: ApplyPerturbation.Response
    ) -> None:
        perturbation = self._catalogue.perturbation(list(request.variation_ids))
        cell = self._ready()
        if self._rolling:
            raise BusyError("a rollout is running: apply the perturbation when it is over.")
        response.apply_time = float(
            self._simulator.call(cell.apply, perturbation, timeout=_APPLY_DEADLINE)
        )
        response.perturbation = perturbation_to_msg(
            perturbation, cell.scene.task, stamps.from_seconds(cell.now)
        )

    def _ready(self) -> SimCell:
        if self._broken is not None:
            raise self._broken
        if self._cell is None:
            raise NotReadyError("the simulator is being built: ask again in a few seconds.")
        return self._cell

    def _job(self, goal: RunRollout.Goal, cell: SimCell) -> tuple[Job, float]:
        """What is run, and how long it may take [s]."""
        wanted = check_goal(goal, self._catalogue, cell.scene.robot, cell.perturbation)
        if cell.policy is None and wanted.asks_policy:
            raise NotReadyError("no policy is loaded: set the parameter `policy`.")
        seed = wanted.seed if wanted.seed >= 0 else int(np.random.default_rng().integers(2**31))
        job = Job(wanted.rollout_id, wanted.perturbation, seed, wanted.purpose, wanted.control)
        return job, wanted.timeout

    def _count(self, outcome: Outcome) -> None:
        self._counts["rollouts"] += 1
        if outcome is Outcome.SUCCESS:
            self._counts["successes"] += 1
        elif outcome is Outcome.FAILURE:
            self._counts["failures"] += 1


def _broken_off(start: RolloutStatus, cell: SimCell, error: Exception) -> RolloutStatus:
    """The end of a rollout that a bug ended: no evidence."""
    start.state = RolloutStatus.FINISHED
    start.header.stamp = stamps.from_seconds(cell.now)
    start.outcome.value, start.outcome.labeler = int(Outcome.INVALID), LABELER
    start.outcome.reason = f"{type(error).__name__}: {error}"[:500]
    return start


def main() -> int:
    """Run the node."""
    return run(SimBridgeNode)


if __name__ == "__main__":
    sys.exit(main())
