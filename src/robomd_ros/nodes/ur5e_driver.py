"""ur5e_driver: a real cell with a UR5e, beside which a person stands."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from robomd_msgs.action import RunRollout
from robomd_msgs.msg import CellState, OperatorRequest, RolloutStatus
from robomd_msgs.srv import ApplyPerturbation
from robomd_ros.adapters import cell_words, names, qos, stamps, ur_types
from robomd_ros.adapters.arm_config import Ur5eDriverConfig
from robomd_ros.adapters.arm_ports import RosArmPorts
from robomd_ros.adapters.base import ERROR, WARN, Health, RobomdNode
from robomd_ros.adapters.cell_camera import CellCamera
from robomd_ros.adapters.cell_rollout import HEARTBEAT, CellRollout
from robomd_ros.adapters.conversions import perturbation_to_msg
from robomd_ros.adapters.parameters import declare
from robomd_ros.adapters.request_desk import Answer, RequestDesk
from robomd_ros.adapters.rollout_goal import Job, check_goal
from robomd_ros.adapters.runner import run, switch_often
from robomd_ros.adapters.senses import Senses
from robomd_ros.adapters.ur_config import TRAJECTORY_CONTROLLER
from robomd_ros.adapters.ur_robot import UrRobot
from robomd_ros.arm.policy_thread import PolicyThread
from robomd_ros.arm.state import SAFE
from robomd_ros.core.errors import (
    BusyError,
    CancelledByUserError,
    NotReadyError,
    RobomdError,
    SafetyError,
    UnavailableError,
)
from robomd_ros.core.variations import Perturbation, load_catalogue
from robomd_ros.policies.loader import load_policy

_SECOND = 1.0


class Ur5eDriverNode(RobomdNode):
    """Runs the policy under test on a UR5e, with a person who sets up, consents, and recovers.

    Publishes: robomd/cell_state (latched), robomd/rollout_status, robomd/actions, robomd/operator/request (latched);
    commands of the arm, see UrRobot.
    Services: robomd/cell/apply_perturbation, robomd/operator/answer, robomd/operator/stop. Actions: robomd/run_rollout.
    Parameters: Ur5eDriverConfig.

    A rollout: the cell is ready, the arm moves home, the operator consents, the policy moves the arm. Whatever is not known
    to be right keeps the arm from moving. When it was stopped (protective or emergency stop, program stop, speed, the
    limiter, the operator), no command is published any more, the outcome is SAFETY_STOP, and no rollout is taken before
    the operator has answered RECOVER and the arm is ready again. What is published at the instant of a stop: nothing under
    position control, zeros once under velocity control, the measured joints once under trajectory control, and nothing
    at all when the arm itself had stopped.
    """

    threads = 8

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("ur5e_driver", **kwargs)
        self._config = config = declare(self, Ur5eDriverConfig)
        self._catalogue = load_catalogue(config.catalogue or config.task)
        self._policy: PolicyThread | None = None
        self._broken = ""
        self._applied: Perturbation | None = None
        self._rollout: CellRollout | None = None
        self._stopped = ""
        self._consented = False
        self._identity: tuple[float, str] = (-math.inf, "")
        self._counts: dict[str, int] = {}
        self._state = self.create_publisher(CellState, names.CELL_STATE, qos.LATCHED)
        self._status = self.create_publisher(
            RolloutStatus, names.ROLLOUT_STATUS, qos.ROLLOUT_STATUS
        )
        self._actions = self.create_publisher(JointState, names.ACTIONS, qos.FRAMES)
        self._desk = RequestDesk(self)
        self._senses = Senses(self)
        self._camera = CellCamera(self, self._senses, config.shared_clock)
        self._robot = UrRobot(self, self._senses, config.arm(), self._on_arm)
        self._loader, self._recovery = self.worker("policy"), self.worker("recovery")
        self.serve(ApplyPerturbation, names.CELL_APPLY_PERTURBATION, self._apply, self.reentrant)
        self.create_service(
            Trigger, names.OPERATOR_STOP, self._on_stop, callback_group=self.reentrant
        )
        self._action = self.serve_action(
            RunRollout, names.RUN_ROLLOUT, self._run_rollout, self.worker("rollout")
        )
        self._senses.start()
        self._loader.submit(self._load)
        self.every(1.0, self._tell, self.reentrant)
        self.every(HEARTBEAT, self._still_rolling, self.reentrant)

    # -- what everybody may know ------------------------------------------------------------------------------------

    def why_not(self) -> list[str]:
        """What keeps a rollout from starting, one sentence each; empty = ready."""
        config = self._config
        out = [self._broken] if self._broken else []
        if not self._broken and self._policy is None and config.policy:
            out.append("the policy is being loaded.")
        out += [*self._absent(), *filter(None, [self._wrong_hardware(), config.no_workspace()])]
        out += self._robot.state.not_ready(config.min_speed_scaling)
        joints, camera = self._robot.age, self._camera.age
        if not joints <= config.joint_silence:
            out.append(_silent("joint state", joints, "the UR driver"))
        if not camera <= config.camera_silence:
            out.append(_silent("camera frame", camera, "the camera driver"))
        return out

    def _absent(self) -> list[str]:
        """A real arm is not moved on guesses; elsewhere the topics that are left must do."""
        if self._config.hardware != "real":
            return []
        config = self._config
        # Homing by topic cannot be called back: what is stopped on its way could go on when the arm is released.
        needed = {"ur_dashboard_msgs", "control_msgs"}
        needed |= {"ur_msgs"} if config.gripper == "set_io" else set()
        needed |= {"controller_manager_msgs"} if config.control == "velocity" else set()
        return [
            f"{package} cannot be imported ({ur_types.PACKAGES[package]}): install it, it comes with the UR driver."
            for package in ur_types.missing()
            if package in needed
        ]

    def _wrong_hardware(self) -> str:
        """Whether what answers is what the parameter `hardware` says; asked anew every second."""
        asked, said = self._identity
        if time.monotonic() - asked > _SECOND:
            said = self._robot.contradicts()
            self._identity = (time.monotonic(), said)
        return said

    def cell_state(self) -> CellState:
        """The state now."""
        why_not = self.why_not()
        robot, rollout, request = self._robot, self._rollout, self._desk.open
        speed = robot.state.speed
        msg = CellState(
            why_not=why_not,
            hardware=self._config.hardware,
            robot_mode=robot.robot_mode,
            safety_mode=robot.safety_mode,
            program_running=bool(robot.state.program_running),
            speed_scaling=math.nan if speed is None else float(speed),
            camera_age=float(self._camera.age),
            joints_age=float(robot.age),
            rollout_id=rollout.job.rollout_id if rollout is not None else "",
        )
        msg.header.stamp = stamps.wall()
        if self._stopped:
            msg.state, msg.message = CellState.STOPPED, f"stopped: {self._stopped}"
        elif rollout is not None:
            msg.state, msg.message = rollout.phase, rollout.message
        elif request.kind != OperatorRequest.NONE:
            msg.state, msg.message = CellState.WAITING, request.title
        elif why_not:
            msg.state, msg.message = CellState.NOT_READY, why_not[0]
        else:
            msg.state, msg.message = CellState.READY, "ready"
        return msg

    def _tell(self) -> None:
        self._state.publish(self.cell_state())

    def _on_arm(self) -> None:
        """The arm said something new. A stop while nothing runs wants the operator, too."""
        safety = self._robot.state.safety_mode
        if safety is not None and safety not in SAFE and self._rollout is None:
            self._stop(next(iter(self._robot.state.not_ready())), "")
        self._tell()

    def health(self) -> Health:
        """ERROR when the policy is broken or the arm stopped, WARN while it is not ready."""
        state = self.cell_state()
        values: dict[str, object] = {
            **self._counts,
            "applied": self._applied.id if self._applied is not None else "unknown",
            "absent_types": ", ".join(ur_types.missing()) or "none",
            "robot_mode": state.robot_mode or "unknown",
            "safety_mode": state.safety_mode or "unknown",
            "speed_scaling": state.speed_scaling,
            "gripper": self._robot.gripper.trouble or "ok",
        }
        level = {CellState.STOPPED: ERROR, CellState.NOT_READY: WARN}.get(state.state, 0)
        return Health(ERROR if self._broken else level, self._broken or state.message, values)

    # -- the operator -----------------------------------------------------------------------------------------------

    def _apply(
        self, request: ApplyPerturbation.Request, response: ApplyPerturbation.Response
    ) -> None:
        wanted = self._catalogue.perturbation(list(request.variation_ids))
        if self._rollout is not None:
            raise BusyError("a rollout is running: set the perturbation up when it is over.")
        self._refuse_stopped()
        if wanted != self._applied:
            before, self._applied = self._applied, None
            answer = self._desk.ask(
                cell_words.set_up(wanted, before, self._catalogue.task), self.closing.is_set
            )
            if not answer.done:
                self._applied = before
                raise UnavailableError(
                    f"the operator did not set {wanted.id} up: {answer.note or 'no reason given'}"
                )
            self._applied = wanted
        response.apply_time = math.nan
        stamp = stamps.from_ns(self._camera.newest_stamp())
        response.perturbation = perturbation_to_msg(wanted, self._catalogue.task, stamp)

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        rollout = self._rollout
        if rollout is None:
            self._robot.hold()
            response.message = "no rollout was running"
        else:
            rollout.ports.ask_stop("the operator stopped the arm.")
            response.message = f"rollout {rollout.job.rollout_id} is stopped"
        response.success = True
        return response

    def _stop(self, reason: str, rollout_id: str, trouble: str = "") -> None:
        """Nothing moves before the operator's word."""
        self._robot.close_gate()
        if self._stopped and not trouble:
            return
        self._stopped, self._consented = reason, False
        self._recovery.submit(self._park)
        self._desk.pose(
            cell_words.recover(reason, rollout_id, trouble),
            lambda answer: self._on_recover(answer, reason, rollout_id),
        )
        self._tell()

    def _park(self) -> None:
        """On a worker: take the arm from the forward controller, which would go on with its last command when released."""
        with contextlib.suppress(RobomdError):
            self._robot.services.activate(TRAJECTORY_CONTROLLER, self.closing.is_set)

    def _on_recover(self, answer: Answer, reason: str, rollout_id: str) -> None:
        self._recovery.submit(self._recover, answer, reason, rollout_id)

    def _recover(self, answer: Answer, reason: str, rollout_id: str) -> None:
        """On a worker: bring the arm back, or ask again."""
        trouble = f"{answer.by} refused."
        if answer.done:
            trouble = self._bring_back()
        if trouble:
            self._stop(reason, rollout_id, trouble)
            return
        self._stopped = ""
        self.get_logger().info(f"the arm is ready again: {answer.sentence}")
        self._tell()

    def _bring_back(self) -> str:
        """Recover, and wait until the arm is ready; why it is not, or ""."""
        try:
            self._robot.services.recover(self.closing.is_set)
        except RobomdError as error:
            if self._robot.state.not_ready(self._config.min_speed_scaling):
                return str(error)
        except (
            Exception
        ) as error:  # the operator has to hear of it, or the cell would stay stopped for ever
            self.note_error("recovery", error)
            return f"{type(error).__name__}: {error}"
        deadline = time.monotonic() + self._config.recover_timeout
        while wrong := self._robot.state.not_ready(self._config.min_speed_scaling):
            if self.closing.wait(0.05) or time.monotonic() > deadline:
                return " ".join(wrong)
        return ""

    def _refuse_stopped(self) -> None:
        if self._stopped:
            raise SafetyError(
                f"the arm was stopped ({self._stopped}) and waits for the operator's word: answer the request RECOVER."
            )

    # -- rollouts, on a worker --------------------------------------------------------------------------------------

    def _load(self) -> None:
        if not self._config.policy:
            return
        try:
            policy = load_policy(self._config.policy)
            self._config.servo(policy.info.action_space, policy.info.rate)
        except RobomdError as error:
            self._broken = f"the policy cannot be loaded: {error}"
            self.get_logger().error(self._broken)
            return
        except Exception as error:  # the policy is other people's code
            self._broken = f"the policy cannot be loaded: {type(error).__name__}: {error}"
            self.note_error("load", error)
            return
        self._policy = PolicyThread(policy)
        self._tell()

    def _run_rollout(
        self,
        goal: RunRollout.Goal,
        result: RunRollout.Result,
        feedback: Callable[[RunRollout.Feedback], None],
        cancelled: Callable[[], bool],
    ) -> None:
        job = self._job(goal)
        ports = RosArmPorts(self._robot, self._camera)
        rollout = CellRollout(self, self._config, job, ports, self._policy, feedback, cancelled)
        self._rollout = rollout
        try:
            self._prepare(rollout)
            result.status = rollout.run(self._status.publish, self._actions.publish)
            self._conclude_rollout(rollout)
        except SafetyError as error:
            self._stop(str(error), job.rollout_id)
            raise
        finally:
            self._robot.close_gate()
            self._rollout = None
            self._tell()

    def _job(self, goal: RunRollout.Goal) -> Job:
        self._refuse_stopped()
        job = check_goal(goal, self._catalogue, "UR5e", self._applied)
        why_not = self.why_not()
        if why_not:
            raise NotReadyError("the cell is not ready: " + " ".join(why_not))
        if self._policy is None and job.asks_policy:
            raise NotReadyError("no policy is loaded: set the parameter `policy`.")
        return job

    def _prepare(self, rollout: CellRollout) -> None:
        """Home, gripper open, the policy's controller on, the operator's consent, and once more ready."""
        config, job = self._config, rollout.job
        rollout.enter(CellState.HOMING, "moving to the start pose")
        self._tell()
        self._robot.services.activate(TRAJECTORY_CONTROLLER, rollout.ended)
        goal = np.array(config.home)
        seconds = max(config.home_time, self._robot.distance(goal) / config.home_speed)
        self._robot.home(goal, seconds, rollout.check)
        self._robot.gripper.move(-1.0)
        rollout.wait(config.gripper_time)
        rollout.check_tool()
        self._robot.services.activate(self._robot.controller, rollout.ended)
        if config.consent == "each" or (config.consent == "session" and not self._consented):
            rollout.enter(CellState.WAITING, "waits for the operator's consent")
            self._tell()
            task = self._catalogue.task
            answer = self._desk.ask(
                cell_words.consent(
                    job.rollout_id, job.perturbation, task, config.scene, rollout.left
                ),
                rollout.ended,
            )
            if not answer.done:
                raise CancelledByUserError(
                    f"the operator did not let it run: {answer.note or 'no reason given'}"
                )
            rollout.facts["consent_by"] = answer.by
            self._consented = True
        rollout.check()
        if why_not := self.why_not():
            raise NotReadyError("the cell is not ready any more: " + " ".join(why_not))
        rollout.enter(CellState.RUNNING, "the policy moves the arm")
        self._tell()

    def _conclude_rollout(self, rollout: CellRollout) -> None:
        """What the outcome means for the next rollout, and for the caller."""
        outcome = rollout.result.outcome
        name = outcome.name.lower()
        self._counts[name] = self._counts.get(name, 0) + 1
        if (
            self._policy is not None and self._policy.busy
        ):  # it hangs: the next rollout gets a new one
            self._policy = None
            self._loader.submit(self._load)
        rollout.raise_for_outcome()

    def _still_rolling(self) -> None:
        """Repeat the last feedback: a person thinks, and the cell is alive."""
        rollout = self._rollout
        if rollout is not None:
            rollout.beat()

    def destroy_node(self) -> None:
        """Stop and hold, then the rest."""
        self._robot.hold()
        policy = self._policy
        self.closing.set()
        self._senses.close()
        super().destroy_node()
        if policy is not None:
            policy.close()


def _silent(what: str, age: float, who: str) -> str:
    seen = "ever" if math.isnan(age) else f"for {age:.1f} s"
    return f"no {what} {seen}: is {who} running?"


def main() -> None:
    """Run the node."""
    switch_often()
    run(Ur5eDriverNode)


if __name__ == "__main__":
    main()
