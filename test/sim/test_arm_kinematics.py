"""The arm's kinematics and the servo's model against robosuite's UR5e, in MuJoCo."""

import mujoco
import numpy as np
import pytest

from robomd_ros.arm.inertia import mass_matrix
from robomd_ros.arm.kinematics import (
    JOINTS,
    ROBOSUITE_HOME,
    ROBOSUITE_LIFT_BASE,
    ROBOSUITE_TOOL,
    Kinematics,
    Pose,
    quaternion,
)
from robomd_ros.arm.servo import Servo, ServoConfig
from sim_bridge.scene import ACTION_DIM, Scene

SEED = 700_000
STEPS = 20
TICKS = 10  # commands a policy step


@pytest.fixture(scope="module")
def scene():
    made = Scene(robot="UR5e")
    yield made
    made.close()


@pytest.fixture
def servo():
    return Servo(ServoConfig(), Kinematics(ROBOSUITE_TOOL))


def put(scene: Scene, q: np.ndarray) -> None:
    """The arm's joints, kinematics only."""
    for name, value in zip(JOINTS, q, strict=True):
        joint = mujoco.mj_name2id(scene.model, mujoco.mjtObj.mjOBJ_JOINT, f"robot0_{name}")
        scene.data.qpos[scene.model.jnt_qposadr[joint]] = value
    scene.refresh()


def poses(scene: Scene, servo: Servo, n: int = 200):
    """Position differences (n, 3) [m] and rotation differences (n,) [rad] over random joints."""
    rng = np.random.default_rng(0)
    positions, turns = [], []
    for q in rng.uniform(-np.pi, np.pi, (n, 6)):
        put(scene, q)
        position, rotation = servo.tcp(q)
        positions.append(position - scene.eef_position)
        turns.append(2 * np.arccos(min(1.0, abs(quaternion(rotation) @ scene.eef_quaternion))))
    return np.array(positions), np.array(turns)


def test_the_scene_names_the_joints_as_the_ur_driver_does(scene):
    assert scene.joint_names[:6] == JOINTS


def test_dh_agrees_with_robosuite_to_a_millimetre(scene, servo):
    positions, turns = poses(scene, servo)

    assert (
        np.linalg.norm(positions, axis=1).max() < 1.1e-3
    )  # measured: 0.99 mm, DH has d6 = 99.6 mm, robosuite 98
    assert turns.max() < 1e-5


@pytest.mark.parametrize(
    ("tool", "base"),
    [
        (ROBOSUITE_TOOL, Pose(ROBOSUITE_LIFT_BASE.xyz)),  # base_link taken for base
        (Pose(ROBOSUITE_TOOL.xyz), ROBOSUITE_LIFT_BASE),  # the gripper not turned
        (None, ROBOSUITE_LIFT_BASE),
    ],
)
def test_a_wrong_frame_is_far_away(scene, tool, base):
    positions, turns = poses(scene, Servo(ServoConfig(policy_frame=base), Kinematics(tool)), 20)

    assert np.linalg.norm(positions, axis=1).max() > 0.1 or turns.max() > 1.0


def test_the_start_pose_is_robosuites(scene):
    scene.place(SEED)

    np.testing.assert_allclose(scene.joint_positions[:6], ROBOSUITE_HOME, atol=0.1)  # noise of 0.02


def test_the_mass_matrix_is_the_simulators(scene):
    scene.place(SEED)
    mujoco.mj_forward(scene.model, scene.data)
    full = np.zeros((scene.model.nv, scene.model.nv))
    mujoco.mj_fullM(scene.model, full, scene.data.qM)
    names = [
        mujoco.mj_name2id(scene.model, mujoco.mjtObj.mjOBJ_JOINT, f"robot0_{n}") for n in JOINTS
    ]
    dofs = scene.model.jnt_dofadr[names]
    frames = Kinematics(ROBOSUITE_TOOL).frames(scene.joint_positions[:6])

    np.testing.assert_allclose(mass_matrix(frames), full[np.ix_(dofs, dofs)], atol=0.02)


def play(scene: Scene, servo: Servo, actions: np.ndarray):
    """The same actions through robosuite's OSC and through the servo: TCPs (N + 1, 3) [m] and angle between them [rad]."""
    scene.place(SEED)
    servo.start(scene.joint_positions[:6])
    q = scene.joint_positions[:6]
    theirs, ours, turns = [scene.eef_position], [servo.tcp(q)[0]], []
    for action in actions:
        scene._advance(np.clip(action, -1.0, 1.0))
        servo.set_action(action[[0, 1, 2, 6]] if servo.config.action_dim == 4 else action)
        for _ in range(TICKS):
            q = servo.advance(1.0 / (scene.rate * TICKS), q).positions
        position, rotation = servo.tcp(q)
        theirs.append(scene.eef_position)
        ours.append(position)
        cosine = abs(quaternion(rotation) @ scene.eef_quaternion)
        turns.append(2 * np.arccos(min(1.0, cosine)))
    return np.array(theirs), np.array(ours), np.array(turns)


def straight() -> np.ndarray:
    actions = np.zeros((STEPS, ACTION_DIM))
    actions[:, :3] = 0.3, 0.2, -0.1
    return actions


def wandering(rotation: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    actions = np.zeros((STEPS, ACTION_DIM))
    actions[:, :3] = np.repeat(rng.uniform(-0.5, 0.5, (STEPS // 4, 3)), 4, axis=0)
    actions[:, 3:6] = np.repeat(rng.uniform(-rotation, rotation, (STEPS // 4, 3)), 4, axis=0)
    return actions


def fast() -> np.ndarray:
    """As the shipped policy moves: full speed towards the table, then slower."""
    actions = np.zeros((STEPS, ACTION_DIM))
    actions[:4, :3] = 1.0, 0.5, -0.8
    actions[4:8, :3] = -0.6, -1.0, 0.5
    return actions


@pytest.mark.parametrize(
    ("actions", "space"),
    [
        (straight(), "osc_pose"),
        (wandering(0.0), "osc_position"),
        (wandering(0.2), "osc_pose"),
        (fast(), "osc_pose"),
    ],
)
def test_the_servo_moves_as_robosuites_controller_does(scene, actions, space):
    servo = Servo(ServoConfig(action_space=space), Kinematics(ROBOSUITE_TOOL))
    theirs, ours, turns = play(scene, servo, actions)
    away = np.linalg.norm(theirs - ours, axis=1)

    assert np.linalg.norm(theirs[-1] - theirs[0]) > 0.03
    assert away.max() < 2.8e-3  # measured: 0.75 .. 1.44 mm
    assert turns.max() < np.radians(0.2)  # measured: 0.11 degrees at most


def test_a_plain_second_order_pose_would_not_do(scene):
    plain = Servo(ServoConfig(uncouple=False), Kinematics(ROBOSUITE_TOOL))
    theirs, ours, _ = play(scene, plain, fast())

    assert np.linalg.norm(theirs - ours, axis=1).max() > 0.02
