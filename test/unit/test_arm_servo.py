"""What an action means as motion."""

from __future__ import annotations

import numpy as np
import pytest
from arm_world import HOME

from robomd_ros.arm.kinematics import (
    ROBOSUITE_LIFT_BASE,
    ROBOSUITE_TOOL,
    Kinematics,
    Pose,
    quaternion,
)
from robomd_ros.arm.ports import JointReading
from robomd_ros.arm.proprioception import proprioception
from robomd_ros.arm.servo import Command, Servo, ServoConfig
from robomd_ros.core.errors import InvalidArgumentError, NotReadyError, SafetyError

KINEMATICS = Kinematics(ROBOSUITE_TOOL)
DT = 0.01


def made(space: str = "osc_pose", **kwargs) -> Servo:
    servo = Servo(ServoConfig(space, **kwargs), KINEMATICS)
    servo.start(HOME)
    return servo


def act(servo: Servo, action, seconds: float, every: float = 0.1, q=HOME) -> np.ndarray:
    """Joints after so long with the same action at the policy's rate, on an arm that follows at once."""
    for k in range(round(seconds / DT)):
        if k % round(every / DT) == 0:
            servo.set_action(np.asarray(action, float))
        q = servo.advance(DT, q).positions
    return q


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("space", ["osc_pose", "osc_position"])
def test_an_action_moves_the_tool_along_the_policys_axes(space, axis):
    servo = made(space)
    action = np.zeros(servo.config.action_dim)
    action[axis] = 0.5
    before, _ = servo.tcp(HOME)
    after, _ = servo.tcp(act(servo, action, 1.0))
    move = after - before

    assert move[axis] > 0.05
    assert np.abs(np.delete(move, axis)).max() < 0.1 * move[axis]


def test_the_ur_base_is_turned_against_the_policys_world():
    """Forward of robosuite's Lift is -x of the pendant's `base`."""
    servo = made()
    after = KINEMATICS.forward(act(servo, [0.5, 0, 0, 0, 0, 0, 0], 1.0))[0]

    assert (after - KINEMATICS.forward(HOME)[0])[0] < -0.05


def test_a_goal_is_approached_without_overshoot_and_held():
    servo = made(uncouple=False)
    start, _ = servo.tcp(HOME)
    servo.set_action([1.0, 0, 0, 0, 0, 0, 0])
    q, way = HOME, []
    for _ in range(100):
        q = servo.advance(DT, q).positions
        way.append(servo.tcp(q)[0][0] - start[0])

    assert max(way) < 0.0501
    np.testing.assert_allclose(way[-1], 0.05, atol=2e-4)
    # critically damped: x(t) = 0.05 (1 - (1 + wt) exp(-wt))
    wt = np.sqrt(150.0) * DT * np.arange(1, 101)
    np.testing.assert_allclose(way, 0.05 * (1 - (1 + wt) * np.exp(-wt)), atol=6e-4)


def test_turning_turns_about_the_policys_axes():
    servo = made(uncouple=False)
    _, before = servo.tcp(HOME)
    servo.set_action([0, 0, 0, 0, 0, 0.4, 0])
    q = HOME
    for _ in range(100):
        q = servo.advance(DT, q).positions
    _, after = servo.tcp(q)

    np.testing.assert_allclose(
        quaternion(after @ before.T), [0, 0, np.sin(0.1), np.cos(0.1)], atol=1e-3
    )


def test_zeros_stand_still():
    np.testing.assert_allclose(act(made(), np.zeros(7), 1.0), HOME, atol=1e-9)


def test_joint_actions():
    q = act(made("joint_position"), [0.0, 1.0, 0, 0, 0, -0.5, 0.0], 1.0, every=2.0)
    np.testing.assert_allclose(q - HOME, [0, 0.05, 0, 0, 0, -0.025], atol=1e-3)
    q = act(made("joint_velocity"), [0.2, 0, 0, -0.4, 0, 0, 0.0], 2.0)
    np.testing.assert_allclose(q - HOME, [0.2, 0, 0, -0.4, 0, 0], atol=0.03)


def test_actions_are_clipped_as_robosuite_does():
    np.testing.assert_allclose(
        act(made(), [9.0, 0, 0, 0, 0, 0, 5.0], 0.3), act(made(), [1.0, 0, 0, 0, 0, 0, 1.0], 0.3)
    )


def test_an_arm_that_is_held_up_is_not_left_behind():
    servo = made(leash=0.02)
    for k in range(300):
        if k % 10 == 0:
            servo.set_action(np.array([1.0, 1.0, -1.0, 0, 0, 0, 0]))
        command = servo.advance(DT, HOME)
        assert np.abs(command.positions - HOME).max() <= 0.02 + 1e-12


def test_velocity_commands_make_up_for_what_the_joints_are_behind():
    servo = made()
    servo.set_action(np.zeros(7))
    behind = HOME - 0.01
    np.testing.assert_allclose(servo.advance(DT, behind).velocities, np.full(6, 0.02), atol=1e-6)


def test_it_goes_on_from_what_was_sent():
    servo = made()
    servo.set_action(np.zeros(7))
    servo.follow(Command(HOME + 0.01, np.zeros(6)))
    moved = servo.advance(1e-4, HOME + 0.01).positions

    np.testing.assert_allclose(moved, HOME + 0.01, atol=1e-3)


@pytest.mark.parametrize("action", [np.zeros(6), np.full(7, np.nan), np.zeros((1, 7))])
def test_a_malformed_action_is_refused(action):
    with pytest.raises(InvalidArgumentError, match="want 7 finite"):
        made().set_action(action)


@pytest.mark.parametrize("q", [np.zeros(5), np.full(6, np.nan)])
def test_malformed_joints_are_refused(q):
    with pytest.raises(SafetyError, match="6 finite"):
        Servo(ServoConfig(), KINEMATICS).start(q)


def test_it_wants_to_be_started():
    with pytest.raises(NotReadyError, match="started"):
        Servo(ServoConfig(), KINEMATICS).advance(DT, HOME)


def test_another_tool_on_the_pendant_is_found():
    servo = Servo(ServoConfig(), KINEMATICS)
    position, rotation = KINEMATICS.forward(HOME)
    servo.start(HOME, position + 0.005, rotation)
    with pytest.raises(SafetyError, match="tool"):
        servo.start(HOME, *Kinematics().forward(HOME))
    with pytest.raises(SafetyError, match="rad"):
        servo.start(HOME, position, rotation @ Pose(rotvec=(0, 0, 1.5)).rotation)


@pytest.mark.parametrize(
    "wrong",
    [
        {"action_space": "pixels"},
        {"rate": 0.0},
        {"rate": np.nan},
        {"stiffness": -1.0},
        {"rate": 200.0},
        {"leash": 0.0},
    ],
)
def test_a_config_that_cannot_be(wrong):
    with pytest.raises(InvalidArgumentError):
        ServoConfig(**wrong)


def test_proprioception_has_the_named_parts_in_order():
    servo = made()
    reading = JointReading(1.0, 1.0, HOME, np.arange(6.0), np.arange(6.0) / 10)
    names = ("joint_vel", "eef_pos", "eef_quat", "gripper_qpos", "joint_pos")
    got = proprioception(names, reading, servo)
    position, rotation = KINEMATICS.forward(HOME)

    assert got.dtype == np.float32
    np.testing.assert_allclose(got[:6], np.arange(6))
    world = ROBOSUITE_LIFT_BASE.rotation @ position + ROBOSUITE_LIFT_BASE.position
    np.testing.assert_allclose(got[6:9], world, atol=1e-6)
    np.testing.assert_allclose(
        got[9:13], quaternion(ROBOSUITE_LIFT_BASE.rotation @ rotation), atol=1e-6
    )
    np.testing.assert_allclose(got[13:19], np.arange(6) / 10, atol=1e-6)
    np.testing.assert_allclose(got[19:], HOME, atol=1e-6)
    assert proprioception((), reading, servo).shape == (0,)
    with pytest.raises(InvalidArgumentError, match="force"):
        proprioception(("force",), reading, servo)
