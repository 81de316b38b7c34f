"""The stand-in's arm in its scene: real physics, no ROS."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from robomd_ros.arm.kinematics import ROBOSUITE_HOME, ROBOSUITE_TOOL, Kinematics
from sim_bridge.standin_arm import DOF, StandinArm
from sim_bridge.standin_cell import PUSH, StandinCell
from sim_bridge.standin_faults import Faults, order, parse_schedule
from sim_bridge.standin_motion import Hold, Position, Trajectory, Velocity
from sim_bridge.standin_robot import POSITION, TRAJECTORY, VELOCITY, SafetyMode, StandinRobot

HOME = np.array(ROBOSUITE_HOME)


@pytest.fixture(scope="module")
def arm():
    made = StandinArm()
    yield made
    made.close()


@pytest.fixture
def rig(arm):
    """A cell whose arm stands at HOME; `run` lets time pass, `pauses` says how long the process would have stopped."""
    pauses: list[float] = []
    arm.gripper, arm.motion = -1.0, Trajectory([0.5], HOME[None], None, arm.reference)
    arm.speed, arm.braked = 1.0, False
    for _ in range(50):
        arm.advance(0.02)
    arm.stand()
    made = StandinCell(arm, StandinRobot(), Faults(), 0, pauses.append)
    clock = SimpleNamespace(now=100.0)

    def run(seconds: float, each=lambda now: None) -> float:
        for _ in range(round(seconds / 0.01)):
            each(clock.now)
            clock.now += 0.01
            made.advance(clock.now)
        return clock.now

    made.advance(clock.now)
    return SimpleNamespace(
        cell=made,
        arm=arm,
        robot=made.robot,
        faults=made.faults,
        run=run,
        clock=clock,
        pauses=pauses,
    )


def q(rig):
    return rig.arm.positions[:DOF]


def test_it_stands_still_without_a_command(rig):
    before = q(rig)
    rig.run(1.0)
    assert np.abs(q(rig) - before).max() < 1e-3


def test_streamed_positions_are_followed(rig):
    start, begun = q(rig), rig.clock.now
    off = []

    def target(now):
        return start + 0.2 * np.sin(2.0 * (now - begun))

    def each(now):
        assert rig.cell.command(POSITION, Position(target(now)), now)
        off.append(np.abs(q(rig) - target(now)).max())

    rig.run(1.5, each)
    assert max(off) < 0.02
    assert np.abs(q(rig) - start).max() > 0.02


def test_a_velocity_goes_on_until_zeros_stop_it(rig):
    start = q(rig)
    pan = np.array([0.2, 0, 0, 0, 0, 0])
    rig.cell.command(VELOCITY, Velocity(pan), rig.clock.now)
    rig.run(1.0)
    assert q(rig)[0] - start[0] == pytest.approx(0.2, abs=0.02)
    rig.cell.command(VELOCITY, Velocity(0 * pan), rig.clock.now)
    rig.run(0.1)
    stopped = q(rig)
    rig.run(0.5)
    assert np.abs(q(rig) - stopped).max() < 1e-3


def test_it_really_moves_slower_at_40_percent(rig):
    start = q(rig)
    rig.cell.inject(order("speed_scaling", -1.0, 0.0), rig.clock.now)
    rig.run(0.01)
    assert rig.cell.speed == pytest.approx(0.4)
    rig.cell.command(VELOCITY, Velocity(np.full(6, 0.1)), rig.clock.now)
    rig.run(1.0)
    assert q(rig) - start == pytest.approx(np.full(6, 0.04), abs=0.01)


def test_a_commanded_jump_is_a_protective_stop_and_the_arm_stays(rig):
    start = q(rig)
    assert rig.cell.command(POSITION, Position(start + 0.01), rig.clock.now)
    rig.run(0.1)
    assert not rig.cell.command(POSITION, Position(start + 0.5), rig.clock.now)
    assert rig.robot.safety_mode is SafetyMode.PROTECTIVE_STOP
    rig.run(0.5)
    assert np.abs(q(rig) - start).max() < 0.02


def test_a_paused_motion_goes_on_when_it_is_only_played_and_not_when_it_was_stopped(rig):
    start = q(rig)
    rig.cell.command(VELOCITY, Velocity(np.array([0.2, 0, 0, 0, 0, 0])), rig.clock.now)
    rig.run(0.2)
    rig.robot.protective_stop(rig.clock.now)
    rig.run(0.2)
    held = q(rig)
    rig.run(0.3)
    assert np.abs(q(rig) - held).max() < 2e-3
    rig.robot.unlock_protective_stop()
    rig.robot.play()
    rig.run(0.3)
    assert q(rig)[0] > held[0] + 0.03  # the danger that a driver has to avert
    rig.robot.protective_stop(rig.clock.now)
    rig.run(0.1)
    assert rig.robot.recover(7, stop=True, play=True, now=rig.clock.now) is None
    rig.run(0.1)
    there = q(rig)
    rig.run(0.5)
    assert np.abs(q(rig) - there).max() < 2e-3
    assert isinstance(rig.arm.motion, Hold)
    assert start[0] < there[0]


def test_after_a_joint_jump_it_says_where_it_stood_until_it_runs_again(rig):
    start = q(rig)
    rig.cell.inject(order("joint_jump", -1.0, 0.0), rig.clock.now)
    rig.run(0.1)
    assert rig.robot.safety_mode is SafetyMode.PROTECTIVE_STOP
    assert rig.cell.joints[:DOF] == pytest.approx(start, abs=1e-3)
    assert q(rig)[0] - start[0] == pytest.approx(PUSH, abs=0.02)
    rig.cell.make_safe()
    rig.robot.recover(7, stop=True, play=True, now=rig.clock.now)
    rig.run(0.1)
    assert rig.cell.joints[0] - start[0] == pytest.approx(PUSH, abs=0.02)
    assert not rig.cell.command(POSITION, Position(start), rig.clock.now)


def test_a_scheduled_stop_comes_after_the_first_command_of_its_rollout(rig):
    rig.faults.__init__(parse_schedule("1:protective_stop,2:lost_network"))
    rig.cell.started("a")
    rig.run(0.5)
    assert rig.robot.moving
    start = q(rig)
    commanded = rig.clock.now
    rig.run(2.0, lambda now: rig.cell.command(POSITION, Position(start), now))
    assert rig.robot.stopped_at - commanded == pytest.approx(1.0, abs=0.03)
    assert rig.robot.counts["commands_while_stopped"] > 50
    rig.cell.finished()
    rig.robot.recover(7, True, True, rig.clock.now)
    rig.cell.started("b")
    rig.run(1.5, lambda now: rig.cell.command(POSITION, Position(start), now))
    assert rig.pauses == [3.0]


def test_the_cube_lies_elsewhere_in_each_rollout_and_the_same_for_the_same_seed(rig):
    def place(rollout, seed=0):
        rig.faults.rollouts = rollout
        made = StandinCell(rig.arm, StandinRobot(), rig.faults, seed)
        made.place_cube()
        return rig.arm.scene.cube_position

    first, second, other = place(0), place(1), place(0, seed=1)
    assert np.linalg.norm(first - second) > 1e-3
    assert np.linalg.norm(first - other) > 1e-3
    assert place(0) == pytest.approx(first)
    assert np.abs(first[:2]).max() <= 0.06


def test_homing_places_the_cube_and_a_trajectory_of_the_policy_does_not(rig):
    homing = Trajectory([1.0], HOME[None], None, HOME)
    rig.faults.rollouts = 5
    before = rig.arm.scene.cube_position
    rig.cell.command(TRAJECTORY, homing, rig.clock.now)
    placed = rig.arm.scene.cube_position
    assert np.linalg.norm(placed - before) > 1e-3
    rig.cell.started("a")
    rig.cell.command(TRAJECTORY, homing, rig.clock.now)
    assert rig.arm.scene.cube_position == pytest.approx(placed)


def test_success_is_a_cube_that_was_held_up(rig):
    joint = rig.arm._data.joint(rig.arm.scene.model.body("cube_main").jntadr[0])
    rig.cell.started("a")
    rig.run(0.5)
    assert not rig.cell.finished()

    def lift(_):
        # beside the hand, which would catch it; barely above what counts as up, so that it is down at once
        joint.qpos[:3], joint.qvel[:] = (0.15, 0.15, 0.88), 0.0

    rig.cell.started("b")
    rig.run(0.1, lift)  # thrown up, not held
    rig.run(0.6)
    assert not rig.arm.success
    rig.run(0.5, lift)
    rig.run(0.5)
    assert rig.cell.finished()
    rig.cell.started("c")
    assert not rig.arm.success


def test_the_gripper_closes_and_opens(rig):
    def width():
        return rig.arm.positions[DOF:]

    rig.run(0.5)
    opened = width()
    rig.arm.gripper = 1.0
    rig.run(1.0)
    assert np.abs(width() - opened).max() > 0.3
    rig.arm.gripper = -1.0
    rig.run(1.0)
    assert width() == pytest.approx(opened, abs=0.05)


def test_physics_that_was_kept_waiting_is_made_up_for_a_little_and_told(rig):
    steps, lost = rig.arm.steps, rig.arm.lost
    rig.arm.advance(0.05)
    assert rig.arm.steps - steps == pytest.approx(25, abs=1)
    rig.arm.advance(3.0)
    assert rig.arm.steps - steps == pytest.approx(75, abs=2)  # a step may be left over each time
    assert rig.arm.lost - lost == pytest.approx(2.9, abs=0.01)


def test_the_tool_is_where_the_arms_own_kinematics_say(rig):
    kinematics = Kinematics(ROBOSUITE_TOOL)
    for target in (HOME, HOME + 0.15, HOME - 0.15):
        rig.arm.motion = Trajectory([0.5], target[None], None, rig.arm.reference)
        rig.run(1.0)
        position, rotation = rig.arm.tcp_in_base()
        there, turned = kinematics.forward(q(rig))
        assert position == pytest.approx(there, abs=1.5e-3)
        assert rotation == pytest.approx(turned, abs=1e-3)


def test_a_finger_bent_through_is_straightened_and_the_arm_gets_home(arm):
    arm.scene.place(3)
    arm.stand()
    home = arm.positions[:DOF].copy()
    finger = arm._all_qpos[DOF + 3]  # as seen after a press against the table
    arm._data.qpos[finger] = 3.18

    assert arm.mend_fingers()
    assert not arm.mend_fingers()
    arm.motion = Position(home)
    for _ in range(100):
        arm.advance(0.01)
    assert np.abs(arm.positions[:DOF] - home).max() < 0.01
