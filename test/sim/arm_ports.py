"""The stand-in's arm and camera as ports of `run_policy`, in simulated time and without ROS."""

from __future__ import annotations

from collections import deque

import numpy as np

from robomd_ros.arm.kinematics import ROBOSUITE_TOOL, Kinematics
from robomd_ros.arm.limiter import Limiter, Limits
from robomd_ros.arm.policy_thread import PolicyThread
from robomd_ros.arm.ports import Frame, JointReading
from robomd_ros.arm.rollout import ArmResult, run_policy
from robomd_ros.arm.servo import Command, Servo, ServoConfig
from robomd_ros.arm.state import ArmState
from robomd_ros.arm.watchdog import Watchdog, WatchdogConfig
from sim_bridge.standin_arm import DOF, StandinArm
from sim_bridge.standin_motion import Position, Velocity

STEP = 0.002  # [s] of physics


class SimPorts:
    """One rollout on the stand-in's arm.

    Args:
        arm: placed.
        thread: the policy's; its answers take `thinking` seconds of simulated time.
        latency: seconds until a frame is there.
        thinking: see thread.
        velocity: command velocities instead of positions.

    Attributes:
        fastest: largest joint velocity that was commanded [rad/s].
        trail: largest distance between a command and the joints then [rad].
    """

    def __init__(
        self,
        arm: StandinArm,
        thread: PolicyThread,
        latency: float = 0.03,
        thinking: float = 0.01,
        velocity: bool = False,
    ) -> None:
        self.arm, self.thread = arm, thread
        self.latency, self.thinking, self.velocity = latency, thinking, velocity
        self.t, self._next_frame, self._asked = 1.0, 1.0, 0.0
        self._coming: deque[Frame] = deque()
        self._newest: Frame | None = None
        self._open = None
        self.fastest = self.trail = 0.0
        while self._newest is None:
            self._look()
            self._step()

    def now(self) -> float:
        return self.t

    def newest_frame(self) -> Frame | None:
        return self._newest

    def joints(self) -> JointReading:
        q, qd = self.arm.positions, self.arm.scene.joint_velocities
        return JointReading(self.t, self.t, q[:DOF], qd[:DOF], q[DOF:])

    def state(self) -> ArmState:
        return ArmState(7, 1, True, 100.0)

    def send(self, command: Command) -> None:
        self.fastest = max(self.fastest, float(np.abs(command.velocities).max()))
        self.trail = max(
            self.trail, float(np.abs(command.positions - self.arm.positions[:DOF]).max())
        )
        target = command.velocities if self.velocity else command.positions
        self.arm.motion = (Velocity if self.velocity else Position)(target)

    def hold(self) -> None:
        self.arm.stand()

    def gripper(self, value: float) -> None:
        self.arm.gripper = value

    def stop_asked(self) -> str:
        return ""

    def wait(self, until: float) -> None:
        """Simulated time goes on to `until`; an answer is there when its time has come, not earlier and not later."""
        while self.t < until - 1e-9:
            self._step()
            self._look()
            question = self.thread._open
            if question is not self._open:
                self._open, self._asked = question, self.t
            if question is not None and self.t >= self._asked + self.thinking:
                question.wait(60.0)

    def _step(self) -> None:
        self.arm.advance(STEP)
        self.t = round(self.t + STEP, 6)

    def _look(self) -> None:
        if self.t >= self._next_frame - 1e-9:
            self._next_frame += 1.0 / 30.0
            image = self.arm.scene.render()
            self._coming.append(Frame(self.t, image, self.t + self.latency, self.latency))
        while self._coming and self._coming[0].received <= self.t + 1e-9:
            self._newest = self._coming.popleft()


def lift(
    arm: StandinArm, thread: PolicyThread, seed: int, servo: ServoConfig | None = None, **kwargs
) -> tuple[ArmResult, SimPorts, bool]:
    """One rollout of the scene that the seed determines; whether the cube was lifted."""
    arm.scene.place(seed)
    arm.stand()
    arm.gripper, arm._grip = -1.0, -1.0
    arm._grip_due = arm._check_due = 0.0
    ports = SimPorts(arm, thread, **kwargs)
    arm.watch_success()
    kinematics = Kinematics(ROBOSUITE_TOOL)
    result = run_policy(
        thread,
        ports,
        Servo(servo or ServoConfig(), kinematics),
        Limiter(Limits(), kinematics),
        Watchdog(WatchdogConfig()),
        seed=seed,
    )
    return result, ports, arm.success
