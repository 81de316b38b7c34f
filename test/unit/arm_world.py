"""A world without ROS and without time of its own for `run_policy`: an arm that does as it is told, a camera, faults at will."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from robomd_ros.arm.kinematics import ROBOSUITE_HOME, ROBOSUITE_TOOL, Kinematics
from robomd_ros.arm.limiter import Limiter, Limits
from robomd_ros.arm.policy_thread import PolicyThread
from robomd_ros.arm.ports import Frame, JointReading
from robomd_ros.arm.rollout import run_policy
from robomd_ros.arm.servo import Command, Servo, ServoConfig
from robomd_ros.arm.state import ArmState
from robomd_ros.arm.watchdog import Watchdog, WatchdogConfig
from robomd_ros.policies.base import PolicyInfo

HOME = np.array(ROBOSUITE_HOME)
READY = ArmState(7, 1, True, 100.0)
CAMERA_CLOCK = 1_700_000_000.0  # [s] ahead of the steady one


def info(horizon: int = 10, rate: float = 10.0, space: str = "osc_pose", dim: int = 7):
    return PolicyInfo(
        "p-1", "lift", "UR5e", 8, 8, ("eef_pos", "gripper_qpos"), dim, space, rate, horizon
    )


class Scripted:
    """A policy that does as `act` says, and keeps what it saw.

    Attributes:
        gate: cleared = the policy hangs until it is set.
    """

    def __init__(self, act=None, **kwargs) -> None:
        self.info = info(**kwargs)
        self._act = act or (lambda k: np.full(self.info.action_dim, 0.3, np.float32))
        self.seen, self.resets, self.closed = [], [], False
        self.gate = threading.Event()
        self.gate.set()

    def reset(self, seed: int) -> None:
        self.resets.append(seed)

    def act(self, observation):
        self.seen.append(observation)
        answer = self._act(len(self.seen) - 1)
        self.gate.wait(60.0)
        return answer

    def close(self) -> None:
        self.closed = True


class World:
    """Ports of an arm whose time passes in `wait` only.

    Attributes:
        t: steady clock [s].
        q: where the arm is; it reaches every command at once, unless `stuck`.
        sent: (time, command) of every command; held: times of hold(); grips: values.
        camera_period: [s]; inf = no more frames.
    """

    def __init__(self, policy: Scripted | None = None, q=HOME) -> None:
        self.t = 100.0
        self.begin = self.t
        self.q = np.array(q, np.float64)
        self.policy = policy
        self.thread = PolicyThread(policy) if policy is not None else None
        self.sent: list[tuple[float, Command]] = []
        self.held: list[float] = []
        self.grips: list[float] = []
        self.arm = READY
        self.stop = ""
        self.stuck = False
        self.camera_period, self.frame_delay, self.clock_step = 1 / 30, 0.0, 0.0
        self.joints_on = True
        self.joint_clock_step = 0.0
        self.frozen_picture: int | None = None
        self._events: list[tuple[float, Callable[[], None]]] = []
        self._frames: list[Frame] = []  # sent by the camera, not yet there
        self._next_frame, self._count = self.t, 0
        self.newest: Frame | None = None
        self.reading: JointReading | None = None
        self.sense()

    # -- the ports ------------------------------------------------------------------------------------------------

    def now(self) -> float:
        return self.t

    def newest_frame(self) -> Frame | None:
        return self.newest

    def joints(self) -> JointReading | None:
        return self.reading

    def state(self) -> ArmState:
        return self.arm

    def send(self, command: Command) -> None:
        self.sent.append((self.t, command))
        if not self.stuck:
            self.q = command.positions.copy()

    def hold(self) -> None:
        self.held.append(self.t)

    def gripper(self, value: float) -> None:
        self.grips.append(value)

    def stop_asked(self) -> str:
        return self.stop

    def wait(self, until: float) -> None:
        # answers take no time in this world, unless the policy hangs
        while self.thread is not None and self.policy.gate.is_set() and self.thread.busy:
            self.thread._open.wait(0.001)
        self.t = max(until, self.t + 1e-4)
        while self._events and self._events[0][0] <= self.t:
            self._events.pop(0)[1]()
        self.sense()

    # -- what happens ---------------------------------------------------------------------------------------------

    def at(self, after: float, event: Callable[[], None]) -> None:
        """Let something happen `after` seconds from the beginning."""
        self._events.append((self.begin + after, event))
        self._events.sort(key=lambda pair: pair[0])

    def set(self, after: float, **values) -> None:
        """Set attributes then."""
        self.at(after, lambda: [setattr(self, k, v) for k, v in values.items()])

    def sense(self) -> None:
        while self._next_frame <= self.t:
            self._count += 1
            shade = self._count if self.frozen_picture is None else self.frozen_picture
            rgb = np.full((16, 16, 3), shade % 251, np.uint8)
            stamp = self._next_frame + CAMERA_CLOCK + self.clock_step
            self._frames.append(Frame(stamp, rgb, self._next_frame + self.frame_delay))
            self._next_frame += self.camera_period
        while self._frames and self._frames[0].received <= self.t:
            self.newest = self._frames.pop(0)
        if self.joints_on:
            stamp = self.t + CAMERA_CLOCK + self.joint_clock_step
            self.reading = JointReading(stamp, self.t, self.q.copy(), np.zeros(6), np.zeros(6))


def run(
    world: World, watchdog: WatchdogConfig | None = None, limits: Limits | None = None, **kwargs
):
    """A rollout in this world with the parts' defaults."""
    kinematics = Kinematics(ROBOSUITE_TOOL)
    space = world.policy.info.action_space if world.policy is not None else "osc_pose"
    return run_policy(
        world.thread,
        world,
        kwargs.pop("servo", None) or Servo(ServoConfig(space), kinematics),
        Limiter(limits or Limits(), kinematics),
        Watchdog(watchdog or WatchdogConfig()),
        **kwargs,
    )
