"""What to roll out: lists of jobs that a seed determines."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.outcome import Control
from robomd_ros.core.variations import Catalogue, Perturbation

MIN_NOMINAL = 5
MIN_CONTROLS = 2
_NAMESPACE = uuid.UUID("6f1c9d7e-6b7b-5d0a-9b8c-2f1d3e4a5b6c")


@dataclass(frozen=True)
class Job:
    """One rollout to run; the same job gives the same frames, actions and outcome.

    Attributes:
        rollout_id: unique in the study.
        perturbation: to apply.
        seed: of the scene and the policy.
        purpose: one of core.records.PURPOSES.
        control: ZERO_ACTION = a negative control.
    """

    rollout_id: str
    perturbation: Perturbation
    seed: int
    purpose: str = "initial"
    control: Control = Control.NONE


def make_job(
    perturbation: Perturbation, seed: int, purpose: str, control: Control = Control.NONE
) -> Job:
    """A job whose id follows from what it does: made twice it is the same row of the store."""
    name = f"{perturbation.id}/{seed}/{purpose}/{int(control)}"
    return Job(uuid.uuid5(_NAMESPACE, name).hex, perturbation, seed, purpose, control)


def plan_catalogue(
    catalogue: Catalogue, n_per_variation: int, first_seed: int = 0, purpose: str = "initial"
) -> list[Job]:
    """The nominal scene and each named variation `n_per_variation` times, in rounds, then negative controls.

    All conditions of a round share its seed, so that they differ in what is seen and in nothing else.
    """
    _check_count(n_per_variation)
    conditions = (Perturbation(), *catalogue.singles)
    jobs = [
        make_job(condition, first_seed + k, purpose)
        for k in range(n_per_variation)
        for condition in conditions
    ]
    return jobs + _controls(MIN_CONTROLS, first_seed)


def plan_continuous(
    catalogue: Catalogue, n: int, seed: int, first_seed: int = 10_000, purpose: str = "initial"
) -> list[Job]:
    """`n` random continuous perturbations, each on a scene of its own, with nominal ones and negative controls between.

    Args:
        catalogue: its factors are sampled.
        n: perturbations.
        seed: of the perturbations.
        first_seed: of the scenes; they count up from here.
        purpose: of all but the controls.
    """
    _check_count(n)
    rng = np.random.default_rng(seed)
    nominal = max(MIN_NOMINAL, n // 20)
    drawn = [catalogue.sample(rng) for _ in range(n)] + [Perturbation()] * nominal
    order = rng.permutation(len(drawn))
    jobs = [make_job(drawn[i], first_seed + k, purpose) for k, i in enumerate(order)]
    return jobs + _controls(max(MIN_CONTROLS, n // 50), first_seed)


def check_unique(jobs: Iterable[Job]) -> list[Job]:
    """The jobs as a list; raises InvalidArgumentError where two share an id."""
    out = list(jobs)
    if len({j.rollout_id for j in out}) != len(out):
        raise InvalidArgumentError("two jobs have the same rollout_id: plan with different seeds.")
    return out


def _controls(n: int, first_seed: int) -> list[Job]:
    nominal = Perturbation()
    return [make_job(nominal, first_seed + k, "control", Control.ZERO_ACTION) for k in range(n)]


def _check_count(n: int) -> None:
    if n < 1:
        raise InvalidArgumentError(f"{n} rollouts a condition: want at least 1.")
