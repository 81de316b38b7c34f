"""Hears, from outside, what is commanded to an arm, and when rollouts and the arm's own stops begin and end."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import Bool, Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from robomd_msgs.msg import CellState, RolloutStatus
from robomd_ros.adapters import names, qos
from robomd_ros.adapters.ur_config import IO, TRAJECTORY_CONTROLLER
from robomd_ros.arm.rehearsal import WatchedRollout
from robomd_ros.core.outcome import Outcome

COMMANDS = {
    "forward_position_controller/commands": Float64MultiArray,
    "forward_velocity_controller/commands": Float64MultiArray,
    f"{TRAJECTORY_CONTROLLER}/joint_trajectory": JointTrajectory,
}
"""Topics that move the arm."""

_DEEP = QoSProfile(depth=5000)


class CommandWatch:
    """Listens on a node that another thread spins.

    Commands count from STARTED to the next STARTED, but for the trajectories in between, which are homing: once FINISHED
    was said, nothing else may come.

    Args:
        node: its namespace is the cell's.
        faults: what is injected into the n-th rollout, from 1.
    """

    def __init__(self, node: Node, faults: Mapping[int, str]) -> None:
        self.rollouts: list[WatchedRollout] = []
        self._faults = faults
        self._lock = threading.Lock()
        self._commands: list[int] = []
        self._stops: list[tuple[int, int]] = []
        self._stopped_since = 0
        for topic, kind in COMMANDS.items():
            node.create_subscription(kind, topic, self._on_command, _DEEP)
        node.create_subscription(Bool, f"{IO}/robot_program_running", self._on_program, qos.LATCHED)
        node.create_subscription(
            RolloutStatus, names.ROLLOUT_STATUS, self._on_status, qos.ROLLOUT_STATUS
        )
        node.create_subscription(CellState, names.CELL_STATE, self._on_state, qos.LATCHED)

    @property
    def commands_while_stopped(self) -> int:
        """Commands, homing and all, between the cell's word that it is stopped and its word that it no longer is."""
        with self._lock:
            return sum(any(a < t < b for a, b in self._stops) for t in self._commands)

    def _on_state(self, msg: CellState, info: Any) -> None:
        at, stopped = int(info["source_timestamp"]), msg.state == CellState.STOPPED
        with self._lock:
            if stopped:
                self._stopped_since = self._stopped_since or at
            elif self._stopped_since:
                self._stops.append((self._stopped_since, at))
                self._stopped_since = 0

    def _on_command(self, msg: Any, info: Any) -> None:
        at = int(info["source_timestamp"])
        with self._lock:
            self._commands.append(at)
            if not self.rollouts:
                return
            last = self.rollouts[-1]
            # A trajectory after the end is the next homing; the end itself may be heard later than that.
            (last.trajectories if isinstance(msg, JointTrajectory) else last.commands).append(at)

    def _on_program(self, msg: Bool, info: Any) -> None:
        with self._lock:
            if self.rollouts and not msg.data and not self.rollouts[-1].finished:
                self.rollouts[-1].program_stopped = int(info["source_timestamp"])

    def _on_status(self, msg: RolloutStatus, info: Any) -> None:
        at = int(info["source_timestamp"])
        with self._lock:
            known = {r.rollout_id: r for r in self.rollouts}
            rollout = known.get(msg.rollout_id)
            if msg.state == RolloutStatus.STARTED and rollout is None:
                fault = self._faults.get(len(self.rollouts) + 1, "")
                self.rollouts.append(WatchedRollout(msg.rollout_id, at, fault=fault))
            elif msg.state == RolloutStatus.FINISHED and rollout is not None:
                rollout.finished, rollout.outcome = at, Outcome(msg.outcome.value)
                rollout.commands += [t for t in rollout.trajectories if t <= at]
                rollout.commands.sort()
                rollout.reason = msg.outcome.reason
                rollout.facts = {fact.key: fact.value for fact in msg.facts}
