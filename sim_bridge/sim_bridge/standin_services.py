"""What the stand-in cell takes, under the names of a UR driver: commands, services, actions. All relative.

`do(fn, *args)` runs on the thread that owns the cell and returns its result; `send` does not wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from robomd_ros.adapters import qos
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.arm.kinematics import JOINTS
from robomd_ros.core.errors import InvalidArgumentError, RobomdError
from sim_bridge.standin_arm import DOF
from sim_bridge.standin_cell import StandinCell
from sim_bridge.standin_motion import Motion, Position, Trajectory, Velocity
from sim_bridge.standin_robot import (
    MOTION_CONTROLLERS,
    OTHER_CONTROLLERS,
    POSITION,
    TRAJECTORY,
    VELOCITY,
    RobotMode,
)
from sim_bridge.standin_topics import optional

GOAL_TOLERANCE = 0.02  # [rad]
_GOAL_PATIENCE = 2.0  # [s] after the trajectory's end
_POLL = 0.02
_DASHBOARD = ("power_on", "brake_release", "unlock_protective_stop", "restart_safety", "play")

Do = Callable[..., Any]


def trajectory(msg: JointTrajectory, start: np.ndarray) -> Trajectory:
    """A motion of a message: all six joints, in any order.

    Raises:
        InvalidArgumentError: joints that are not the arm's, lengths that do not fit, times that do not rise.
    """
    if sorted(msg.joint_names) != sorted(JOINTS):
        raise InvalidArgumentError(
            f"trajectory of {list(msg.joint_names)!r:.200}: want all of {', '.join(JOINTS)}."
        )
    if any(len(p.positions) != DOF for p in msg.points) or not msg.points:
        raise InvalidArgumentError(f"trajectory: want points of {DOF} positions.")
    order = [list(msg.joint_names).index(name) for name in JOINTS]
    times = [p.time_from_start.sec + p.time_from_start.nanosec * 1e-9 for p in msg.points]
    positions = np.array([p.positions for p in msg.points], np.float64)[:, order]
    velocities = None
    if all(len(p.velocities) == DOF for p in msg.points):
        velocities = np.array([p.velocities for p in msg.points], np.float64)[:, order]
    return Trajectory(times, positions, velocities, start)


class StandinServices:
    """Subscriptions, services and actions; what needs types that are not installed is left out.

    Attributes:
        missing: packages that are not installed.
    """

    def __init__(self, node: RobomdNode, cell: StandinCell, do: Do, send: Do, pin: int) -> None:
        self._node, self._cell, self._do, self._send, self._pin = node, cell, do, send, pin
        self.missing: list[str] = []
        self._commands()
        self._triggers()
        self._io()
        self._controllers()
        self._actions()

    # -- commands -----------------------------------------------------------------------------------------------------

    def _commands(self) -> None:
        for name, motion in ((POSITION, Position), (VELOCITY, Velocity)):
            self._node.listen(
                Float64MultiArray,
                f"{name}/commands",
                lambda msg, name=name, motion=motion: self._forward(name, motion, msg),
                qos.EVENTS,
            )
        self._node.listen(
            JointTrajectory, f"{TRAJECTORY}/joint_trajectory", self._trajectory_topic, qos.EVENTS
        )

    def _forward(
        self, name: str, motion: Callable[[np.ndarray], Motion], msg: Float64MultiArray
    ) -> None:
        target = np.array(msg.data, np.float64)
        if target.shape != (DOF,) or not np.isfinite(target).all():
            raise InvalidArgumentError(f"{name}: want {DOF} finite numbers, got {msg.data!r:.120}")
        self._send(self._cell.command, name, motion(target), time.monotonic())

    def _trajectory_topic(self, msg: JointTrajectory) -> None:
        if msg.points:
            self._send(self._begin_trajectory, msg)
        else:
            self._send(self._cell.arm.stand)

    def _begin_trajectory(self, msg: JointTrajectory) -> Trajectory | None:
        motion = trajectory(msg, self._cell.trajectory_start())
        taken = self._cell.command(TRAJECTORY, motion, time.monotonic())
        return motion if taken else None

    # -- services -----------------------------------------------------------------------------------------------------

    def _triggers(self) -> None:
        robot = self._cell.robot
        for name in _DASHBOARD:
            self._trigger(f"dashboard_client/{name}", getattr(robot, name))
        for name in ("stop", "pause"):
            self._trigger(f"dashboard_client/{name}", lambda: robot.stop_program(time.monotonic()))
        self._trigger("io_and_status_controller/resend_robot_program", robot.resend)
        self._node.serve(SetBool, "gripper/close", self._set_gripper, self._node.reentrant)

    def _trigger(self, name: str, ask: Callable[[], str | None]) -> None:
        def fill(_: Trigger.Request, response: Trigger.Response) -> None:
            refused = self._do(ask)
            response.success, response.message = refused is None, refused or "done"

        self._serve_plain(Trigger, name, fill)

    def _serve_plain(self, srv_type: Any, name: str, fill: Callable[[Any, Any], None]) -> None:
        """A driver's service: no error code in its response."""

        def answer(request: Any, response: Any) -> Any:
            self._node.guard(fill, request, response)
            return response

        self._node.create_service(srv_type, name, answer, callback_group=self._node.reentrant)

    def _set_gripper(self, request: SetBool.Request, response: SetBool.Response) -> None:
        self._do(self._grip, request.data)
        response.success = True

    def _grip(self, close: bool) -> None:
        self._cell.arm.gripper = 1.0 if close else -1.0

    def _io(self) -> None:
        ur_msgs = self._types("ur_msgs.srv")
        if ur_msgs is None:
            return

        def set_io(request: Any, response: Any) -> None:
            digital = request.fun == request.FUN_SET_DIGITAL_OUT
            if digital and request.pin == self._pin:
                self._do(self._grip, request.state > 0.5)
            response.success = digital

        def set_slider(request: Any, response: Any) -> None:
            response.success = self._do(self._cell.robot.set_slider, request.speed_slider_fraction)

        self._serve_plain(ur_msgs.SetIO, "io_and_status_controller/set_io", set_io)
        self._serve_plain(
            ur_msgs.SetSpeedSliderFraction, "io_and_status_controller/set_speed_slider", set_slider
        )

    def _controllers(self) -> None:
        srv = self._types("controller_manager_msgs.srv")
        if srv is None:
            return
        robot = self._cell.robot
        robot.strict = True
        state_type = optional("controller_manager_msgs.msg").ControllerState

        def list_controllers(_: Any, response: Any) -> None:
            active = {robot.active, *OTHER_CONTROLLERS}
            response.controller = [
                state_type(name=name, state="active" if name in active else "inactive")
                for name in (*MOTION_CONTROLLERS, *OTHER_CONTROLLERS)
            ]

        def switch(request: Any, response: Any) -> None:
            refused = self._do(
                self._switch,
                list(request.activate_controllers),
                list(request.deactivate_controllers),
            )
            response.ok, response.message = refused is None, refused or ""

        self._serve_plain(
            srv.ListControllers, "controller_manager/list_controllers", list_controllers
        )
        self._serve_plain(srv.SwitchController, "controller_manager/switch_controller", switch)

    def _switch(self, activate: list[str], deactivate: list[str]) -> str | None:
        before = self._cell.robot.active
        refused = self._cell.robot.switch(activate, deactivate)
        if self._cell.robot.active != before:
            self._cell.arm.stand()
        return refused

    # -- actions ------------------------------------------------------------------------------------------------------

    def _actions(self) -> None:
        dashboard = self._types("ur_dashboard_msgs.action")
        if dashboard is not None:
            self._set_mode_type = dashboard.SetMode
            self._action(dashboard.SetMode, "ur_robot_state_helper/set_mode", self._set_mode)
        control = self._types("control_msgs.action")
        if control is not None:
            self._follow_type = control.FollowJointTrajectory
            name = f"{TRAJECTORY}/follow_joint_trajectory"
            self._action(self._follow_type, name, self._follow)

    def _action(self, action_type: Any, name: str, execute: Callable[[Any], Any]) -> None:
        ActionServer(
            self._node,
            action_type,
            name,
            execute,
            callback_group=self._node.reentrant,
            goal_callback=lambda _: GoalResponse.ACCEPT,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )

    def _set_mode(self, handle: Any) -> Any:
        goal, result = handle.request, self._set_mode_type.Result()
        refused = self._do(self._recover, goal)
        result.success, result.message = refused is None, refused or "done"
        handle.succeed() if refused is None else handle.abort()
        return result

    def _recover(self, goal: Any) -> str | None:
        return self._cell.robot.recover(
            RobotMode(goal.target_robot_mode) if goal.target_robot_mode in set(RobotMode) else 0,
            goal.stop_program,
            goal.play_program,
            time.monotonic(),
        )

    def _follow(self, handle: Any) -> Any:
        kind = self._follow_type.Result
        try:
            motion = self._do(self._begin_trajectory, handle.request.trajectory)
        except RobomdError as error:
            handle.abort()
            return kind(error_code=kind.INVALID_JOINTS, error_string=str(error))
        if motion is None:
            handle.abort()
            return kind(
                error_code=kind.INVALID_GOAL,
                error_string="the controller is not active, or no program",
            )
        return self._watch(handle, motion)

    def _watch(self, handle: Any, motion: Trajectory) -> Any:
        """Follow one goal to its end."""
        kind, cell, late = self._follow_type.Result, self._cell, 0.0
        while not self._node.closing.wait(_POLL):
            if handle.is_cancel_requested:
                self._do(cell.arm.stand)
                handle.canceled()
                return kind(error_string="cancelled")
            if cell.arrived(motion, GOAL_TOLERANCE):
                handle.succeed()
                return kind()
            if cell.arm.motion is not motion or not cell.robot.moving:
                handle.abort()
                return kind(error_code=kind.INVALID_GOAL, error_string="stopped or replaced")
            late += _POLL * motion.over
            if late > _GOAL_PATIENCE:
                break
        handle.abort()
        return kind(error_code=kind.GOAL_TOLERANCE_VIOLATED, error_string="the arm is not there")

    def _types(self, module: str) -> Any:
        found = optional(module)
        if found is None:
            self.missing.append(module.split(".")[0])
        return found
