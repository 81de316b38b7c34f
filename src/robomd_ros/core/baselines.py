"""The trivial predictors that stand beside every figure of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.variations import NOMINAL, Perturbation


class SuccessTable:
    """Failure rate of each variation, add-half smoothed; noisy-or for sets.

    A rollout with one cause gives (k + 0.5) / (n + 1) exactly. A set fails with 1 - prod(1 - rate); the rates behind
    sets are found by expectation maximisation, so that a harmless variation is not blamed for its company. Continuous
    variations ("light_intensity=0.4") and named ones that were never tried fall back to the rate of their factor, and
    factors never tried to the overall rate.
    """

    def __init__(self, perturbations: Sequence[Perturbation], failed: ArrayLike) -> None:
        """Fit to rollouts.

        Args:
            perturbations: what was applied, one a rollout.
            failed: (N,) bool.
        """
        y = np.asarray(failed, np.bool_)
        if y.shape != (len(perturbations),):
            raise InvalidArgumentError(
                f"{len(perturbations)} perturbations want as many outcomes, got shape {y.shape}."
            )
        self._overall = (float(y.sum()) + 0.5) / (len(y) + 1.0)
        self._by_variation = _noisy_or_rates([_variations(p) for p in perturbations], y)
        self._by_factor = _noisy_or_rates([_factors(p) for p in perturbations], y)

    def rate(self, variation_id: str, factor: str) -> float:
        """P(failure) of one variation alone."""
        by_factor = self._by_factor.get(factor, self._overall)
        return self._by_variation.get(variation_id, by_factor)

    def predict(self, perturbations: Sequence[Perturbation]) -> NDArray[np.float64]:
        """P(failure) of each perturbation, (N,)."""
        return np.array([self._predict_one(p) for p in perturbations], np.float64)

    def _predict_one(self, perturbation: Perturbation) -> float:
        if not perturbation.variations:
            return self.rate(NOMINAL, NOMINAL)
        survives = [1.0 - self.rate(v.id, v.factor) for v in perturbation.variations]
        return 1.0 - float(np.prod(survives))


def neighbour_rate(
    distances: ArrayLike, failed: ArrayLike, neighbours: int = 10
) -> NDArray[np.float64]:
    """Share of failures among the nearest known rollouts.

    Args:
        distances: (N, M) from each question to each known rollout.
        failed: (M,) bool, outcomes of the known ones.
        neighbours: how many of them are asked, fewer when fewer are known.

    Returns:
        (N,), the add-half smoothed rate.
    """
    d, y = np.asarray(distances, np.float64), np.asarray(failed, np.float64)
    k = min(neighbours, d.shape[1])
    nearest = np.argpartition(d, k - 1, axis=1)[:, :k]
    return (y[nearest].sum(axis=1) + 0.5) / (k + 1.0)


def _variations(perturbation: Perturbation) -> list[str]:
    """Causes of a failure: named variations by id, continuous ones by factor."""
    causes = [v.factor if "=" in v.id else v.id for v in perturbation.variations]
    return causes or [NOMINAL]


def _factors(perturbation: Perturbation) -> list[str]:
    return [v.factor for v in perturbation.variations] or [NOMINAL]


def _noisy_or_rates(
    causes: Sequence[Sequence[str]], failed: NDArray[np.bool_], iterations: int = 50
) -> Mapping[str, float]:
    """EM for P(failure) = 1 - prod over the causes present (1 - rate), add-half smoothed."""
    names = sorted({c for present in causes for c in present})
    at = {name: i for i, name in enumerate(names)}
    present = np.zeros((len(causes), len(names)))
    for row, some in enumerate(causes):
        present[row, [at[c] for c in some]] = 1.0
    tried = present.sum(axis=0)
    rate = (present[failed].sum(axis=0) + 0.5) / (tried + 1.0)
    for _ in range(iterations):
        # Share of each failure that each present cause is responsible for: P(it fired | the set failed).
        fails = 1.0 - np.exp(present @ np.log1p(-rate))
        blame = present[failed] * rate / fails[failed, None]
        rate = (blame.sum(axis=0) + 0.5) / (tried + 1.0)
    return dict(zip(names, rate.tolist(), strict=True))
