"""What a policy's action means as motion of the joints."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from robomd_ros.arm.joint_model import JointPositionModel, JointVelocityModel
from robomd_ros.arm.kinematics import ROBOSUITE_LIFT_BASE, Kinematics, Pose
from robomd_ros.arm.osc import OscModel
from robomd_ros.core.errors import InvalidArgumentError, NotReadyError, SafetyError

ACTION_DIM = {"osc_pose": 7, "osc_position": 4, "joint_position": 7, "joint_velocity": 7}
"""Length of an action by action space; the last number is the gripper."""
TOOL_TOLERANCE = 0.02
"""The arm's own TCP may be this far from the computed one [m]; farther away the tool is configured wrongly."""
_DRIFT_GAIN = 2.0  # [1/s] of velocity commands; an arm that trails by 30 ms is driven 6 % faster


@dataclass(frozen=True)
class ServoConfig:
    """How actions become joint targets; the defaults are robosuite's.

    Attributes:
        action_space: of the policy: "osc_pose" (dx dy dz, rotation vector, gripper), "osc_position" (dx dy dz gripper),
            "joint_position" (six changes, gripper), "joint_velocity" (six, gripper); all numbers in -1..1.
        rate: of the policy [Hz].
        command_rate: of the joint targets [Hz].
        position_scale, rotation_scale: of an osc action of 1 [m, rad].
        joint_scale: of a joint_position action of 1 [rad].
        velocity_scale: of a joint_velocity action of 1 [rad/s].
        stiffness, joint_stiffness: kp of osc and joint actions [1/s²]; critically damped.
        uncouple: see OscModel; False for a policy that was not trained with robosuite's OSC.
        leash: the targets may be this far ahead of the measured joints [rad].
        policy_frame: the UR's `base` in the policy's world frame: axes of the actions, origin of eef_pos.
    """

    action_space: str = "osc_pose"
    rate: float = 10.0
    command_rate: float = 100.0
    position_scale: float = 0.05
    rotation_scale: float = 0.5
    joint_scale: float = 0.05
    velocity_scale: float = 0.5
    stiffness: float = 150.0
    joint_stiffness: float = 50.0
    uncouple: bool = True
    leash: float = 0.1
    policy_frame: Pose = field(default=ROBOSUITE_LIFT_BASE)

    def __post_init__(self) -> None:
        if self.action_space not in ACTION_DIM:
            raise InvalidArgumentError(
                f"action space {self.action_space!r}: the arm takes {', '.join(ACTION_DIM)}."
            )
        for name in ("rate", "command_rate", "stiffness", "joint_stiffness", "leash"):
            if not 0.0 < getattr(self, name) < np.inf:
                raise InvalidArgumentError(
                    f"servo: {name} = {getattr(self, name)}; want more than 0."
                )
        if self.command_rate < self.rate:
            raise InvalidArgumentError(
                f"servo: command_rate {self.command_rate:g} Hz is below the policy's {self.rate:g} Hz."
            )

    @property
    def action_dim(self) -> int:
        """Length of an action."""
        return ACTION_DIM[self.action_space]


@dataclass(frozen=True)
class Command:
    """One target for the arm.

    Attributes:
        positions: (6,) [rad], order of JOINTS.
        velocities: (6,) [rad/s] that lead there and stay there: what the joints are behind is made up for.
        gripper: -1 open .. 1 closed.
    """

    positions: NDArray[np.float64]
    velocities: NDArray[np.float64]
    gripper: float = -1.0


class Servo:
    """Turns actions at the policy's rate into joint targets at the command rate.

    The targets are the joints of a model of the arm that the policy was trained on; the real arm follows them.
    """

    def __init__(self, config: ServoConfig, kinematics: Kinematics) -> None:
        self.config, self.kinematics = config, kinematics
        self._axes = config.policy_frame.rotation  # turns vectors of `base` into the policy's frame
        self._model: OscModel | JointPositionModel | JointVelocityModel = self._build()
        self._gripper, self._started = -1.0, False

    def _build(self) -> OscModel | JointPositionModel | JointVelocityModel:
        config = self.config
        if config.action_space == "joint_position":
            return JointPositionModel(config.joint_stiffness)
        if config.action_space == "joint_velocity":
            return JointVelocityModel(config.joint_stiffness)
        return OscModel(self.kinematics, config.stiffness, config.uncouple)

    def start(
        self,
        q: NDArray[np.float64],
        tcp_position: NDArray[np.float64] | None = None,
        tcp_rotation: NDArray[np.float64] | None = None,
    ) -> None:
        """Begin at the measured state, at rest.

        Args:
            q: (6,) measured joints [rad].
            tcp_position: (3,) the arm's own TCP in `base` [m], where it is known: checked against the computed one.
            tcp_rotation: (3, 3) of the same; checked, too.

        Raises:
            SafetyError: q is not six finite numbers, or the arm's own TCP is another one.
        """
        q = np.asarray(q, np.float64)
        if q.shape != (6,) or not np.isfinite(q).all():
            raise SafetyError(f"measured joints {q.tolist()!r:.120}: want 6 finite numbers.")
        position, rotation = self.kinematics.forward(q)
        if tcp_position is not None:
            _check_tool(float(np.linalg.norm(tcp_position - position)), TOOL_TOLERANCE, "m")
        if tcp_rotation is not None:
            cosine = (np.trace(rotation.T @ tcp_rotation) - 1.0) / 2.0
            _check_tool(float(np.arccos(np.clip(cosine, -1.0, 1.0))), 0.1, "rad")
        self._model.start(q)
        self._gripper, self._started = -1.0, True

    def set_action(self, action: NDArray[np.floating]) -> None:
        """Take the policy's newest action, (A,) in -1..1; what lies outside is clipped as robosuite does.

        Raises:
            InvalidArgumentError: another length, or a number that is not finite.
        """
        values = np.asarray(action, np.float64)
        if values.shape != (self.config.action_dim,) or not np.isfinite(values).all():
            raise InvalidArgumentError(
                f"{self.config.action_space} action: want {self.config.action_dim} finite numbers; "
                f"got {values.tolist()!r:.120}."
            )
        values = np.clip(values, -1.0, 1.0)
        self._gripper = float(values[-1])
        if isinstance(self._model, OscModel):
            move = self.config.position_scale * values[:3]
            turn = np.zeros(3)
            if self.config.action_space == "osc_pose":
                turn = self.config.rotation_scale * values[3:6]
            self._model.set_goal(self._axes.T @ move, self._axes.T @ turn)
        elif isinstance(self._model, JointPositionModel):
            self._model.set_goal(self.config.joint_scale * values[:6])
        else:
            self._model.set_goal(self.config.velocity_scale * values[:6])

    def advance(self, dt: float, q_measured: NDArray[np.float64]) -> Command:
        """The target dt seconds after the one before; never farther than the leash from the measured joints (6,).

        Raises:
            NotReadyError: `start` was not called.
        """
        if not self._started:
            raise NotReadyError("the servo was not started at a measured state.")
        self._model.advance(dt)
        ahead = self._model.q - q_measured
        held = np.clip(ahead, -self.config.leash, self.config.leash)
        pulled = held != ahead
        if pulled.any():  # the arm is held up: the model waits for it
            self._model.q = q_measured + held
            self._model.qd = np.where(pulled, 0.0, self._model.qd)
        correction = _DRIFT_GAIN * (self._model.q - q_measured)
        return Command(self._model.q.copy(), self._model.qd + correction, self._gripper)

    def follow(self, sent: Command) -> None:
        """Go on from the command that was really sent, after a limiter changed it."""
        self._model.q, self._model.qd = sent.positions.copy(), sent.velocities.copy()

    def tcp(self, q: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Position (3,) [m] and rotation (3, 3) of the TCP in the policy's frame, for the joints q (6,) [rad]."""
        position, rotation = self.kinematics.forward(q)
        return self._axes @ position + self.config.policy_frame.position, self._axes @ rotation


def _check_tool(difference: float, tolerance: float, unit: str) -> None:
    if not difference <= tolerance:
        raise SafetyError(
            f"the arm's own TCP is {difference:.3f} {unit} from the one computed with the configured tool; want "
            f"at most {tolerance:g}: set the parameter tool (flange to TCP) to what the pendant says."
        )
