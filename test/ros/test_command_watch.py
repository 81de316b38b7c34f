"""What a rehearsal sees on the wire, and what it makes of it."""

from __future__ import annotations

from typing import Any

import pytest
from ros_graph import Graph, until
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from robomd_msgs.msg import CellState, RolloutStatus
from robomd_ros.adapters import names, qos
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.adapters.command_watch import CommandWatch
from robomd_ros.arm.rehearsal import EXPECTED, WatchedRollout
from robomd_ros.core.outcome import Outcome


def test_homing_is_no_command_of_the_rollout_unless_the_cell_is_stopped(graph: Graph) -> None:
    arm, node = (graph.add(lambda n=n, **kw: RobomdNode(n, **kw)) for n in ("arm", "watcher"))
    watch = CommandWatch(node, {1: "protective_stop"})
    home = arm.create_publisher(
        JointTrajectory, "scaled_joint_trajectory_controller/joint_trajectory", qos.EVENTS
    )
    forward = arm.create_publisher(
        Float64MultiArray, "forward_position_controller/commands", qos.EVENTS
    )
    status = arm.create_publisher(RolloutStatus, names.ROLLOUT_STATUS, qos.ROLLOUT_STATUS)
    state = arm.create_publisher(CellState, names.CELL_STATE, qos.LATCHED)
    until(lambda: home.get_subscription_count() and forward.get_subscription_count())
    heard = 0

    def say(publisher: Any, msg: Any) -> None:
        """Publish it, and wait until the watch has heard it, so that the order is known."""
        nonlocal heard
        publisher.publish(msg)
        if publisher in (home, forward):
            heard += 1
            until(lambda: len(watch._commands) == heard)

    say(status, RolloutStatus(rollout_id="r", state=RolloutStatus.STARTED))
    until(lambda: watch.rollouts)
    say(forward, Float64MultiArray())
    say(status, RolloutStatus(rollout_id="r", state=RolloutStatus.FINISHED))
    until(lambda: watch.rollouts[0].finished)
    say(home, JointTrajectory())
    say(state, CellState(state=CellState.STOPPED))
    until(lambda: watch._stopped_since)
    say(home, JointTrajectory())
    say(state, CellState(state=CellState.READY))
    until(lambda: watch._stops)
    say(home, JointTrajectory())
    assert watch.rollouts[0].commands_after_end == 0
    assert watch.commands_while_stopped == 1
    say(forward, Float64MultiArray())
    assert watch.rollouts[0].commands_after_end == 1


@pytest.mark.parametrize("fault", EXPECTED)
def test_a_fault_has_one_right_outcome(fault: str) -> None:
    fine = [o for o in Outcome if WatchedRollout("r", 1, 2, o, fault=fault).as_expected]
    assert fine == [EXPECTED[fault]]
    assert not WatchedRollout("r", 1, 0, EXPECTED[fault], fault=fault).as_expected  # never ended
