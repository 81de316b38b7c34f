"""How good the answers are on rollouts the models had not seen, beside the trivial predictors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from robomd_ros.core import metrics
from robomd_ros.core.answers import Quality
from robomd_ros.core.baselines import SuccessTable, neighbour_rate
from robomd_ros.core.statistics import bootstrap_auc_interval
from robomd_ros.core.variations import Perturbation
from robomd_ros.search.calibration import (
    Calibration,
    Neighbourhood,
    Posterior,
    coverage,
    fit_calibration,
    group_alike,
)
from robomd_ros.search.known import KnownSet, NearestIndex
from robomd_ros.search.policy import SearchPolicy

_SEED = 0  # of bootstrap and floor: the same models give the same figures


@dataclass(frozen=True)
class HeldOut:
    """Answers to rollouts that neither the embedding, nor the search, nor the numbers of the calibration had seen.

    Attributes:
        ids: N rollout ids.
        failed: (N,) their outcomes.
        p_failure, p_low, p_high: (N,) the answers.
    """

    ids: tuple[str, ...]
    failed: NDArray[np.bool_]
    p_failure: NDArray[np.float64]
    p_low: NDArray[np.float64]
    p_high: NDArray[np.float64]


def cross_fitted(
    start: Calibration, near: Neighbourhood, failed: NDArray[np.bool_], groups: NDArray[np.intp]
) -> Posterior:
    """Answers to held-out rollouts, each half answered with numbers fitted to the other half; whole groups stay together."""
    half = groups % 2 == 0
    alpha, beta, effective = (np.zeros(len(failed)) for _ in range(3))
    for asked in (half, ~half):
        if asked.any():
            fitted = fit_calibration(start, near[~asked], failed[~asked], groups[~asked])
            part = fitted.posterior(near[asked])
            alpha[asked], beta[asked], effective[asked] = part.alpha, part.beta, part.effective
    return Posterior(alpha, beta, effective)


def measure(
    start: Calibration,
    near: Neighbourhood,
    held: KnownSet,
    held_perturbations: Sequence[Perturbation],
    trained_perturbations: Sequence[Perturbation],
    search: SearchPolicy | None,
    held_features: NDArray[np.float32],
    trained_features: NDArray[np.float32],
) -> tuple[Quality, HeldOut]:
    """All figures on the held-out rollouts.

    Args:
        start: distance limit and base of the calibration.
        near: the held-out rollouts against the rollouts trained on.
        held: the held-out rollouts.
        held_perturbations: what was applied in each of them.
        trained_perturbations: what was applied in each rollout trained on.
        search: to score its density and its untrained control's.
        held_features: factor values and masks of the held-out rollouts, for the plain classifier.
        trained_features: those of the rollouts trained on.
    """
    failed, index = held.failed, NearestIndex(held.embeddings)
    groups = group_alike(index.distances(held.embeddings), held.perturbation_ids)
    posterior = cross_fitted(start, near, failed, groups)
    p, (low, high) = posterior.mean, posterior.interval()
    auc_low, auc_high = bootstrap_auc_interval(p, failed, np.random.default_rng(_SEED))
    table = SuccessTable(trained_perturbations, near.failed).predict(held_perturbations)
    nan = float("nan")
    quality = Quality(
        auc=metrics.auc(p, failed),
        auc_low=auc_low,
        auc_high=auc_high,
        auc_search=metrics.auc(search.log_density(held.embeddings), failed) if search else nan,
        auc_untrained=metrics.auc(search.log_density_untrained(held.embeddings), failed)
        if search
        else nan,
        auc_success_table=metrics.auc(table, failed),
        auc_classifier=metrics.auc(
            _plain_classifier(trained_features, near.failed, held_features), failed
        ),
        auc_nearest=metrics.auc(neighbour_rate(near.distances, near.failed), failed),
        brier=metrics.brier(p, failed),
        calibration_error=metrics.ece(p, failed),
        calibration_error_floor=metrics.ece_floor(p, np.random.default_rng(_SEED))[0],
        coverage=coverage(posterior, failed, groups),
        rollouts=len(failed),
    )
    return quality, HeldOut(held.ids, failed, p, low, high)


def _plain_classifier(
    trained: NDArray[np.float32], failed: NDArray[np.bool_], asked: NDArray[np.float32]
) -> NDArray[np.float64]:
    """logit(failure) by logistic regression on factor values and masks: what anybody would try first."""
    if failed.all() or not failed.any():
        return np.zeros(len(asked))
    return LogisticRegression(max_iter=1000).fit(trained, failed).decision_function(asked)
