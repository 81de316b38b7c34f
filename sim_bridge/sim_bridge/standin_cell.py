"""The stand-in cell without ROS: an arm, its controller box, what is wrong with it, and the rollouts it hears of.

One thread owns it; time is passed in [s, steady clock].
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sim_bridge.standin_arm import DOF, StandinArm
from sim_bridge.standin_faults import LOST_FOR, REDUCED_SPEED, Fault, Faults, Order
from sim_bridge.standin_motion import Joints, Motion, Position, Trajectory
from sim_bridge.standin_robot import MOTION_CONTROLLERS, TRAJECTORY, StandinRobot

MAX_JUMP = 0.2
"""A commanded position this far from the one before [rad] stops the arm, as a UR stops itself."""
PUSH = 0.25
"""How far the arm is pushed in a JOINT_JUMP [rad]."""


def pause_process(seconds: float) -> None:
    """Stop this process, all of it, and have it continued by a child."""
    command = f"sleep {seconds:.3f}; kill -CONT {os.getpid()}"
    subprocess.Popen(["/bin/sh", "-c", command], start_new_session=True)
    os.kill(os.getpid(), signal.SIGSTOP)


class StandinCell:
    """See module.

    Attributes:
        arm, robot, faults: its parts.
        success: the running or last rollout's, by rollout id.
    """

    def __init__(
        self,
        arm: StandinArm,
        robot: StandinRobot,
        faults: Faults,
        seed: int = 0,
        pause: Callable[[float], None] = pause_process,
    ) -> None:
        self.arm, self.robot, self.faults = arm, robot, faults
        self._seed, self._pause = seed, pause
        self._last_command: Joints | None = None
        self._told: NDArray[np.float64] | None = None
        self._before: float | None = None
        self._rollout_id = ""
        self.place_cube()

    # -- time ---------------------------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """Everything up to now: faults begin and end, the arm moves."""
        for order in self.faults.begin(now):
            self._begin(order, now)
        self.settle()
        if self._before is not None:
            self.arm.advance(now - self._before)
        self._before = now

    def settle(self) -> None:
        """The arm obeys the box."""
        robot, arm = self.robot, self.arm
        arm.speed = self.speed
        arm.braked = not robot.moving
        if robot.moving:
            self._told = None
        if robot.motion_dropped:
            robot.motion_dropped = False
            arm.stand()

    @property
    def speed(self) -> float:
        """Speed scaling, 0..1."""
        reduced = REDUCED_SPEED if Fault.SPEED_SCALING in self.faults.on else 1.0
        return self.robot.slider * reduced

    @property
    def joints(self) -> NDArray[np.float64]:
        """(J,) what the arm says of itself [rad]: after a JOINT_JUMP where it stood before, until it runs again."""
        return self.arm.positions if self._told is None else self._told

    # -- commands -----------------------------------------------------------------------------------------------------

    def command(self, controller: str, motion: Motion, now: float) -> bool:
        """A motion controller was told to move; whether the arm does it."""
        if controller not in MOTION_CONTROLLERS:
            raise ValueError(controller)
        if self._rollout_id:
            self.faults.commanded(now)
        elif controller == TRAJECTORY:
            self.place_cube()  # it homes: the scene is made ready
        self.settle()
        if not self.robot.command(controller, now):
            return False
        if isinstance(motion, Position):
            if self._jumps(motion.target):
                logging.getLogger(__name__).info("protective stop: a jump was commanded")
                self.robot.protective_stop(now)
                return False
            self._last_command = motion.target
        self.arm.motion = motion
        return True

    def trajectory_start(self) -> Joints:
        """Where a trajectory begins: the reference of now."""
        return self.arm.reference

    def arrived(self, trajectory: Trajectory, tolerance: float) -> bool:
        """The trajectory is over and the arm is there."""
        off = np.abs(self.arm.positions[:DOF] - trajectory.goal).max()
        return bool(trajectory.over and off < tolerance)

    def _jumps(self, target: Joints) -> bool:
        before = self._last_command if isinstance(self.arm.motion, Position) else None
        reference = self.arm.reference if before is None else before
        return bool(np.abs(target - reference).max() > MAX_JUMP)

    # -- rollouts and hands -------------------------------------------------------------------------------------------

    def started(self, rollout_id: str) -> None:
        """A rollout began."""
        self._rollout_id = rollout_id
        self.faults.started()
        self.arm.watch_success()

    def finished(self) -> bool:
        """The rollout ended; whether the cube was up."""
        self._rollout_id = ""
        self.faults.finished()
        return self.arm.success

    def place_cube(self) -> None:
        """Make the scene ready for the next rollout: the same one for the same seed and number."""
        self._free_hand()
        self.arm.place_cube(np.random.default_rng([self._seed, self.faults.rollouts]))

    def make_safe(self) -> None:
        """The operator looks at the arm: button out, nothing in its way."""
        self.faults.recovered()
        self.robot.release_button()
        self._free_hand()

    def _free_hand(self) -> None:
        if self.arm.mend_fingers():
            logging.getLogger(__name__).info("a bent finger was straightened")

    # -- faults -------------------------------------------------------------------------------------------------------

    def inject(self, order: Order, now: float) -> None:
        """Order a fault; CLEAR also releases the button."""
        self.faults.inject(order, now)
        if order.fault is Fault.CLEAR:
            self.make_safe()

    def _begin(self, order: Order, now: float) -> None:
        if order.fault is Fault.PROTECTIVE_STOP:
            self.robot.protective_stop(now)
        elif order.fault is Fault.EMERGENCY_STOP:
            self.robot.emergency_stop(now)
        elif order.fault is Fault.PROGRAM_STOP:
            self.robot.stop_program(now)
        elif order.fault is Fault.JOINT_JUMP:
            self._told = self.arm.positions.copy()
            self.robot.protective_stop(now)
            self.arm.push(0, PUSH)
        elif order.fault is Fault.LOST_NETWORK:
            self._pause(order.duration or LOST_FOR)
