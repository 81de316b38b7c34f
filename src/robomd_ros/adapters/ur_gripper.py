"""The gripper of the arm: told to open or close, and its joints as a policy takes them."""

from __future__ import annotations

import math
import time

import numpy as np
from numpy.typing import NDArray
from std_srvs.srv import SetBool

from robomd_ros.adapters import ur_types
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.adapters.ur_config import IO, UrRobotConfig


class UrGripper:
    """A gripper at a digital output, behind a SetBool service, or none.

    Attributes:
        measured: its joints where joint_states has them; None = modelled.
        trouble: what went wrong with the last command; "" = nothing.
    """

    def __init__(self, node: RobomdNode, config: UrRobotConfig) -> None:
        self._config = config
        self.measured: NDArray[np.float64] | None = None
        self.trouble = ""
        self._closed, self._since, self._from = False, -math.inf, 0.0
        set_io = ur_types.find("ur_msgs", "srv", "SetIO")
        group = node.reentrant
        self._set_io = set_io and node.create_client(set_io, f"{IO}/set_io", callback_group=group)
        self._set_bool = node.create_client(SetBool, "gripper/close", callback_group=group)

    @property
    def _share(self) -> float:
        """How far it is closed, 0..1, if it moves evenly."""
        done = min(max((time.monotonic() - self._since) / self._config.gripper_time, 0.0), 1.0)
        return self._from + (float(self._closed) - self._from) * done

    @property
    def joints(self) -> NDArray[np.float64]:
        """(G,) as published, else a straight move from one end to the other."""
        if self.measured is not None:
            return self.measured
        opened, closed = np.array(self._config.gripper_open), np.array(self._config.gripper_closed)
        return opened + self._share * (closed - opened)

    def move(self, value: float) -> None:
        """Close (> 0) or open; does not wait, and does nothing when it is asked for already."""
        close = value > 0
        if close == self._closed and self._since > -math.inf:
            return
        self._from, self._closed, self._since = self._share, close, time.monotonic()
        if self._config.gripper == "none":
            return
        if self._config.gripper == "set_io" and self._set_io is not None:
            pin = self._config.gripper_pin
            future = self._set_io.call_async(
                self._set_io.srv_type.Request(fun=1, pin=pin, state=float(close))
            )
        else:
            future = self._set_bool.call_async(SetBool.Request(data=close))
        future.add_done_callback(lambda done: self._check(done.result()))

    def _check(self, answer: object) -> None:
        # the driver's mock always says that it failed
        failed = not getattr(answer, "success", False) and self._config.hardware != "mock"
        self.trouble = "the gripper did not take its command" if failed else ""
