"""Policies for the tests of comparison, beside those of red_servo."""

from __future__ import annotations

import numpy as np
from red_servo import RedServo, info

from robomd_ros.policies.base import Observation


class Lazy(RedServo):
    """Does nothing, and so fails."""

    def act(self, observation: Observation) -> np.ndarray:
        return np.zeros(4, np.float32)


def lazy() -> Lazy:
    return Lazy(info("lazy"))
