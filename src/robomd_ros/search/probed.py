"""P(failure) where the policy was asked what it would do: factor values, and how far its answers are from the usual ones."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError, UnknownIdError
from robomd_ros.core.probes import DIM, ProbeTable
from robomd_ros.core.variations import Catalogue, Perturbation
from robomd_ros.learning.risk import FactorRisk, Layout, RiskPrior

MIN_ROLLOUTS = 10
"""Rollouts with a probe below which nothing is learnt from probes."""


@dataclass(frozen=True)
class ProbedPrior:
    """What probes say of outcomes: a slope in each of their numbers, and what is left for the factor values.

    Attributes:
        table: whom the policy was asked about.
        catalogue: of the factor values.
        prior: learnt from rollouts that have a probe.
    """

    table: ProbeTable
    catalogue: Catalogue
    prior: RiskPrior

    @classmethod
    def learn(
        cls,
        table: ProbeTable,
        catalogue: Catalogue,
        perturbations: Sequence[Perturbation],
        failed: NDArray[np.bool_],
    ) -> ProbedPrior | None:
        """From rollouts; None where too few have a probe, or all of these ended alike."""
        rows = np.array([p in table for p in perturbations], np.bool_)
        if rows.sum() < MIN_ROLLOUTS or len(set(failed[rows].tolist())) < 2:
            return None
        factors, mask = vectors(table, catalogue, [perturbations[i] for i in np.flatnonzero(rows)])
        layout = Layout.of(catalogue, probe=DIM)
        return cls(table, catalogue, RiskPrior.learn(layout, factors, mask, failed[rows]))

    @property
    def perturbations(self) -> list[Perturbation]:
        """All that have a probe; what the catalogue no longer has is left out."""
        found = []
        for name in self.table.numbers:
            with suppress(UnknownIdError, InvalidArgumentError):
                found.append(self.catalogue.perturbation(name))
        return found

    def knows(self, perturbations: Sequence[Perturbation]) -> NDArray[np.bool_]:
        """(N,) which have a probe."""
        return np.array([p in self.table for p in perturbations], np.bool_)

    def vectors(
        self, perturbations: Sequence[Perturbation]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """What the process sees of perturbations that have a probe: (N, F + DIM) and (N, F)."""
        return vectors(self.table, self.catalogue, perturbations)

    def given(self, perturbations: Sequence[Perturbation], failed: NDArray[np.bool_]) -> FactorRisk:
        """What follows from rollouts that have a probe."""
        return self.prior.given(*self.vectors(perturbations), failed)


def vectors(
    table: ProbeTable, catalogue: Catalogue, perturbations: Sequence[Perturbation]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Factor values with the probes behind them, (N, F + DIM), and the mask of applied factors, (N, F)."""
    pairs = [catalogue.vector(p) for p in perturbations]
    factors = np.stack([values for values, _ in pairs])
    return np.hstack([factors, table.of(perturbations)]), np.stack([mask for _, mask in pairs])
