"""What the simulated cell says in ROS messages."""

from __future__ import annotations

import math
from array import array

from geometry_msgs.msg import PoseStamped
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, JointState

from robomd_msgs.msg import RolloutStatus
from robomd_ros.adapters import stamps
from robomd_ros.adapters.conversions import label_to_msg, perturbation_to_msg
from robomd_ros.core.outcome import Label
from sim_bridge.cell import CAMERA_FRAME, RolloutResult, SimCell
from sim_bridge.jobs import Job
from sim_bridge.scene import Scene

WORLD_FRAME = "world"


def clock(now: float) -> Clock:
    """Simulated time [s]."""
    return Clock(clock=stamps.from_seconds(now))


def camera_info(scene: Scene, now: float) -> CameraInfo:
    """A pinhole without distortion."""
    k = scene.intrinsics()
    msg = CameraInfo(height=scene.image_height, width=scene.image_width)
    msg.header.stamp, msg.header.frame_id = stamps.from_seconds(now), CAMERA_FRAME
    msg.distortion_model = "plumb_bob"
    msg.d = array("d", [0.0] * 5)
    msg.k = k.ravel()
    msg.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    msg.p = [*k[0], 0.0, *k[1], 0.0, *k[2], 0.0]
    return msg


def joint_state(scene: Scene, now: float) -> JointState:
    """Arm and gripper."""
    msg = JointState(name=list(scene.joint_names))
    msg.header.stamp = stamps.from_seconds(now)
    msg.position = array("d", scene.joint_positions.tolist())
    msg.velocity = array("d", scene.joint_velocities.tolist())
    return msg


def ee_pose(scene: Scene, now: float) -> PoseStamped:
    """The point between the fingers in the world."""
    msg = PoseStamped()
    msg.header.stamp, msg.header.frame_id = stamps.from_seconds(now), WORLD_FRAME
    p, q = msg.pose.position, msg.pose.orientation
    p.x, p.y, p.z = scene.eef_position.tolist()
    q.x, q.y, q.z, q.w = scene.eef_quaternion.tolist()
    return msg


def started(cell: SimCell, job: Job, stamp: float) -> RolloutStatus:
    """The scene is ready; `stamp` is that of the frame before the policy moves [s]."""
    msg = RolloutStatus(
        rollout_id=job.rollout_id,
        state=RolloutStatus.STARTED,
        control=int(job.control),
        task=cell.scene.task,
        robot=cell.scene.robot,
        policy_id=cell.policy.info.id if cell.policy is not None else "",
        purpose=job.purpose,
        seed=int(job.seed),
        speed_scaling=math.nan,
    )
    msg.header.stamp, msg.header.frame_id = stamps.from_seconds(stamp), CAMERA_FRAME
    msg.perturbation = perturbation_to_msg(job.perturbation, cell.scene.task, verified=False)
    return msg


def finished(cell: SimCell, job: Job, result: RolloutResult, label: Label) -> RolloutStatus:
    """The rollout is over; its stamp is that of the last frame."""
    msg = started(cell, job, float(result.trace.stamps[-1]))
    msg.state = RolloutStatus.FINISHED
    msg.steps = int(result.steps)
    msg.frames = len(result.trace.frames)
    msg.duration = float(result.duration)
    msg.outcome = label_to_msg(label)
    return msg
