"""Where the tool is, and how it moves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robomd_ros.arm.inertia import mass_matrix
from robomd_ros.arm.kinematics import (
    ROBOSUITE_TOOL,
    Kinematics,
    Pose,
    quaternion,
    rotation_matrix,
)
from robomd_ros.core.errors import InvalidArgumentError

joints = st.lists(st.floats(-6.2, 6.2), min_size=6, max_size=6).map(np.array)
vectors = st.lists(st.floats(-3.0, 3.0), min_size=3, max_size=3).map(np.array)


def test_stretched_out_as_universal_robots_says():
    """All joints zero: the arm lies along -x of `base`, the flange looks along -y."""
    position, rotation = Kinematics().forward(np.zeros(6))

    np.testing.assert_allclose(position, [-0.8172, -0.2329, 0.0628], atol=1e-9)
    np.testing.assert_allclose(rotation[:, 2], [0.0, -1.0, 0.0], atol=1e-9)


def test_upright():
    """Shoulder and wrist 1 at -90 degrees: straight up."""
    position, _ = Kinematics().forward(np.array([0.0, -np.pi / 2, 0.0, -np.pi / 2, 0.0, 0.0]))

    np.testing.assert_allclose(
        position, [0.0, -0.2329, 0.1625 + 0.425 + 0.3922 + 0.0997], atol=1e-9
    )


def test_the_base_turns_the_tool_about_z():
    kinematics = Kinematics(ROBOSUITE_TOOL)
    q = np.array([0.0, -1.7, 2.4, -2.2, -1.6, 0.3])
    position, rotation = kinematics.forward(q)
    turned, turned_rotation = kinematics.forward(q + 0.5 * np.eye(6)[0])
    about_z = rotation_matrix([0.0, 0.0, 0.5])

    np.testing.assert_allclose(turned, about_z @ position, atol=1e-12)
    np.testing.assert_allclose(turned_rotation, about_z @ rotation, atol=1e-12)


def test_the_tool_is_seen_from_the_flange():
    q = np.array([0.4, -1.7, 2.4, -2.2, -1.6, 0.3])
    flange, rotation = Kinematics().forward(q)
    tool = Pose((0.1, -0.2, 0.3), (0.3, 0.1, -0.4))
    position, turned = Kinematics(tool).forward(q)

    np.testing.assert_allclose(position, flange + rotation @ tool.position)
    np.testing.assert_allclose(turned, rotation @ tool.rotation)


@given(q=joints)
@settings(max_examples=50, deadline=None)
def test_the_jacobian_is_the_derivative(q):
    kinematics = Kinematics(ROBOSUITE_TOOL)
    jacobian = kinematics.jacobian(q)
    for i, nudge in enumerate(1e-6 * np.eye(6)):
        ahead, ahead_rotation = kinematics.forward(q + nudge)
        behind, behind_rotation = kinematics.forward(q - nudge)
        turn = (ahead_rotation - behind_rotation) @ kinematics.forward(q)[1].T / 2e-6
        np.testing.assert_allclose(jacobian[:3, i], (ahead - behind) / 2e-6, atol=1e-6)
        np.testing.assert_allclose(jacobian[3:, i], [turn[2, 1], turn[0, 2], turn[1, 0]], atol=1e-6)


def test_steps_of_the_inverse_arrive():
    kinematics = Kinematics(ROBOSUITE_TOOL)
    q = np.array([-0.47, -1.735, 2.48, -2.275, -1.59, -1.991])
    goal = kinematics.forward(q)[0] + [0.05, -0.08, -0.06]
    for _ in range(30):
        q = kinematics.step(q, np.concatenate([goal - kinematics.forward(q)[0], np.zeros(3)]))

    np.testing.assert_allclose(kinematics.forward(q)[0], goal, atol=1e-5)


@given(q=joints)
@settings(max_examples=50, deadline=None)
def test_a_step_stays_finite_also_where_the_arm_is_singular(q):
    q[2] = q[4] = 0.0  # elbow stretched, wrists in line
    step = Kinematics().step(q, np.full(6, 0.01))

    assert (
        np.abs(step - q).max() <= 0.01 * np.sqrt(6) / (2 * 0.02) + 1e-9
    )  # bound of damped least squares


@given(v=vectors)
def test_quaternions_of_rotations(v):
    rotation = rotation_matrix(v)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    angle = np.linalg.norm(v)
    axis = v / angle if angle > 0 else v
    expected = np.array([*np.sin(angle / 2) * axis, np.cos(angle / 2)])
    expected = expected if expected[3] >= 0 else -expected
    q = quaternion(rotation)

    assert q[3] >= 0.0
    assert min(np.abs(q - expected).max(), np.abs(q + expected).max()) < 1e-7


@given(q=joints)
@settings(max_examples=30, deadline=None)
def test_the_mass_matrix_is_one(q):
    mass = mass_matrix(Kinematics().frames(q))

    np.testing.assert_allclose(mass, mass.T, atol=1e-12)
    assert np.linalg.eigvalsh(mass).min() > 0.5


@pytest.mark.parametrize("xyz", [(0.0, np.nan, 0.0), (0.0, 0.0), "abc"])
def test_a_pose_wants_numbers(xyz):
    with pytest.raises((InvalidArgumentError, ValueError)):
        Pose(xyz)
