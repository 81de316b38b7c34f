"""robosuite's tasks as scenes that a seed determines: reset, step, look.

The same for every task: OSC_POSE deltas at 10 Hz, gripper speed 0.5, robosuite's default joint noise of 0.02 rad, and
success = robosuite's own check for HOLD_STEPS control steps in a row, so that a lucky bounce does not count. What differs
(environment, horizon, where things lie, camera) stands in `sim_bridge.tasks`, one file a task; the shipped policies are
trained against exactly that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError, NotReadyError
from robomd_ros.policies.base import Observation
from sim_bridge import gl
from sim_bridge.appearance import Appearance
from sim_bridge.build import ROBOTS, aim_camera, build
from sim_bridge.tasks import get_task

IMAGE_HEIGHT = IMAGE_WIDTH = 96
"""The one image size of shipped policies and studies [pixel]."""
RATE = 10.0
HOLD_STEPS = 3
ACTION_DIM = 7
PROPRIO = ("eef_pos", "eef_quat", "gripper_qpos")
"""Default parts of the proprioception vector."""


class Scene:
    """A few things on a table, an arm, a camera. Not thread-safe: one thread makes it and uses it.

    Attributes:
        task, robot, rate [Hz], horizon [control steps; 0 = the task's]: as constructed.
        model, data: MuJoCo's own (mjModel, mjData).
        appearance: what the camera is shown; outlives resets.
        joint_names: of the arm, then of the gripper.
    """

    def __init__(
        self,
        task: str = "lift",
        robot: str = "Panda",
        image_height: int = IMAGE_HEIGHT,
        image_width: int = IMAGE_WIDTH,
        camera: str = "",
        rate: float = RATE,
        horizon: int = 0,
        seed: int = 0,
        proprio: Sequence[str] = PROPRIO,
    ) -> None:
        made = get_task(task)
        if robot not in ROBOTS:
            raise InvalidArgumentError(f"robot {robot!r}: want one of {ROBOTS}.")
        gl.prepare()
        from sim_bridge.render import Renderer

        self.task, self.robot, self.rate = task, robot, float(rate)
        self.horizon = int(horizon or made.horizon)
        self.image_height, self.image_width = image_height, image_width
        self.proprio_names = tuple(proprio)
        self._env = build(made, robot, rate, self.horizon)
        self._robot = self._env.robots[0]
        self.model, self.data = self._env.sim.model._model, self._env.sim.data._data
        self._camera = self._env.sim.model.camera_name2id(camera or made.camera.name)
        if not camera:
            aim_camera(self.model, self._camera, made.camera)
        self._things = made.things
        self._joints = [*self._robot.robot_joints, *self._robot.gripper_joints["right"]]
        self._substeps = round(1.0 / rate / self._env.model_timestep)
        self._renderer: Any = Renderer(self.model, self.data, self._camera)
        self.appearance = Appearance(self.model, self.data, self._camera, made)
        self._held = 0
        self.reset(seed)

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Arm joints, then gripper joints, without robosuite's prefixes."""
        return tuple(
            n.removeprefix("robot0_").removeprefix("gripper0_right_") for n in self._joints
        )

    @property
    def joint_positions(self) -> NDArray[np.float64]:
        """(J,) rad; m for prismatic joints."""
        model = self._env.sim.model
        return np.array([self.data.qpos[model.get_joint_qpos_addr(n)] for n in self._joints])

    @property
    def joint_velocities(self) -> NDArray[np.float64]:
        """(J,) rad/s; m/s for prismatic joints."""
        model = self._env.sim.model
        return np.array([self.data.qvel[model.get_joint_qvel_addr(n)] for n in self._joints])

    @property
    def time(self) -> float:
        """Simulation time since the last reset [s]."""
        return round(float(self.data.time), 6)  # whole microseconds: MuJoCo adds up 2 ms steps

    @property
    def eef_position(self) -> NDArray[np.float64]:
        """(3,) metres: the point between the fingers in the world frame."""
        return np.array(self.data.site_xpos[self._robot.eef_site_id["right"]])

    @property
    def eef_quaternion(self) -> NDArray[np.float64]:
        """(4,) x y z w of the hand in the world frame, w >= 0."""
        import mujoco

        wxyz = np.empty(4)
        mujoco.mju_mat2Quat(wxyz, self.data.site_xmat[self._robot.eef_site_id["right"]])
        return np.roll(wxyz if wxyz[0] >= 0 else -wxyz, -1)

    def position(self, name: str) -> NDArray[np.float64]:
        """(3,) metres in the world of one of the task's things. Ground truth: for experts and tests, never for a policy."""
        import mujoco

        if name not in self._things:
            raise InvalidArgumentError(f"thing {name!r}: {self.task} has {list(self._things)}.")
        thing = self._things[name]
        body = mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_BODY, thing)
        return np.array(self.data.xpos[body] if body >= 0 else self.data.site(thing).xpos)

    @property
    def cube_position(self) -> NDArray[np.float64]:
        """(3,) metres: of the cube, in the tasks that have one; see `position`."""
        return self.position("cube")

    def proprio(self, names: Sequence[str] | None = None) -> NDArray[np.float32]:
        """The named parts, concatenated, float32.

        Names: eef_pos (3) [m], eef_quat (4) xyzw, gripper_qpos (2 for Panda, 6 for UR5e) [m or rad],
        joint_pos and joint_vel (arm, 7 or 6) [rad, rad/s].
        """
        arm = len(self._robot.robot_joints)
        parts = {
            "eef_pos": lambda: self.eef_position,
            "eef_quat": lambda: self.eef_quaternion,
            "gripper_qpos": lambda: self.joint_positions[arm:],
            "joint_pos": lambda: self.joint_positions[:arm],
            "joint_vel": lambda: self.joint_velocities[:arm],
        }
        wanted = self.proprio_names if names is None else names
        unknown = [n for n in wanted if n not in parts]
        if unknown:
            raise InvalidArgumentError(f"proprioception {unknown}: want some of {list(parts)}.")
        values = [parts[n]() for n in wanted]
        return np.concatenate(values or [np.zeros(0)]).astype(np.float32)

    def reset(self, seed: int) -> Observation:
        """Put the scene into the state the seed determines and look at it; see `place`."""
        self.place(seed)
        return self.observe()

    def place(self, seed: int) -> None:
        """Put the scene into the state the seed determines, whatever happened before.

        Start pose of the arm and poses of the things are drawn from `np.random.default_rng(seed)`; everything else
        (velocities, controls, warm start, controller goals, gripper command) starts as it does in a fresh process.
        """
        import mujoco

        rng = np.random.default_rng(seed)
        self._env.rng = self._env.placement_initializer.rng = rng
        self._env.reset()
        # robosuite makes the controllers before the gripper and the cube are placed: bring all of it up to date
        mujoco.mj_forward(self.model, self.data)
        controller = self._robot.composite_controller
        controller.update_state()
        for part in controller.part_controllers.values():
            part.update(force=True)
        controller.reset()
        self._held = 0

    @property
    def pose(self) -> NDArray[np.float64]:
        """Where everything is, (nq,): for `show`."""
        return np.array(self.data.qpos)

    def show(self, pose: NDArray[np.float64]) -> None:
        """Put everything where it was once, at rest: to be looked at. Place the scene anew before anything moves."""
        import mujoco

        self.data.qpos[:], self.data.qvel[:] = pose, 0.0
        mujoco.mj_forward(self.model, self.data)

    def step(self, action: NDArray[np.float32]) -> Observation:
        """Apply one action for one control period.

        Args:
            action: (7,) dx dy dz droll dpitch dyaw gripper in -1..1 (x 5 cm, x 0.5 rad a step; gripper > 0 closes).
        """
        command = np.asarray(action, np.float64)
        if command.shape != (ACTION_DIM,) or not np.isfinite(command).all():
            raise InvalidArgumentError(
                f"action: want {ACTION_DIM} finite numbers, got {command.tolist()!r:.120}."
            )
        self._advance(np.clip(command, -1.0, 1.0))
        return self.observe()

    def _advance(self, command: NDArray[np.float64]) -> None:
        """Do robosuite's step() without its observations, which nobody reads here and which cost a third of it."""
        sim = self._env.sim
        for i in range(self._substeps):
            sim.step1()
            self._env._pre_action(command, policy_step=i == 0)
            sim.step2()
        self.refresh()
        self._held = self._held + 1 if self.solved else 0

    def refresh(self) -> None:
        """Bring the positions of geoms, sites, lights and cameras up to the joint positions; physics stays as it is."""
        import mujoco

        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)

    @property
    def solved(self) -> bool:
        """The check of robosuite itself at this instant, e.g. the cube is 4 cm above the table."""
        return bool(self._env._check_success())

    def success(self) -> bool:
        """The task has been solved for HOLD_STEPS control steps in a row."""
        return self._held >= HOLD_STEPS

    def observe(self) -> Observation:
        """What a policy sees now."""
        return Observation(self.render(), self.proprio(), self.time)

    def render(self, height: int | None = None, width: int | None = None) -> NDArray[np.uint8]:
        """(height, width, 3) uint8 RGB, right side up; the scene's own size where none is given."""
        if self._renderer is None:
            raise NotReadyError("the scene is closed: make a new one.")
        return self._renderer.render(height or self.image_height, width or self.image_width)

    def intrinsics(
        self, height: int | None = None, width: int | None = None
    ) -> NDArray[np.float64]:
        """(3, 3) K of a pinhole without distortion, [pixel]; MuJoCo's fovy is the vertical opening angle."""
        h, w = height or self.image_height, width or self.image_width
        focal = 0.5 * h / np.tan(np.deg2rad(self.model.cam_fovy[self._camera]) / 2)
        # pixel centres lie at integer + 0.5 in OpenGL, at integers in sensor_msgs/CameraInfo
        return np.array([[focal, 0.0, (w - 1) / 2], [0.0, focal, (h - 1) / 2], [0.0, 0.0, 1.0]])

    def camera_pose(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Position (3,) [m] and rotation (3, 3) of the optical frame in the world: x right, y down, z forward."""
        rotation = self.data.cam_xmat[self._camera].reshape(3, 3) @ np.diag([1.0, -1.0, -1.0])
        return np.array(self.data.cam_xpos[self._camera]), rotation

    def close(self) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
