"""Cross-validated scores, and the AUC that they give with its interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robomd_ros.core.metrics import auc, pair_wins
from robomd_ros.core.outcome import Outcome
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.statistics import resampled_means

DIGITS = 5
"""Of a score that is kept: enough to rank some hundred rollouts, and the file stays small."""


def by_scene(records: Sequence[RolloutRecord], folds: int) -> NDArray[np.intp]:
    """(N,) fold of each rollout: a scene's seed lies in one fold whole, every condition in all of them."""
    return np.array([r.seed % folds for r in records], np.intp)


def failures(records: Sequence[RolloutRecord]) -> NDArray[np.bool_]:
    """(N,) which rollouts failed."""
    return np.array([r.outcome is Outcome.FAILURE for r in records], np.bool_)


def kept(scores: Mapping[str, ArrayLike], failed: ArrayLike) -> dict[str, Any]:
    """Scores and outcomes as plain values, for a result."""
    rounded = {name: _short(values) for name, values in scores.items()}
    return {"scores": rounded, "failed": np.asarray(failed, int).tolist()}


def _short(values: ArrayLike) -> list[float]:
    return [float(f"{v:.{DIGITS}g}") for v in np.asarray(values, np.float64)]


def by_method(
    results: Iterable[Mapping[str, Any]],
) -> dict[str, list[tuple[list[float], list[int]]]]:
    """What `kept` made of several folds, the other way round: scores and outcomes of each fold, by method."""
    found: dict[str, list[tuple[list[float], list[int]]]] = {}
    for value in results:
        for method, scores in value.get("scores", {}).items():
            found.setdefault(method, []).append((scores, value["failed"]))
    return found


def mean_auc(parts: Sequence[tuple[ArrayLike, ArrayLike]]) -> tuple[float, float, float]:
    """Mean AUC over folds or seeds with a 95 % percentile bootstrap, rollouts of each part resampled apart.

    Args:
        parts: scores (N,) and outcomes (N,) of each fold. Scores of two folds are never compared: they are of two models.

    Returns:
        Mean, low, high; NaN where no part has both outcomes.
    """
    both = [(s, f) for s, f in parts if 0 < np.sum(f) < len(np.asarray(f))]
    if not both:
        return float("nan"), float("nan"), float("nan")
    rng = np.random.default_rng(0)
    drawn = np.mean([resampled_means(pair_wins(s, f), rng) for s, f in both], axis=0)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(np.mean([auc(s, f) for s, f in both])), float(low), float(high)


def auc_difference(
    parts: Sequence[tuple[ArrayLike, ArrayLike, ArrayLike]],
) -> tuple[float, float, float]:
    """Mean over folds of AUC(a) - AUC(b) with a paired 95 % bootstrap.

    Args:
        parts: scores of a (N,), scores of b (N,) and outcomes (N,) of each fold.
    """
    both = [p for p in parts if 0 < np.sum(p[2]) < len(np.asarray(p[2]))]
    if not both:
        return float("nan"), float("nan"), float("nan")
    rng = np.random.default_rng(0)
    drawn = np.mean(
        [resampled_means(pair_wins(a, f) - pair_wins(b, f), rng) for a, b, f in both], axis=0
    )
    low, high = np.quantile(drawn, (0.025, 0.975))
    mean = float(np.mean([auc(a, f) - auc(b, f) for a, b, f in both]))
    return mean, float(low), float(high)
