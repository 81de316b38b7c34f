"""Policies for the tests of ur5e_driver, loaded as "python:arm_policies:waves" and so on."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np

from robomd_ros.policies.base import Observation, PolicyInfo

RELEASE = threading.Event()
"""Lets a policy that hangs go on."""


def info(name: str, horizon: int = 12) -> PolicyInfo:
    return PolicyInfo(
        name, "lift", "UR5e", 24, 32, ("eef_pos", "gripper_qpos"), 7, "osc_pose", 10.0, horizon
    )


@dataclass
class Waves:
    """Moves a little, closes in the middle."""

    info: PolicyInfo = field(default_factory=lambda: info("waves"))
    steps: int = 0

    def reset(self, seed: int) -> None:
        self.steps = 0

    def act(self, observation: Observation) -> np.ndarray:
        assert observation.image.shape == (24, 32, 3)
        assert observation.proprio.shape == (9,)
        self.steps += 1
        up = 0.2 if self.steps % 2 else -0.2
        return np.array([0, 0, up, 0, 0, 0, 1.0 if self.steps > 5 else -1.0], np.float32)

    def close(self) -> None:
        pass


def waves() -> Waves:
    return Waves()


def for_long() -> Waves:
    return Waves(info("for_long", 400))


class Hangs(Waves):
    """Its third answer does not come."""

    def act(self, observation: Observation) -> np.ndarray:
        if self.steps == 2:
            RELEASE.wait(30.0)
        return super().act(observation)


def hangs() -> Hangs:
    RELEASE.clear()
    return Hangs(info("hangs"))


class Raises(Waves):
    """Fails in its third step."""

    def act(self, observation: Observation) -> np.ndarray:
        if self.steps == 2:
            raise ValueError("out of ideas")
        return super().act(observation)


def raises() -> Raises:
    return Raises(info("raises"))
