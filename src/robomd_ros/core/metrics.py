"""How good a ranking and its probabilities are, and the paper's three figures of a failure distribution."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robomd_ros.core.errors import InvalidArgumentError


def auc(scores: ArrayLike, failed: ArrayLike) -> float:
    """Share of (failure, success) pairs in which the failure scores higher, ties counted half.

    Args:
        scores: (N,) larger = riskier.
        failed: (N,) bool.

    Returns:
        0..1, or NaN when there is no failure or no success.
    """
    s, y = _scored(scores, failed)
    failures = int(y.sum())
    successes = len(y) - failures
    if not failures or not successes:
        return float("nan")
    _, inverse, counts = np.unique(s, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2  # average rank of each tied group, from 1
    rank_sum = float(mean_rank[inverse][y].sum())
    return (rank_sum - failures * (failures + 1) / 2) / (failures * successes)


def pair_wins(scores: ArrayLike, failed: ArrayLike) -> NDArray[np.float64]:
    """(failures, successes) matrix: 1 where the failure scores higher, 0.5 for a tie, else 0."""
    s, y = _scored(scores, failed)
    return 0.5 * (1.0 + np.sign(s[y][:, None] - s[~y][None, :]))


def ranking_accuracy(
    scores: ArrayLike, failed: ArrayLike, rng: np.random.Generator, pairs: int = 500
) -> float:
    """The paper's figure: the AUC estimated from random (success, failure) pairs (Sec. 4.2)."""
    wins = pair_wins(scores, failed)
    if not wins.size:
        return float("nan")
    rows, cols = (rng.integers(0, n, pairs) for n in wins.shape)
    return float(wins[rows, cols].mean())


def brier(p: ArrayLike, failed: ArrayLike) -> float:
    """Mean squared error of the probabilities p (N,); NaN when N is 0."""
    probability, y = _probabilities(p, failed)
    return float(np.mean((probability - y) ** 2)) if len(y) else float("nan")


def ece(p: ArrayLike, failed: ArrayLike, bins: int = 10) -> float:
    """Expected calibration error over bins of equal count: mean |observed rate - mean probability|.

    Its value for a perfect predictor is not 0; see `ece_floor`.
    """
    probability, y = _probabilities(p, failed)
    if not len(y):
        return float("nan")
    order = np.argsort(probability, kind="stable")
    gaps = [abs(float((y[i] - probability[i]).sum())) for i in np.array_split(order, bins)]
    return sum(gaps) / len(y)


def ece_floor(
    p: ArrayLike, rng: np.random.Generator, bins: int = 10, samples: int = 500
) -> tuple[float, float]:
    """Mean and 95th percentile of the ECE that a perfect predictor of these probabilities would show.

    Outcomes are drawn from p itself, `samples` times.
    """
    probability = np.sort(np.asarray(p, np.float64).ravel())
    if not len(probability):
        return float("nan"), float("nan")
    outcomes = rng.random((samples, len(probability))) < probability
    gaps: NDArray[np.float64] = outcomes - probability
    edges = np.array_split(np.arange(len(probability)), min(bins, len(probability)))
    errors = sum(np.abs(gaps[:, i].sum(axis=1)) for i in edges) / len(probability)
    return float(np.mean(errors)), float(np.quantile(errors, 0.95))


def entropy(p_failure: ArrayLike) -> float:
    """Entropy [nat] of the failure distribution p_i / sum p over the entries (paper Sec. 4.2).

    0 = one single failure mode, log(N) = all entries fail alike; NaN when nothing fails.
    """
    p = _failure_rates(p_failure)
    total = float(p.sum())
    if total <= 0:
        return float("nan")
    share = p[p > 0] / total
    return float(-(share * np.log(share)).sum()) + 0.0


def nfm(p_failure_low: ArrayLike, threshold: float = 0.5) -> int:
    """NFM, the number of failure modes: entries that fail more often than not beyond doubt.

    The paper counts modes without saying from where; here an entry counts when the low end of its interval is above
    `threshold`, so that one unlucky rollout is no mode.
    """
    return int((_failure_rates(p_failure_low) > threshold).sum())


def fsi(p_failure: ArrayLike) -> float:
    """FSI, the failure severity index: sum_i p_i * W_i with W_i = p_i / max_j p_j (paper Sec. 4.2).

    Grows with how many entries fail and how often; 0 when nothing fails; NaN without entries.
    """
    p = _failure_rates(p_failure)
    if not len(p):
        return float("nan")
    worst = float(p.max())
    return float((p * p).sum() / worst) if worst > 0 else 0.0


def _scored(scores: ArrayLike, failed: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    s, y = np.asarray(scores, np.float64), np.asarray(failed, np.bool_)
    if s.ndim != 1 or s.shape != y.shape or not np.all(np.isfinite(s)):
        raise InvalidArgumentError(
            f"scores of shape {s.shape} and outcomes of shape {y.shape}: want two vectors of one length, finite."
        )
    return s, y


def _probabilities(
    p: ArrayLike, failed: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    probability, y = _scored(p, failed)
    _failure_rates(probability)
    return probability, y.astype(np.float64)


def _failure_rates(p: ArrayLike) -> NDArray[np.float64]:
    rates = np.asarray(p, np.float64).ravel()
    if not np.all((rates >= 0) & (rates <= 1)):
        raise InvalidArgumentError("probabilities of failure: want numbers in 0..1, no NaN.")
    return rates
