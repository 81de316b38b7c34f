"""No command leaves the limits."""

from __future__ import annotations

import numpy as np
import pytest
from arm_world import HOME
from hypothesis import given, settings
from hypothesis import strategies as st

from robomd_ros.arm.kinematics import ROBOSUITE_TOOL, Kinematics
from robomd_ros.arm.limiter import Limiter, Limits
from robomd_ros.arm.servo import Command
from robomd_ros.core.errors import InvalidArgumentError, SafetyError

KINEMATICS = Kinematics(ROBOSUITE_TOOL)
six = st.lists(st.floats(-0.2, 0.2), min_size=6, max_size=6).map(np.array)


def command(change=0.0, velocity=0.0) -> Command:
    return Command(HOME + change, np.zeros(6) + velocity)


@given(change=six, velocity=six, dt=st.floats(1e-4, 0.1), step=st.floats(1e-3, 0.1))
@settings(max_examples=200, deadline=None)
def test_steps_and_velocities_are_bounded_and_keep_their_direction(change, velocity, dt, step):
    limiter = Limiter(Limits(joint_step=step, joint_velocity=0.8), KINEMATICS)
    sent = limiter.limit(command(change, 10 * velocity), command(), dt, HOME)
    moved = sent.positions - HOME

    assert np.abs(moved).max() <= min(step, 0.8 * dt) + 1e-12
    assert np.abs(sent.velocities).max() <= 0.8 + 1e-12
    np.testing.assert_allclose(np.cross(moved[:3], change[:3]), 0.0, atol=1e-9)
    too_much = np.abs(change).max() > min(step, 0.8 * dt) or np.abs(10 * velocity).max() > 0.8
    assert limiter.clamped == too_much or np.abs(change).max() == pytest.approx(min(step, 0.8 * dt))


def test_a_slow_command_is_let_through_as_it_is():
    limiter = Limiter(Limits(), KINEMATICS)
    wanted = command(0.001, 0.1)

    assert limiter.limit(wanted, command(), 0.01, HOME) is wanted
    assert limiter.clamped == 0


def test_the_first_command_has_to_be_near():
    limiter = Limiter(Limits(first_distance=0.05), KINEMATICS)
    limiter.first(command(0.04), HOME)
    far = np.zeros(6)
    far[3] = -0.06
    with pytest.raises(SafetyError, match=r"first command is 0\.060 rad from the measured wrist_1"):
        limiter.first(command(far), HOME)


def test_an_arm_that_does_not_follow():
    with pytest.raises(SafetyError, match="from the measured"):
        Limiter(Limits(), KINEMATICS).limit(command(), command(), 0.01, HOME + 0.3)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(wrong):
    limiter = Limiter(Limits(), KINEMATICS)
    for bad in (command(wrong), command(0.0, wrong), Command(HOME, np.zeros(6), wrong)):
        with pytest.raises(SafetyError, match="finite"):
            limiter.first(bad, HOME)
        with pytest.raises(SafetyError, match="finite"):
            limiter.limit(bad, command(), 0.01, HOME)


def test_measured_joints_that_are_not_finite_are_refused():
    with pytest.raises(SafetyError):
        Limiter(Limits(), KINEMATICS).first(command(), np.full(6, np.nan))


def test_joint_ranges():
    high = tuple(HOME + 0.01)
    limiter = Limiter(Limits(joint_high=high), KINEMATICS)
    with pytest.raises(SafetyError, match="shoulder_pan_joint"):
        limiter.limit(command(0.012), command(0.011), 0.01, HOME)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("side", [-1, 1])
def test_the_workspace_is_a_box_in_the_urs_base(axis, side):
    at, _ = KINEMATICS.forward(HOME)
    low, high = at - 0.1, at + 0.1
    (high if side > 0 else low)[axis] = at[axis] + side * 0.001
    limiter = Limiter(Limits(workspace_low=tuple(low), workspace_high=tuple(high)), KINEMATICS)
    limiter.limit(command(), command(), 0.01, HOME)
    twist = np.zeros(6)
    twist[axis] = side * 0.004
    out = KINEMATICS.step(HOME, twist, damping=1e-3)
    with pytest.raises(SafetyError, match="workspace"):
        limiter.limit(Command(out, np.zeros(6)), command(), 0.05, HOME)


@pytest.mark.parametrize(
    "wrong",
    [
        {"joint_step": 0.0},
        {"joint_velocity": np.nan},
        {"first_distance": -1.0},
        {"joint_low": (0.0,) * 5},
        {"workspace_low": (0.0, 0.0, 2.0)},
        {"workspace_high": (np.nan, 1.0, 1.0)},
    ],
)
def test_limits_that_cannot_be(wrong):
    with pytest.raises(InvalidArgumentError, match="limits"):
        Limits(**wrong)
