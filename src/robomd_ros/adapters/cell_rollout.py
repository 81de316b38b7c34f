"""One rollout on the arm: its goal, its deadlines, its phases, and what is told about it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import JointState

from robomd_msgs.action import RunRollout
from robomd_msgs.msg import CellState, RolloutStatus
from robomd_ros.adapters import stamps, ur_types
from robomd_ros.adapters.arm_config import Ur5eDriverConfig
from robomd_ros.adapters.arm_ports import RosArmPorts
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.adapters.conversions import key_values, label_to_msg, perturbation_to_msg
from robomd_ros.adapters.policy_actions import action_to_msg
from robomd_ros.adapters.rollout_goal import Job
from robomd_ros.arm.limiter import Limiter
from robomd_ros.arm.policy_thread import PolicyThread
from robomd_ros.arm.result import ArmResult, RolloutConfig
from robomd_ros.arm.rollout import run_policy
from robomd_ros.arm.servo import TOOL_TOLERANCE, Servo
from robomd_ros.arm.watchdog import Watchdog
from robomd_ros.core.errors import (
    CancelledByUserError,
    DeadlineError,
    NotReadyError,
    PolicyError,
    RobomdError,
    SafetyError,
)
from robomd_ros.core.outcome import CELL_LABELERS, Label, Outcome

HEARTBEAT = 1.5
"""Feedback comes at least this often [s]; the caller takes silence for a dead cell."""
LABELER = CELL_LABELERS[1]
"""Who labels what was stopped."""

_ERRORS: dict[Outcome, type[RobomdError]] = {
    Outcome.SAFETY_STOP: SafetyError,
    Outcome.TIMEOUT: DeadlineError,
    Outcome.POLICY_ERROR: PolicyError,
    Outcome.INVALID: CancelledByUserError,
}


class CellRollout:
    """Runs one job.

    Args:
        node: whose closing ends it.
        config: of ur5e_driver.
        job: to run.
        ports: arm, camera, operator's stop.
        policy: under test; None = a zero-action rollout without one.
        feedback: takes RunRollout.Feedback.
        cancelled: the goal was cancelled, or the node shuts down.

    Attributes:
        phase: CellState.HOMING, WAITING or RUNNING.
        message: one sentence about it.
        facts: told with the end.
        result: what came of it; there when `run` has returned.
    """

    result: ArmResult

    def __init__(
        self,
        node: RobomdNode,
        config: Ur5eDriverConfig,
        job: Job,
        ports: RosArmPorts,
        policy: PolicyThread | None,
        feedback: Callable[[RunRollout.Feedback], None],
        cancelled: Callable[[], bool],
    ) -> None:
        self._node, self._config, self.job, self.ports = node, config, job, ports
        self._policy, self._feedback, self._cancelled = policy, feedback, cancelled
        self._deadline = time.monotonic() + job.timeout
        horizon = policy.info.horizon if policy is not None else RolloutConfig().horizon
        self._progress = RunRollout.Feedback(step=0, horizon=int(horizon))
        self._pause = threading.Event()
        self.phase, self.message = CellState.HOMING, "a rollout begins"
        self.facts: dict[str, object] = {}
        self.beat()

    # -- while it waits ---------------------------------------------------------------------------------------------

    @property
    def left(self) -> float:
        """Seconds until its deadline."""
        return max(0.1, self._deadline - time.monotonic())

    def enter(self, phase: int, message: str) -> None:
        """The next phase."""
        self.phase, self.message = phase, message

    def beat(self) -> None:
        """Send the newest feedback again."""
        self._feedback(self._progress)

    def check(self) -> None:
        """Raise when the rollout must not go on: cancelled, stopped, too late."""
        if self._cancelled():
            raise CancelledByUserError(f"rollout {self.job.rollout_id} was cancelled.")
        stop = self.ports.stop or self.ports.state().stopped(self._config.low_speed_scaling)
        if stop:
            raise SafetyError(stop)
        if self.ports.joints_age > 5.0 * self._config.joint_silence:
            raise SafetyError(f"no joint state for {self.ports.joints_age:.1f} s.")
        if time.monotonic() > self._deadline:
            raise DeadlineError(
                f"rollout {self.job.rollout_id} did not begin within {self.job.timeout:g} s."
            )

    def ended(self) -> bool:
        """`check` for those who ask a question: it raises, or it is false."""
        self.check()
        return False

    def wait(self, seconds: float) -> None:
        """Let time pass, while it may go on."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.check()
            self._pause.wait(min(left, 0.05))

    def check_tool(self) -> None:
        """Raise NotReadyError when the arm's own TCP, where it is published, is not the configured tool's."""
        own = self.ports.tcp
        reading = self.ports.joints()
        if not self._config.check_tool or own is None or reading is None:
            return
        position, _ = self._config.kinematics().forward(reading.positions)
        off = float(np.linalg.norm(position - own))
        self.facts["tool_difference"] = f"{off:.4f}"
        if not off <= TOOL_TOLERANCE:
            raise NotReadyError(
                f"the arm's own TCP is {off:.3f} m from the configured tool's; at most {TOOL_TOLERANCE:g}: set the "
                "parameter tool (flange to TCP) to what the pendant says, or check_tool to false."
            )

    # -- the policy moves the arm -----------------------------------------------------------------------------------

    def run(
        self, publish: Callable[[RolloutStatus], None], publish_action: Callable[[JointState], None]
    ) -> RolloutStatus:
        """Publish STARTED, let the policy run and publish its actions, publish FINISHED; the latter."""
        start = self.ports.begin()
        status = self._started(start)
        publish(status)
        try:
            self.result = self._drive(publish_action)
            label = self._label()
        except Exception as error:  # whoever heard of the start must hear of the end
            self.ports.hold()
            reason = f"{type(error).__name__}: {error}"[:500]
            label = Label(Outcome.INVALID, LABELER, time.time(), reason)
            publish(self._finished(status, start, label))
            raise
        finished = self._finished(status, start, label)
        publish(finished)
        return finished

    def _drive(self, publish_action: Callable[[JointState], None]) -> ArmResult:
        config = self._config
        info = self._policy.info if self._policy is not None else None
        servo_config = (
            config.servo(info.action_space, info.rate)
            if info is not None
            else config.servo("osc_pose", 10.0)
        )
        kinematics = config.kinematics()

        def step(steps: int, horizon: int, action: NDArray[np.float32], seen: float) -> None:
            publish_action(action_to_msg(action, stamps.from_ns(self.ports.exact_stamp(seen))))
            self._progress = RunRollout.Feedback(step=int(steps), horizon=int(horizon))
            self.beat()

        return run_policy(
            self._policy,
            self.ports,
            Servo(servo_config, kinematics),
            Limiter(config.limits(), kinematics),
            Watchdog(config.watchdog()),
            RolloutConfig(timeout=self.left),
            seed=max(0, self.job.seed),
            control=self.job.control,
            on_step=step,
            cancelled=self._cancelled,
        )

    def _label(self) -> Label | None:
        if self.result.outcome is Outcome.UNKNOWN:
            return None
        return Label(self.result.outcome, LABELER, time.time(), self.result.reason[:500])

    def raise_for_outcome(self) -> None:
        """The error that goes with the outcome, for the caller; none when a person is to say."""
        error = _ERRORS.get(self.result.outcome)
        if error is not None:
            raise error(f"rollout {self.job.rollout_id}: {self.result.reason}")

    # -- what is told -----------------------------------------------------------------------------------------------

    def _started(self, stamp: int) -> RolloutStatus:
        job, speed = self.job, self.ports.state().speed
        msg = RolloutStatus(
            rollout_id=job.rollout_id,
            state=RolloutStatus.STARTED,
            control=int(job.control),
            task=job.task,
            robot="UR5e",
            policy_id=self._policy.info.id if self._policy is not None else "",
            purpose=job.purpose,
            seed=-1,
            speed_scaling=math.nan if speed is None else float(speed),
        )
        msg.header.stamp = stamps.from_ns(stamp)
        msg.header.frame_id = self.ports.frame_id
        msg.perturbation = perturbation_to_msg(job.perturbation, job.task)
        return msg

    def _finished(self, started: RolloutStatus, start: int, label: Label | None) -> RolloutStatus:
        last, count = self.ports.end()
        msg = self._started(start)
        msg.speed_scaling = started.speed_scaling
        msg.state = RolloutStatus.FINISHED
        msg.header.stamp = stamps.from_ns(max(last, start))
        msg.frames = int(count)
        msg.duration = 1e-9 * (max(last, start) - start)
        msg.outcome = label_to_msg(label)
        result = getattr(self, "result", None)
        facts = self.facts | self._cell_facts()
        if result is not None:
            msg.steps = int(result.steps)
            facts |= {k: v for k, v in result.facts.items() if v}
        msg.facts = key_values(facts)
        return msg

    def _cell_facts(self) -> dict[str, object]:
        ports, config = self.ports, self._config
        facts: dict[str, object] = {
            "hardware": config.hardware,
            "control_mode": config.control,
            "robot_mode": ports.robot_mode or "unknown",
            "safety_mode": ports.safety_mode or "unknown",
            "absent_types": ", ".join(ur_types.missing()) or "none",
        }
        if not math.isnan(ports.time_to_stop):
            facts["time_to_stop_ms"] = f"{1e3 * ports.time_to_stop:.1f}"
        if ports.gripper_trouble:
            facts["gripper"] = ports.gripper_trouble
        return facts
