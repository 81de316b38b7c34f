"""How often each condition of the catalogue fails now: from the study's models where they are trained, else from its rollouts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.answers import Question
from robomd_ros.core.errors import NotReadyError
from robomd_ros.core.outcome import Outcome
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.statistics import beta_interval
from robomd_ros.core.study import Study
from robomd_ros.core.variations import Catalogue, Perturbation

UNSURE = 0.5
"""An interval wider than this wants rollouts before demonstrations."""
_Z = 1.645  # half width of a normal distribution's 90 % interval, in standard deviations


@dataclass(frozen=True)
class Risk:
    """P(failure) of one condition with its 90 % interval, and the rollouts of exactly this condition."""

    perturbation: Perturbation
    p: float
    low: float
    high: float
    rollouts: int = 0
    failures: int = 0

    @property
    def unsure(self) -> bool:
        """Too little is known to spend demonstrations on it unseen."""
        return self.high - self.low > UNSURE

    def draw(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """(n,) rates that it may really have: a beta distribution of its mean and about its width."""
        mean = min(max(self.p, 1e-4), 1 - 1e-4)
        deviation = max((self.high - self.low) / (2 * _Z), 1e-3)
        strength = max(mean * (1 - mean) / deviation**2 - 1, 0.5)
        return rng.beta(strength * mean, strength * (1 - mean), n)


def catalogue_conditions(catalogue: Catalogue) -> list[Perturbation]:
    """The unchanged scene and each named variation alone: what every fine-tuning is tested on."""
    return [Perturbation(), *catalogue.singles]


def risks_of_study(study: Study) -> tuple[list[Risk], str]:
    """Risks over the catalogue, and in words what they rest on.

    Raises:
        NotReadyError: no labelled rollout.
        StorageError: a model or the store is damaged.
    """
    from robomd_ros.search.asking import Asker, saved_models

    conditions = catalogue_conditions(study.catalogue())
    if saved_models(study.models) is not None:
        asker = Asker.from_study(study)
        answers = sorted(asker.ask([Question(c) for c in conditions], 0), key=lambda a: a.index)
        risks = [
            Risk(c, a.p_failure, a.p_low, a.p_high, a.rollouts, a.failures)
            for c, a in zip(conditions, answers, strict=True)
        ]
        return risks, f"the models of {study.meta.name} ({len(asker.known)} rollouts)"
    with study.store(read_only=True) as store:
        records = store.records(evidence_only=True, with_frames=False)
    risks = risks_of_rollouts(records, conditions)
    return risks, f"the rollouts of {study.meta.name} alone ({len(records)}; no model is trained)"


def risks_of_rollouts(
    records: Sequence[RolloutRecord], conditions: Sequence[Perturbation]
) -> list[Risk]:
    """Each condition's own rate; the overall rate counts as one rollout, so an untried one has that, hardly sure.

    Raises:
        NotReadyError: no evidence.
    """
    kept = [r for r in records if r.is_evidence]
    if not kept:
        raise NotReadyError("no labelled rollout yet: run and label some first.")
    ran = Counter(r.perturbation.id for r in kept)
    failed = Counter(r.perturbation.id for r in kept if r.outcome is Outcome.FAILURE)
    overall = (failed.total() + 0.5) / (len(kept) + 1.0)
    risks = []
    for condition in conditions:
        k, n = failed[condition.id], ran[condition.id]
        alpha, beta = k + overall, n - k + 1.0 - overall
        low, high = beta_interval(alpha, beta)
        risks.append(Risk(condition, alpha / (alpha + beta), float(low), float(high), n, k))
    return risks
