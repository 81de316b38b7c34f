"""Studies that the tables read: made by the simulator, determined by their seeds, gone on with where they stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.files import atomic_file
from robomd_ros.core.probes import ProbeTable
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.study import Study, StudyMeta
from robomd_ros.core.variations import Catalogue, Perturbation, load_catalogue
from robomd_ros.learning.inputs import Renders
from robomd_ros.recording.collection import run_jobs, simulator
from robomd_ros.recording.probing import known_probes, missing_probes, run_probes

if TYPE_CHECKING:
    from sim_bridge.jobs import Job

FIRST_SEED = {"catalogue": 0, "continuous": 20_000, "ceiling": 40_000, "pairs": 60_000}
"""Scenes of each kind; the catalogue's and the pairs' are shared by all their conditions."""


@dataclass(frozen=True)
class Dataset:
    """One study.

    Attributes:
        kind: catalogue (nominal and each named variation `repeats` times), continuous (`conditions` random ones, once
            each), ceiling (`conditions` random ones, `repeats` times), pairs (each pair of named variations of two
            factors, `repeats` times).
        policy: for policies.loader.
        task, robot: of the scene.
        conditions, repeats: see kind.
        name: of its folder; from task, kind and policy where none is given.
    """

    kind: str
    policy: str
    task: str = "lift"
    robot: str = "Panda"
    conditions: int = 0
    repeats: int = 1
    name: str = ""

    def __post_init__(self) -> None:
        if self.kind not in FIRST_SEED:
            raise InvalidArgumentError(f"dataset {self.kind!r}: want one of {list(FIRST_SEED)}.")
        object.__setattr__(self, "name", self.name or f"{self.task}_{self.kind}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values: an argument of a step."""
        return asdict(self)

    def jobs(self, catalogue: Catalogue) -> list[Job]:
        """The rollouts, in rounds over the conditions: a part of it is a smaller one of the same kind."""
        make = simulator().jobs.make_job
        first = FIRST_SEED[self.kind]
        purpose = "initial" if self.kind in ("catalogue", "pairs") else "random"
        conditions = _CONDITIONS[self.kind](self, catalogue)
        shared = self.kind in ("catalogue", "pairs")
        return [
            make(condition, first + (k if shared else k * len(conditions) + i), purpose)
            for k in range(self.repeats)
            for i, condition in enumerate(conditions)
        ]


def _random(dataset: Dataset, catalogue: Catalogue) -> list[Perturbation]:
    rng = np.random.default_rng(FIRST_SEED[dataset.kind])
    return [catalogue.sample(rng) for _ in range(dataset.conditions)]


def _pairs(dataset: Dataset, catalogue: Catalogue) -> list[Perturbation]:
    """All pairs, or `conditions` of them drawn at random."""
    found = [
        Perturbation((a, b))
        for a, b in combinations(catalogue.variations.values(), 2)
        if a.factor != b.factor
    ]
    rng = np.random.default_rng(FIRST_SEED["pairs"])
    order = rng.permutation(len(found))[: dataset.conditions or None]
    return [found[i] for i in order]


_CONDITIONS: dict[str, Callable[[Dataset, Catalogue], list[Perturbation]]] = {
    "catalogue": lambda _, catalogue: [Perturbation(), *catalogue.singles],
    "continuous": _random,
    "ceiling": _random,
    "pairs": _pairs,
}


def open_dataset(dataset: Dataset, studies: Path) -> Study:
    """Its study, made when it is not there."""
    from robomd_ros.policies.loader import load_policy

    folder = studies / dataset.name
    if (folder / "study.json").is_file():
        return Study.open(folder)
    policy = load_policy(dataset.policy)
    policy_id = policy.info.id
    policy.close()
    return Study.create(folder, StudyMeta(dataset.task, dataset.robot, policy_id, dataset.name))


def missing(dataset: Dataset, studies: Path) -> int:
    """Rollouts still to be run."""
    jobs = dataset.jobs(load_catalogue(dataset.task))
    if not (studies / dataset.name / "study.json").is_file():
        return len(jobs)
    with Study.open(studies / dataset.name).store(read_only=True) as store:
        return sum(not store.holds(job.rollout_id) for job in jobs)


def collect(dataset: Dataset, studies: Path, workers: int) -> Iterator[RolloutRecord]:
    """Run what is missing; a row is on the disk before it is yielded."""
    study = open_dataset(dataset, studies)
    with study.store() as store:
        jobs = dataset.jobs(study.catalogue())
        yield from run_jobs(study, store, jobs, dataset.policy, workers, keep_recordings=False)


def unasked(dataset: Dataset, studies: Path) -> list[Perturbation]:
    """Its conditions about which the policy was not asked yet."""
    conditions = [job.perturbation for job in dataset.jobs(load_catalogue(dataset.task))]
    if not (studies / dataset.name / "study.json").is_file():
        return list({p.id: p for p in conditions}.values())
    return missing_probes(Study.open(studies / dataset.name), conditions)


def ask_policy(dataset: Dataset, studies: Path, workers: int) -> Iterator[Perturbation]:
    """Ask about what is missing; no rollout."""
    study = open_dataset(dataset, studies)
    yield from run_probes(study, unasked(dataset, studies), dataset.policy, workers)


def probes(studies: Path, *datasets: Dataset) -> ProbeTable:
    """What the policy answered under the conditions of datasets of one policy."""
    first, *others = [known_probes(Study.open(studies / d.name)) for d in datasets]
    for other in others:
        first = first.with_rows(other.numbers)
    return first


def renders_file(dataset: Dataset, studies: Path, count: int) -> Path:
    """Where its outcome-free renders lie."""
    return studies / dataset.name / f"renders_{count}.npz"


def render(dataset: Dataset, studies: Path, count: int) -> Iterator[Perturbation]:
    """Draw random scenes in which no policy runs, and keep them when all are drawn."""
    open_dataset(dataset, studies)
    sim, catalogue = simulator(), load_catalogue(dataset.task)
    cell = sim.collect.build_cell(sim.collect.CellSpec("", dataset.task, dataset.robot))
    rng, drawn, images = np.random.default_rng(count), [], []
    try:
        for _ in range(count):
            drawn.append(catalogue.sample(rng))
            images.append(cell.render_perturbation(drawn[-1], int(rng.integers(2**31))))
            yield drawn[-1]
    finally:
        cell.close()
    with atomic_file(renders_file(dataset, studies, count)) as path, path.open("wb") as file:
        np.savez(file, ids=np.array([p.id for p in drawn]), images=np.stack(images))


def renders(dataset: Dataset, studies: Path, count: int) -> Renders | None:
    """What `render` kept; None where none are wanted."""
    if not count:
        return None
    catalogue = load_catalogue(dataset.task)
    with np.load(renders_file(dataset, studies, count), allow_pickle=False) as kept:
        return Renders(tuple(map(catalogue.perturbation, kept["ids"].tolist())), kept["images"])


@lru_cache(maxsize=8)
def records(dataset: Dataset, studies: Path) -> tuple[RolloutRecord, ...]:
    """The evidence in the order of its jobs: a dataset that is larger than asked for gives what was asked for."""
    with Study.open(studies / dataset.name).store(read_only=True) as store:
        found = {record.id: record for record in store.records(evidence_only=True)}
    jobs = dataset.jobs(load_catalogue(dataset.task))
    return tuple(found[job.rollout_id] for job in jobs if job.rollout_id in found)
