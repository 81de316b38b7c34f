"""Fill a study with bulk rollouts of the simulator, without ROS; an interrupted collection goes on where it stopped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from robomd_ros.core.errors import InvalidArgumentError, UnavailableError
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.store import RolloutStore
from robomd_ros.core.study import Study
from robomd_ros.core.variations import Catalogue
from robomd_ros.recording.commit import attach_recording, commit_rollout

if TYPE_CHECKING:
    from sim_bridge.jobs import Job

SEEDS_A_COLLECTION = 100_000
"""Collection `seed` uses scenes seed * 100,000 and up, so that none of the shipped policies has seen them: they were
evaluated on 500,000 and up, trained on 1,000,000 and up."""
MAX_SEED = 4


@dataclass(frozen=True)
class Plan:
    """How many rollouts of what.

    Attributes:
        rollouts: of the policy, nominal and negative control ones among the continuous part not counted.
        continuous_share: part of them with a random continuous perturbation, every one its own condition.
        per_variation: repeats of the nominal scene and each named variation; -1 = what the share leaves.
        seed: of everything; other seeds give other scenes and perturbations.
    """

    rollouts: int
    continuous_share: float = 0.5
    per_variation: int = -1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rollouts < 1 or not 0 <= self.continuous_share <= 1 or self.per_variation < -1:
            raise InvalidArgumentError(f"{self}: want at least 1 rollout and a share from 0 to 1.")
        if not 0 <= self.seed <= MAX_SEED:
            raise InvalidArgumentError(f"seed {self.seed}: want 0 to {MAX_SEED}.")

    def split(self, conditions: int) -> tuple[int, int]:
        """Repeats of each named condition, and number of continuous rollouts."""
        repeats = self.per_variation
        if repeats < 0:
            repeats = round(self.rollouts * (1 - self.continuous_share) / conditions)
        return repeats, max(0, self.rollouts - repeats * conditions)


def plan_jobs(catalogue: Catalogue, plan: Plan) -> list[Job]:
    """The jobs of a plan: the named conditions in rounds, then the continuous ones, each with negative controls."""
    jobs = simulator().jobs
    first = plan.seed * SEEDS_A_COLLECTION
    repeats, continuous = plan.split(1 + len(catalogue.variations))
    planned: list[Job] = jobs.plan_catalogue(catalogue, repeats, first) if repeats else []
    if continuous:
        half = first + SEEDS_A_COLLECTION // 2
        planned += jobs.plan_continuous(catalogue, continuous, plan.seed, half)
    return planned


def run_jobs(
    study: Study,
    store: RolloutStore,
    jobs: list[Job],
    policy: str,
    workers: int = 2,
    keep_recordings: bool = True,
) -> Iterator[RolloutRecord]:
    """Run the jobs that the store does not hold yet, and yield each rollout when it is on the disk.

    Args:
        study: where the recordings go.
        store: its open writer.
        jobs: with ids that follow from what they do, see sim_bridge.jobs.
        policy: for policies.loader.
        workers: processes.
        keep_recordings: write an MCAP file for each.
    """
    collect = simulator().collect
    todo = [job for job in jobs if not store.holds(job.rollout_id)]
    spec = collect.CellSpec(policy, study.meta.task, study.meta.robot)
    for record, trace in collect.collect(todo, spec, workers):
        yield commit_rollout(study, store, record, trace, keep_recordings)


def record_again(
    study: Study, store: RolloutStore, rollout_ids: list[str], policy: str
) -> Iterator[RolloutRecord]:
    """Run stored rollouts of the simulator once more from their seeds, and keep the recordings they lacked.

    Raises:
        InvalidArgumentError: the replay does not begin with the stored frame, or ends otherwise.
    """
    modules = simulator()
    records = [store.get(rollout_id) for rollout_id in rollout_ids]
    jobs = [modules.jobs.Job(r.id, r.perturbation, r.seed, r.purpose, r.control) for r in records]
    spec = modules.collect.CellSpec(policy, study.meta.task, study.meta.robot)
    for replay, trace in modules.collect.collect(jobs, spec, workers=1):
        yield attach_recording(study, store, replay, trace)


@dataclass(frozen=True)
class Simulator:
    """The two modules of sim_bridge that are used here."""

    collect: ModuleType
    jobs: ModuleType


def simulator() -> Simulator:
    """sim_bridge, imported when it is needed. Raises UnavailableError when it is not installed."""
    try:
        return Simulator(import_module("sim_bridge.collect"), import_module("sim_bridge.jobs"))
    except ImportError as error:
        raise UnavailableError(
            f"rollouts need the simulator, and {error.name} is not there: pip install ./sim_bridge"
        ) from error
