"""Reset after reset with variations: memory stays flat."""

from __future__ import annotations

import numpy as np
import pytest


def resident() -> float:
    """MB of this process."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


def soak(cell, catalogue, resets: int) -> float:
    """MB that `resets` resets add after a warm-up of 30."""
    rng = np.random.default_rng(0)
    base = 0.0
    for k in range(resets + 30):
        if k == 30:
            base = resident()
        cell.apply(catalogue.sample(rng))
        cell.reset(k)
        cell.scene.step(rng.uniform(-1, 1, 7))
    return resident() - base


def test_100_resets_leave_memory_flat(cell, catalogue):
    assert soak(cell, catalogue, 100) < 10.0


@pytest.mark.slow
def test_1000_resets_leave_memory_flat(cell, catalogue):
    assert soak(cell, catalogue, 1000) < 20.0
