"""What asking the policy about a condition costs beside one rollout under it, turn by turn in one process."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from robomd_ros.core.variations import load_catalogue
from sim_bridge.collect import CellSpec, build_cell
from sim_bridge.prober import SCENES, Prober

CONDITIONS = 60


def run() -> dict[str, Any]:
    """Seconds of each, and their ratio with a 95 % bootstrap over the conditions."""
    rng = np.random.default_rng(0)
    catalogue = load_catalogue("lift")
    cell = build_cell(CellSpec("lift_panda_bc"))
    start = time.perf_counter()
    prober = Prober(cell)
    ready = time.perf_counter() - start
    asked, rolled_out = [], []
    for seed in range(CONDITIONS):
        condition = catalogue.sample(rng)
        start = time.perf_counter()
        prober.ask(condition)
        middle = time.perf_counter()
        cell.apply(condition)
        cell.rollout(seed)
        asked.append(middle - start)
        rolled_out.append(time.perf_counter() - middle)
    cell.close()
    one, other = np.array(asked), np.array(rolled_out)
    draws = rng.integers(CONDITIONS, size=(2000, CONDITIONS))
    low, high = np.quantile(one[draws].mean(1) / other[draws].mean(1), (0.025, 0.975))
    return {
        "title": f"one condition asked about ({SCENES} scenes, 3 moments) beside one rollout, {CONDITIONS} conditions",
        "ready_s": ready,
        "probe_s": float(one.mean()),
        "rollout_s": float(other.mean()),
        "ratio": float(one.mean() / other.mean()),
        "ratio_low": float(low),
        "ratio_high": float(high),
    }
