"""The policy's actions on the wire: JointState, a stamped vector that every ROS 2 tool reads, plots and imports.

The stamp is that of the frame an action answers, so that a lost message leaves a gap and shifts nothing.
"""

from __future__ import annotations

from array import array

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import JointState

from robomd_ros.adapters import stamps
from robomd_ros.core.assembly import JointSample


def action_to_msg(action: NDArray[np.float32], stamp: Time) -> JointState:
    """An (A,) action that answers the frame of this stamp."""
    msg = JointState(name=[f"action/{at}" for at in range(len(action))])
    msg.header.stamp = stamp
    msg.position = array("d", action.tolist())
    return msg


def action_from_msg(msg: JointState) -> JointSample | None:
    """The action; None where names and numbers do not fit."""
    if not msg.position or len(msg.name) != len(msg.position):
        return None
    values = np.array(msg.position)
    return JointSample(stamps.to_ns(msg.header.stamp), tuple(msg.name), values, np.zeros(0))
