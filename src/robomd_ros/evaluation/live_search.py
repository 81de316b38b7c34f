"""A search in the simulator: conditions are drawn afresh, chosen, rolled out, and the failures found are repeated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.outcome import Outcome
from robomd_ros.core.statistics import wilson
from robomd_ros.core.variations import Catalogue, Perturbation
from robomd_ros.evaluation.choosers import BATCH, START, Searcher, TabularRisk
from robomd_ros.evaluation.datasets import Dataset
from robomd_ros.recording.collection import simulator
from robomd_ros.search.acquisition import radius_of
from robomd_ros.search.replay import Choose, Pool, at_random, found
from robomd_ros.search.suggest import PerturbationSpace

CANDIDATES = 400
REPEATS = 3
_FIRST_SCENE = 80_000
_SEED_STRIDE = 10_000
_REPEAT_SCENES = 5_000

RollOut = Callable[[Perturbation, int], bool]
"""(condition, scene seed) -> did it fail?"""


@dataclass(frozen=True)
class Run:
    """One search.

    Attributes:
        way: random, risk_novelty or hunt.
        seed: of conditions and scenes.
        budget: rollouts, repeats not counted.
        repeated: distinct failures that are repeated.
    """

    way: str
    seed: int
    budget: int
    repeated: int


def in_simulator(
    data: Dataset, catalogue: Catalogue, factors: Sequence[str], run: Run, heldout: Pool
) -> dict[str, Any]:
    """A search of the policy of a dataset; see `search`.

    Raises:
        UnavailableError: no simulator here.
    """
    sim = simulator()
    cell = sim.collect.build_cell(sim.collect.CellSpec(data.policy, data.task, data.robot))

    def roll_out(perturbation: Perturbation, scene: int) -> bool:
        job = sim.jobs.make_job(perturbation, scene, "search")
        record, _ = sim.collect.run_job(cell, job)
        return record.outcome is Outcome.FAILURE

    try:
        return search(roll_out, catalogue, factors, run, heldout)
    finally:
        cell.close()


def search(
    roll_out: RollOut, catalogue: Catalogue, factors: Sequence[str], run: Run, heldout: Pool
) -> dict[str, Any]:
    """Spend a budget, then repeat the first distinct failures on other scenes.

    Args:
        roll_out: the world.
        catalogue: of the task.
        factors: names of those that are varied.
        run: how to search.
        heldout: conditions with known outcomes, for the coverage.
    """
    space = PerturbationSpace(catalogue)
    drawn = replace(catalogue, factors={n: f for n, f in catalogue.factors.items() if n in factors})
    some = [drawn.sample(np.random.default_rng(i)) for i in range(CANDIDATES)]
    radius = radius_of(space.vectors(some), np.random.default_rng(0))
    first = _FIRST_SCENE + _SEED_STRIDE * run.seed
    tried, failed = _spend(roll_out, (catalogue, drawn, space), run, radius, first)
    points = space.vectors(tried)
    again = _first_distinct(points, failed, radius)[: run.repeated]
    repeats = [
        sum(roll_out(tried[i], first + _REPEAT_SCENES + REPEATS * n + k) for k in range(REPEATS))
        for n, i in enumerate(again)
    ]
    return {
        **found(points, failed, heldout, radius).__dict__,
        "repeated": len(repeats),
        "confirmed": sum(wilson(k, REPEATS, 0.9)[0] > 0.5 for k in repeats),
        "repeats": repeats,
        "active": float(np.mean([len(p.variations) for p in tried])),
    }


def _spend(
    roll_out: RollOut,
    where: tuple[Catalogue, Catalogue, PerturbationSpace],
    run: Run,
    radius: float,
    first: int,
) -> tuple[list[Perturbation], NDArray[np.bool_]]:
    """What was rolled out, and which of it failed; `where`: the whole catalogue, the part that is varied, their space."""
    catalogue, drawn, space = where
    searcher = Searcher(TabularRisk(catalogue), radius)
    ways = {"random": at_random, "risk_novelty": searcher.risk_novelty, "hunt": searcher.hunt}
    rng = np.random.default_rng(run.seed)
    tried: list[Perturbation] = []
    failed: list[bool] = []
    while len(tried) < run.budget:
        begun = len(tried) >= START
        count = min(BATCH if begun else START, run.budget - len(tried))
        fresh = [drawn.sample(rng) for _ in range(CANDIDATES)]
        pool = _pool(catalogue, space, tried + fresh, failed + [False] * len(fresh))
        done, free = np.arange(len(tried)), np.arange(len(tried), len(pool))
        choose: Choose = ways[run.way] if begun else at_random
        for place in choose(pool, done, free, count, rng):
            failed.append(roll_out(fresh[place], first + len(tried)))
            tried.append(fresh[place])
    return tried, np.array(failed, np.bool_)


def _pool(
    catalogue: Catalogue,
    space: PerturbationSpace,
    conditions: Sequence[Perturbation],
    failed: Sequence[bool],
) -> Pool:
    features = np.stack([np.concatenate(catalogue.vector(p)) for p in conditions])
    return Pool(space.vectors(conditions), features.astype(np.float32), np.array(failed, np.bool_))


def _first_distinct(points: NDArray, failed: NDArray, radius: float) -> list[int]:
    kept: list[int] = []
    for i in np.flatnonzero(failed):
        if all(np.linalg.norm(points[i] - points[j]) > radius for j in kept):
            kept.append(int(i))
    return kept
