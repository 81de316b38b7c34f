"""What the stand-in decides without a simulator: motions, stops, faults, hands."""

from __future__ import annotations

import numpy as np
import pytest

from robomd_ros.core.errors import InvalidArgumentError
from sim_bridge.standin_faults import (
    CLOCK_LEAP,
    LATE_BY,
    CameraFaults,
    Fault,
    Faults,
    order,
    parse_schedule,
)
from sim_bridge.standin_motion import MAX_VELOCITY, Hold, Position, Trajectory, Velocity
from sim_bridge.standin_operator import AGAIN, Do, Hands, Kind
from sim_bridge.standin_robot import POSITION, TRAJECTORY, RobotMode, SafetyMode, StandinRobot

DT = 0.002
ZERO = np.zeros(6)


def run(motion, seconds, speed=1.0, start=ZERO):
    reference = np.array(start, float)
    for _ in range(round(seconds / DT)):
        reference, _ = motion.advance(reference, DT, speed)
    return reference


# -- motions ----------------------------------------------------------------------------------------------------------


def test_a_near_position_is_taken_at_once_and_a_far_one_at_the_joints_speed():
    near = np.full(6, 0.005)
    assert run(Position(near), DT) == pytest.approx(near)
    assert run(Position(np.ones(6)), 0.1) == pytest.approx(np.full(6, 0.1 * MAX_VELOCITY))


def test_everything_is_slower_at_40_percent():
    target = np.full(6, 0.2)
    assert (run(Position(target), 0.1, 0.4) < 0.6 * run(Position(target), 0.1)).all()
    assert run(Velocity(target), 1.0, 0.4) == pytest.approx(0.4 * target)
    trajectory = Trajectory([1.0], target[None], None, ZERO)
    assert run(trajectory, 1.0, 0.4) == pytest.approx(0.4 * target, abs=1e-3)
    assert not trajectory.over


def test_hold_holds():
    assert run(Hold(), 1.0, start=np.ones(6)) == pytest.approx(np.ones(6))


@pytest.mark.parametrize("velocities", [None, np.zeros((2, 6))])
def test_a_trajectory_passes_its_points_and_stays_at_the_last(velocities):
    points = np.array([np.full(6, 0.1), np.full(6, -0.2)])
    trajectory = Trajectory([0.5, 1.0], points, velocities, ZERO)
    half = run(trajectory, 0.5)
    assert half == pytest.approx(points[0], abs=2e-3)
    assert run(trajectory, 1.0, start=half) == pytest.approx(points[1])
    assert trajectory.over


def test_a_cubic_trajectory_starts_and_ends_at_rest():
    trajectory = Trajectory([1.0], np.ones((1, 6)), np.zeros((1, 6)), ZERO)
    speeds = [trajectory.advance(ZERO, DT, 1.0)[1][0] for _ in range(499)]
    assert abs(speeds[0]) < 0.02
    assert max(speeds) == pytest.approx(1.5, abs=0.01)


@pytest.mark.parametrize(
    ("times", "positions"),
    [
        ([], np.zeros((0, 6))),
        ([1.0], np.zeros((1, 5))),
        ([1.0, 1.0], np.zeros((2, 6))),
        ([-1.0], np.zeros((1, 6))),
        ([np.nan], np.zeros((1, 6))),
        ([1.0], np.full((1, 6), np.inf)),
    ],
)
def test_a_malformed_trajectory_is_refused(times, positions):
    with pytest.raises(InvalidArgumentError):
        Trajectory(times, positions, None, ZERO)


# -- the controller box -----------------------------------------------------------------------------------------------


def test_a_protective_stop_pauses_and_commands_are_counted_and_not_done():
    robot = StandinRobot()
    assert robot.command(POSITION, 0.0)
    robot.protective_stop(1.0)
    assert (robot.robot_mode, robot.safety_mode) == (RobotMode.RUNNING, SafetyMode.PROTECTIVE_STOP)
    assert not robot.program_running
    assert not robot.command(POSITION, 1.02)
    assert robot.counts["commands_while_stopped"] == 1
    assert robot.last_command_after_stop == pytest.approx(0.02)


def test_after_a_protective_stop_it_runs_only_when_unlocked_and_played():
    robot = StandinRobot()
    robot.protective_stop(0.0)
    assert "PROTECTIVE_STOP" in robot.play()
    assert robot.unlock_protective_stop() is None
    assert not robot.moving
    assert robot.play() is None
    assert robot.moving
    assert not robot.motion_dropped  # as a real one: it goes on with what it was doing


def test_set_mode_with_stop_forgets_the_motion():
    robot = StandinRobot()
    robot.protective_stop(0.0)
    assert robot.recover(7, stop=True, play=True, now=1.0) is None
    assert robot.moving
    assert robot.motion_dropped


def test_an_emergency_stop_holds_until_the_button_is_out():
    robot = StandinRobot()
    robot.emergency_stop(0.0)
    assert (robot.robot_mode, robot.safety_mode) == (
        RobotMode.POWER_OFF,
        SafetyMode.ROBOT_EMERGENCY_STOP,
    )
    for refused in (robot.recover(7, True, True, 1.0), robot.power_on(), robot.restart_safety()):
        assert "pressed" in refused
    robot.release_button()
    assert not robot.moving
    assert "POWER_OFF" in robot.play()
    assert robot.recover(7, True, True, 1.0) is None
    assert robot.moving


def test_the_dashboard_brings_it_back_step_by_step():
    robot = StandinRobot()
    robot.emergency_stop(0.0)
    robot.release_button()
    assert robot.power_on() is None
    assert robot.robot_mode is RobotMode.IDLE
    assert robot.brake_release() is None
    assert robot.play() is None
    assert robot.moving


def test_one_motion_controller_at_a_time():
    robot = StandinRobot(strict=True)
    assert not robot.command(POSITION, 0.0)
    assert "one motion controller" in robot.switch([POSITION], [])
    assert robot.switch([POSITION], [TRAJECTORY]) is None
    assert robot.command(POSITION, 0.0)
    assert not robot.command(TRAJECTORY, 0.0)
    assert robot.counts["commands_to_inactive_controller"] == 2
    assert "no such controller" in robot.switch(["nonsense"], [])


# -- faults -----------------------------------------------------------------------------------------------------------


def test_a_schedule_is_parsed_or_refused():
    assert parse_schedule("") == ()
    one, two = parse_schedule("4:protective_stop, 8:frozen_camera")
    assert (one.rollout, one.fault) == (4, Fault.PROTECTIVE_STOP)
    assert (two.rollout, two.fault, two.until_finished) == (8, Fault.FROZEN_CAMERA, True)
    for text in ("4", "x:clear", "0:clear", "4:fire", "4:"):
        with pytest.raises(InvalidArgumentError):
            parse_schedule(text)


@pytest.mark.parametrize(
    ("name", "delay", "duration"),
    [
        ("fire", 0.0, 0.0),
        ("frozen_camera", float("nan"), 0.0),
        ("frozen_camera", 0.0, -1.0),
        ("frozen_camera", 0.0, float("inf")),
    ],
)
def test_a_wrong_order_is_refused(name, delay, duration):
    with pytest.raises(InvalidArgumentError):
        order(name, delay, duration)


def test_a_scheduled_fault_begins_after_the_first_command_of_its_rollout_and_ends_with_it():
    faults = Faults(parse_schedule("2:frozen_camera"))
    faults.started()
    faults.commanded(0.0)
    assert faults.begin(10.0) == ()
    faults.finished()
    faults.started()
    assert faults.begin(20.0) == ()
    faults.commanded(20.0)
    faults.commanded(20.5)
    assert faults.begin(20.9) == ()
    assert [o.fault for o in faults.begin(21.0)] == [Fault.FROZEN_CAMERA]
    assert faults.begin(21.1) == ()
    assert faults.on == (Fault.FROZEN_CAMERA,)
    faults.finished()
    assert faults.on == ()
    assert faults.history == ["2:frozen_camera"]


def test_a_fault_of_a_rollout_that_ended_before_it_does_not_come():
    faults = Faults(parse_schedule("1:emergency_stop"))
    faults.started()
    faults.commanded(0.0)
    faults.finished()
    assert faults.begin(5.0) == ()


def test_an_injected_fault_lasts_for_its_duration_or_until_it_is_cleared():
    faults = Faults()
    faults.inject(order("silent_camera", -1.0, 2.0), 0.0)
    faults.inject(order("speed_scaling", -1.0, 0.0), 0.0)
    faults.begin(0.0)
    assert set(faults.on) == {Fault.SILENT_CAMERA, Fault.SPEED_SCALING}
    faults.begin(2.5)
    assert faults.on == (Fault.SPEED_SCALING,)
    faults.inject(order("clear", -1.0, 0.0), 3.0)
    assert faults.on == ()


def pictures(fault: str, seconds: float = 1.0, rate: float = 10.0):
    """(now, stamp, picture) of everything published; pictures are numbers, one every 0.1 s."""
    faults = Faults()
    camera: CameraFaults[int] = CameraFaults(faults)
    out = [(0.0, s, p) for s, p in camera.take(0.0, 0.0, 0)]
    faults.inject(order(fault, -1.0, seconds), 0.05)
    for i in range(1, 40):
        now = i / rate
        faults.begin(now)
        out += [(now, s, p) for s, p in camera.due(now)]
        out += [(now, s, p) for s, p in camera.take(now, now, i)]
    return out


def test_a_frozen_camera_has_fresh_stamps_and_an_old_picture():
    frozen = [(s, p) for now, s, p in pictures("frozen_camera") if 0.1 <= now < 1.0]
    assert [p for _, p in frozen] == [0] * 9
    assert len({s for s, _ in frozen}) == 9


def test_a_silent_camera_says_nothing_and_comes_back():
    out = pictures("silent_camera")
    assert not [now for now, _, _ in out if 0.05 < now < 1.0]
    assert out[-1][2] == 39


def test_a_late_camera_is_later_and_later_and_loses_nothing():
    out = pictures("late_camera", seconds=3.0)
    late = [now - s for now, s, _ in out if 0.2 < now < 3.0]
    assert np.diff(late).min() > -0.11
    assert max(late) == pytest.approx(LATE_BY, abs=0.11)
    assert [p for _, _, p in out] == list(range(40))


def test_frames_come_twice_or_in_the_wrong_order():
    twice = [p for now, _, p in pictures("duplicate_frames") if 0.1 <= now < 1.0]
    assert twice == [p for i in range(1, 10) for p in (i, i)]
    swapped = [p for now, _, p in pictures("out_of_order_frames") if 0.1 <= now < 0.9]
    assert swapped == [2, 1, 4, 3, 6, 5, 8, 7]


def test_stamps_leap():
    leapt = [s - now for now, s, _ in pictures("clock_jump") if 0.1 <= now < 1.0]
    assert leapt == pytest.approx([CLOCK_LEAP] * 9)


# -- hands ------------------------------------------------------------------------------------------------------------


def test_hands_do_each_request_once_and_answer_when_told_to():
    hands = Hands(0.3, answers=True)
    hands.asked(0.0, "a", Kind.SET_UP, "cube_red")
    hands.asked(0.1, "a", Kind.SET_UP, "cube_red")
    assert hands.due(0.2) == ()
    assert [(act.do, act.payload) for act in hands.due(0.3)] == [
        (Do.SHOW, "cube_red"),
        (Do.ANSWER, None),
    ]
    hands.asked(0.4, "a", Kind.SET_UP, "cube_red")
    assert hands.due(1.0) == ()


def test_an_answer_that_was_not_taken_is_given_again():
    hands = Hands(0.0, answers=True)
    hands.asked(0.0, "a", Kind.CONSENT)
    assert [act.do for act in hands.due(0.0)] == [Do.PLACE, Do.ANSWER]
    hands.asked(AGAIN + 0.1, "a", Kind.CONSENT)
    assert [act.do for act in hands.due(AGAIN + 0.1)] == [Do.ANSWER]


def test_hands_without_a_voice_leave_the_answer_to_people():
    hands = Hands(0.3, answers=False)
    hands.asked(0.0, "a", Kind.RECOVER)
    assert [act.do for act in hands.due(5.0)] == [Do.MAKE_SAFE]


def test_a_request_that_was_given_up_is_not_worked_on():
    hands = Hands(0.3, answers=True)
    hands.asked(0.0, "a", Kind.SET_UP, "cube_red")
    hands.asked(0.1, "", Kind.NONE)
    assert hands.due(5.0) == ()
