"""What the stand-in cell publishes, under the names of a UR driver and a RealSense camera. All relative."""

from __future__ import annotations

import importlib
from array import array
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, TransformStamped
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Bool, Float64

from robomd_ros.adapters import names, qos, stamps
from robomd_ros.adapters.images import image_to_msg
from robomd_ros.arm.kinematics import ROBOSUITE_LIFT_BASE
from sim_bridge import messages
from sim_bridge.cell import CAMERA_FRAME
from sim_bridge.standin_arm import DOF
from sim_bridge.standin_cell import StandinCell
from sim_bridge.standin_faults import CLOCK_LEAP, CameraFaults, Fault

CAMERA_IMAGE = "camera/camera/color/image_raw"
CAMERA_INFO = "camera/camera/color/camera_info"
PROGRAM_RUNNING = "io_and_status_controller/robot_program_running"
ROBOT_MODE = "io_and_status_controller/robot_mode"
SAFETY_MODE = "io_and_status_controller/safety_mode"
SPEED_SCALING = "speed_scaling_state_broadcaster/speed_scaling"
TCP_POSE = "tcp_pose_broadcaster/pose"
BASE_FRAME, TCP_FRAME = "base", "tool0_controller"


def optional(module: str) -> Any:
    """A package that comes with a UR driver, or None where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


class StandinTopics:
    """The publishers; used on the thread that owns the cell."""

    def __init__(self, node: Node, cell: StandinCell) -> None:
        self._cell = cell
        self._camera_faults: CameraFaults[NDArray[np.uint8]] = CameraFaults(cell.faults)
        self._said: dict[str, int] = {}
        publish = node.create_publisher
        self._joints = publish(JointState, names.JOINT_STATES, qos.CAMERA_WRITER)
        self._image = publish(Image, CAMERA_IMAGE, qos.CAMERA_WRITER)
        self._info = publish(CameraInfo, CAMERA_INFO, qos.CAMERA_WRITER)
        self._program = publish(Bool, PROGRAM_RUNNING, qos.LATCHED)
        self._speed = publish(Float64, SPEED_SCALING, qos.CAMERA_WRITER)
        self._tcp = publish(PoseStamped, TCP_POSE, qos.CAMERA_WRITER)
        self._modes: Any = optional("ur_dashboard_msgs.msg")
        if self._modes is not None:
            self._robot_mode = publish(self._modes.RobotMode, ROBOT_MODE, qos.LATCHED)
            self._safety_mode = publish(self._modes.SafetyMode, SAFETY_MODE, qos.LATCHED)
        self._tf_type: Any = optional("tf2_msgs.msg")
        if self._tf_type is not None:
            self._tf = publish(self._tf_type.TFMessage, "tf", qos.CAMERA_WRITER)
            static = publish(self._tf_type.TFMessage, "tf_static", qos.LATCHED)
            static.publish(self._tf_type.TFMessage(transforms=self._fixed_frames()))

    def state(self) -> None:
        """Modes and program, latched, where they changed."""
        robot = self._cell.robot
        if self._changed("program", int(robot.program_running)):
            self._program.publish(Bool(data=bool(robot.program_running)))
        if self._modes is not None:
            if self._changed("robot", int(robot.robot_mode)):
                self._robot_mode.publish(self._modes.RobotMode(mode=int(robot.robot_mode)))
            if self._changed("safety", int(robot.safety_mode)):
                self._safety_mode.publish(self._modes.SafetyMode(mode=int(robot.safety_mode)))

    def joints(self, wall: float) -> None:
        """Arm and gripper, unless they are silent."""
        if Fault.SILENT_JOINTS in self._cell.faults.on:
            return
        scene = self._cell.arm.scene
        msg = JointState(name=list(scene.joint_names))
        msg.header.stamp = stamps.from_seconds(self._stamp(wall))
        msg.position = array("d", self._cell.joints.tolist())
        msg.velocity = array("d", self._cell.arm.velocities.tolist())
        torques = self._cell.arm.torques.tolist()
        msg.effort = array("d", torques + [0.0] * (len(msg.name) - DOF))
        self._joints.publish(msg)

    def robot(self, wall: float) -> None:
        """Speed scaling as the driver's code says it, 0..100, and the tool's pose."""
        self._speed.publish(Float64(data=100.0 * self._cell.speed))
        pose = PoseStamped()
        pose.header.stamp, pose.header.frame_id = stamps.from_seconds(self._stamp(wall)), BASE_FRAME
        position, rotation = self._cell.arm.tcp_in_base()
        _fill(pose.pose.position, pose.pose.orientation, position, rotation)
        self._tcp.publish(pose)
        if self._tf_type is not None:
            tool = _transform(BASE_FRAME, TCP_FRAME, position, rotation)
            tool.header.stamp = pose.header.stamp
            self._tf.publish(self._tf_type.TFMessage(transforms=[tool]))

    def camera(self, now: float, wall: float) -> None:
        """Take a picture, and publish what the faults make of it."""
        picture = self._cell.arm.scene.render()
        for stamp, image in self._camera_faults.take(now, wall, picture):
            self._show(stamp, image)

    def late_pictures(self, now: float) -> None:
        """Publish late pictures whose time has come."""
        for stamp, image in self._camera_faults.due(now):
            self._show(stamp, image)

    def _show(self, stamp: float, image: NDArray[np.uint8]) -> None:
        self._info.publish(messages.camera_info(self._cell.arm.scene, stamp))
        self._image.publish(image_to_msg(image, stamps.from_seconds(stamp), CAMERA_FRAME))

    def _stamp(self, wall: float) -> float:
        return wall + CLOCK_LEAP * (Fault.CLOCK_JUMP in self._cell.faults.on)

    def _changed(self, name: str, value: int) -> bool:
        before = self._said.get(name)
        self._said[name] = value
        return before != value

    def _fixed_frames(self) -> list[TransformStamped]:
        base = ROBOSUITE_LIFT_BASE
        position, rotation = self._cell.arm.scene.camera_pose()
        return [
            _transform(messages.WORLD_FRAME, "base_link", base.position, np.eye(3)),
            _transform("base_link", BASE_FRAME, np.zeros(3), base.rotation),
            _transform(messages.WORLD_FRAME, CAMERA_FRAME, position, rotation),
        ]


def _transform(
    parent: str, child: str, position: NDArray[np.float64], rotation: NDArray[np.float64]
) -> TransformStamped:
    msg = TransformStamped(child_frame_id=child)
    msg.header.stamp, msg.header.frame_id = stamps.wall(), parent
    _fill(msg.transform.translation, msg.transform.rotation, position, rotation)
    return msg


def _fill(
    place: Any, turn: Any, position: NDArray[np.float64], rotation: NDArray[np.float64]
) -> None:
    import mujoco  # after gl.prepare

    wxyz = np.empty(4)
    mujoco.mju_mat2Quat(wxyz, np.ascontiguousarray(rotation).ravel())
    place.x, place.y, place.z = position.tolist()
    turn.w, turn.x, turn.y, turn.z = wxyz.tolist()
