"""robosuite's UR5e at its table, driven as a real one is: by joint targets in wall time, not by robosuite's controllers.

Used on one thread. A torque servo (computed torque, critically damped) follows the reference that a Motion gives; physics
runs at 500 Hz.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomd_ros.arm.kinematics import JOINTS, ROBOSUITE_LIFT_BASE
from sim_bridge.scene import HOLD_STEPS, IMAGE_HEIGHT, IMAGE_WIDTH, RATE, Scene
from sim_bridge.standin_motion import Hold, Joints, Motion

DOF = len(JOINTS)
MAX_CATCH_UP = 0.1
"""Wall time that physics makes up for at once [s]; what is missed beyond that is lost, and told."""

_BANDWIDTH = 80.0  # [rad/s] of the servo: it trails a moving reference by 2 / 80 s
_GRIPPER_STEP = 0.5  # of the range -1..1, a control period: as scene's gripper
_BENT = 0.5  # [rad] between a finger's joint and its mirror image: a press against the table broke the linkage
_TO_BASE = ROBOSUITE_LIFT_BASE.rotation.T


class StandinArm:
    """The scene, the servo, the gripper and the success check.

    Attributes:
        scene: robosuite's.
        motion: what the arm shall do; replace it at any time.
        speed: speed scaling, 0..1.
        braked: the arm stands still whatever the motion wants.
        gripper: -1 opens, 1 closes.
        step: of physics [s]. steps, lost: done; wall time [s] that physics could not make up for.
    """

    def __init__(self, seed: int = 0, height: int = IMAGE_HEIGHT, width: int = IMAGE_WIDTH) -> None:
        self.scene = Scene(robot="UR5e", image_height=height, image_width=width, seed=seed)
        self._model, self._data = self.scene.model, self.scene.data
        model = self._model
        joints = [model.joint(f"robot0_{name}") for name in JOINTS]
        every = [model.joint(name) for name in self.scene._joints]
        self._all_qpos = np.array([j.qposadr[0] for j in every])
        self._all_dof = np.array([j.dofadr[0] for j in every])
        self._qpos = np.array([j.qposadr[0] for j in joints])
        self._dof = np.array([j.dofadr[0] for j in joints])
        motors = [
            a for a in range(model.nu) if model.actuator_trnid[a, 0] in {j.id for j in joints}
        ]
        self._motors = np.array(sorted(motors, key=lambda a: model.actuator_trnid[a, 0]))
        self._fingers = np.array([a for a in range(model.nu) if a not in motors])
        self.step = float(model.opt.timestep)
        self.motion: Motion = Hold()
        self.speed, self.braked, self.gripper = 1.0, False, -1.0
        self.steps, self.lost = 0, 0.0
        self._reference = self.positions[:DOF].copy()
        self._fingers_open = self._data.qpos[self._all_qpos[DOF:]].copy()
        self._grip, self._grip_due = -1.0, 0.0
        self._lifted_for, self._success = 0, False
        self._check_due = 0.0
        self._pending = 0.0

    @property
    def positions(self) -> NDArray[np.float64]:
        """(J,) rad, arm then gripper, as scene.joint_names."""
        return np.array(self._data.qpos[self._all_qpos])

    @property
    def velocities(self) -> NDArray[np.float64]:
        """(J,) rad/s, as positions."""
        return np.array(self._data.qvel[self._all_dof])

    @property
    def reference(self) -> Joints:
        """(6,) rad: where the servo holds the arm now."""
        return self._reference

    @property
    def torques(self) -> NDArray[np.float64]:
        """(6,) Nm of the motors."""
        return np.array(self._data.ctrl[self._motors])

    @property
    def success(self) -> bool:
        """The cube was held up for HOLD_STEPS control periods at some time since `watch_success`."""
        return self._success

    def watch_success(self) -> None:
        """Forget successes so far: a rollout begins."""
        self._lifted_for, self._success = 0, False

    def advance(self, seconds: float) -> None:
        """Let the physics run for this wall time, MAX_CATCH_UP at most."""
        self._pending += seconds
        if self._pending > MAX_CATCH_UP:
            self.lost += self._pending - MAX_CATCH_UP
            self._pending = MAX_CATCH_UP
        while self._pending >= self.step:
            self._pending -= self.step
            self._physics_step()
        self.scene.refresh()

    def place_cube(self, rng: np.random.Generator) -> None:
        """Put the cube onto the table anew, as a reset of the scene would; the arm stays where it is."""
        sampler = self.scene._env.placement_initializer
        sampler.rng = rng
        for position, quaternion, thing in sampler.sample().values():
            joint = self._data.joint(thing.joints[0])
            joint.qpos[:] = np.concatenate([position, quaternion])
            joint.qvel[:] = 0.0
        self.scene.refresh()

    def mend_fingers(self) -> bool:
        """Straighten a gripper whose linkage a press against the table bent through; whether it was bent.

        Such a finger stands in the wrist's way and no homing frees it; on a real cell a person does this.
        """
        left, right = np.split(self._data.qpos[self._all_qpos[DOF:]], 2)
        if np.abs(left - right).max() < _BENT:
            return False
        self._data.qpos[self._all_qpos[DOF:]] = self._fingers_open
        self._data.qvel[self._all_dof[DOF:]] = 0.0
        self._data.qacc_warmstart[:] = 0.0
        self.scene.refresh()
        return True

    def push(self, joint: int, angle: float) -> None:
        """Move one joint by hand [rad], in no time."""
        self._data.qpos[self._qpos[joint]] += angle
        self._data.qvel[self._dof] = 0.0
        self.stand()
        self.scene.refresh()

    def stand(self) -> None:
        """Hold the arm where it is."""
        self.motion = Hold()
        self._reference = self._data.qpos[self._qpos].copy()

    def tcp_in_base(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Position (3,) [m] and rotation (3, 3) of the grip site in the UR frame `base`."""
        site = self.scene._robot.eef_site_id["right"]
        rotation = self._data.site_xmat[site].reshape(3, 3)
        position = self._data.site_xpos[site] - ROBOSUITE_LIFT_BASE.position
        return _TO_BASE @ position, _TO_BASE @ rotation

    def close(self) -> None:
        """Free the renderer."""
        self.scene.close()

    # -- one step of 2 ms -------------------------------------------------------------------------------------------

    def _physics_step(self) -> None:
        mujoco = _mujoco()
        model, data = self._model, self._data
        motion = Hold() if self.braked else self.motion
        self._reference, wanted = motion.advance(self._reference, self.step, self.speed)
        mujoco.mj_step1(model, data)
        data.ctrl[self._motors] = self._torque(wanted)
        data.ctrl[self._fingers] = self._finger_targets()
        mujoco.mj_step2(model, data)
        self.steps += 1
        self._check_success()

    def _torque(self, wanted: Joints) -> NDArray[np.float64]:
        """M (kp e + kd de) + bias, within the motors' range."""
        model, data = self._model, self._data
        mass = np.empty((model.nv, model.nv))
        _mujoco().mj_fullM(model, mass, data.qM)
        error = self._reference - data.qpos[self._qpos]
        rate = wanted - data.qvel[self._dof]
        acceleration = _BANDWIDTH**2 * error + 2 * _BANDWIDTH * rate
        torque = mass[np.ix_(self._dof, self._dof)] @ acceleration + data.qfrc_bias[self._dof]
        return np.clip(torque, *model.actuator_ctrlrange[self._motors].T)

    def _finger_targets(self) -> NDArray[np.float64]:
        """As robosuite's gripper action at 10 Hz: half the range a control period."""
        if self._data.time >= self._grip_due and not self.braked:
            self._grip_due = self._data.time + 1.0 / RATE
            self._grip = float(np.clip(self._grip + _GRIPPER_STEP * np.sign(self.gripper), -1, 1))
        low, high = self._model.actuator_ctrlrange[self._fingers].T
        return low + (high - low) * (self._grip + 1.0) / 2.0

    def _check_success(self) -> None:
        if self._data.time < self._check_due:
            return
        self._check_due = self._data.time + 1.0 / RATE
        self._lifted_for = self._lifted_for + 1 if self.scene.solved else 0
        self._success |= self._lifted_for >= HOLD_STEPS


def _mujoco() -> Any:
    import mujoco  # after gl.prepare

    return mujoco
