"""From an embedding's logit and its neighbours to P(failure) with an interval.

The answer is a Beta distribution. Its prior mean is the embedding's head, Platt-scaled on held-out rollouts; its prior
strength is worth `strength` rollouts. Where the factor values are known, a Gaussian process on them has its share in the
logit, and its variance is the doubt that says the strength. Known rollouts are added as evidence: those of exactly the same perturbation with
weight 1, the NEIGHBOURS nearest others with `weight * exp(-d^2 / (2 length^2))`. Beyond the distance limit prior and
neighbours lose their strength and the prior's mean returns to the overall failure rate: far from everything known the
answer is the overall rate, hardly sure. So the interval shrinks with evidence and widens with distance. All numbers are
fitted by held-out likelihood.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from robomd_ros.core.statistics import beta_interval
from robomd_ros.learning.risk import moderated

Floats = NDArray[np.float64]

FAR_STRENGTH = 0.5
"""Prior strength [rollouts] infinitely far from everything known: the interval is nearly all of 0..1, whatever the mean."""
NEIGHBOURS = 10
MIN_FIT = 20
"""Held-out rollouts below which nothing is fitted."""
GROUP = 5
_STRENGTHS = (2.0, 4.0, 8.0)
_MOST_STRENGTH = 50.0
DOUBT = 2.0
"""The factor values' variance is taken so many times: hyperparameters are doubtful, too, and no condition is quite its
neighbours' mean. Held-out rollouts, each its own condition, cannot tell; repeated conditions did."""
_SHARES = (0.1, 1.0)
"""Of head and factor values in the logit before anything is held out to fit them; the fit is pulled there."""
_WEIGHTS = (0.0, 0.03, 0.1)
_PULL = 20.0
"""Of Platt's slope to 1 and offset to 0 [nats]: on some sixty held-out rollouts free ones swung by 0.8 and cost
more ranking, between the two halves, than they mended."""
_LENGTHS = (0.25, 0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Neighbourhood:
    """What is known around N questions.

    Attributes:
        logits: (N,) the head's logit(failure).
        distances: (N, M) to each known rollout, embedding unit.
        same: (N, M) True where the known rollout had exactly the question's perturbation.
        failed: (M,) outcomes of the known rollouts.
        latent: (2, N) mean and variance of the risk by factor values, without the rollouts of `same`; None = not known.
    """

    logits: Floats
    distances: Floats
    same: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    latent: Floats | None = None

    @cached_property
    def nearest(self) -> Floats:
        """(N,) distance to the nearest known rollout."""
        return self.distances.min(axis=1)

    @cached_property
    def others(self) -> Floats:
        """(N, M) distances to the NEIGHBOURS nearest rollouts of other perturbations, infinite for the rest."""
        distances = np.where(self.same, np.inf, self.distances)
        if distances.shape[1] <= NEIGHBOURS:
            return distances
        nearest = np.argpartition(distances, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
        kept = np.full_like(distances, np.inf)
        np.put_along_axis(kept, nearest, np.take_along_axis(distances, nearest, axis=1), axis=1)
        return kept

    def __getitem__(self, rows: NDArray) -> Neighbourhood:
        """Some of the questions."""
        latent = self.latent[:, rows] if self.latent is not None else None
        return Neighbourhood(
            self.logits[rows], self.distances[rows], self.same[rows], self.failed, latent
        )


@dataclass(frozen=True)
class Posterior:
    """Beta(alpha, beta) of each question's P(failure), and the weight of its evidence in rollouts, all (N,)."""

    alpha: Floats
    beta: Floats
    effective: Floats

    @property
    def mean(self) -> Floats:
        """P(failure), (N,)."""
        return self.alpha / (self.alpha + self.beta)

    def interval(self, confidence: float = 0.90) -> tuple[Floats, Floats]:
        """Low and high ends, (N,) each."""
        return beta_interval(self.alpha, self.beta, confidence)


@dataclass(frozen=True)
class Calibration:
    """Everything between a neighbourhood and its posterior.

    Attributes:
        distance_limit: beyond it the head is not to be trusted, embedding unit.
        base: overall failure rate, kept in 0.1..0.9.
        slope, offset: Platt scaling of the logit.
        strength: of the prior within the limit [rollouts].
        factors: weight of the factor values' logit beside `slope`; where it is used, distance weakens nothing.
        weight: of a neighbour at distance 0 [rollouts].
        length: scale of the neighbours' weight, embedding unit.
    """

    distance_limit: float
    base: float
    slope: float = 0.5
    offset: float = 0.0
    strength: float = 4.0
    weight: float = 0.1
    length: float = 1.0
    factors: float = 0.0

    @classmethod
    def default(
        cls, distance_limit: float, failed: NDArray[np.bool_], *, factors: bool = False
    ) -> Calibration:
        """Cautious numbers for when too little is held out to fit any."""
        limit = max(distance_limit, 1e-9)
        plain = cls(limit, base_rate(failed), strength=_STRENGTHS[0], length=0.5 * limit)
        if not factors:
            return plain
        slope, share = _SHARES
        return replace(plain, slope=slope, factors=share, weight=0.0)

    def logits(self, near: Neighbourhood) -> Floats:
        """Platt-scaled logit of the head, and of the factor values where they are known."""
        found = self.slope * near.logits + self.offset
        return found if near.latent is None else found + self.factors * moderated(*near.latent)

    def posterior(self, near: Neighbourhood) -> Posterior:
        """The answer to each question."""
        mean = special.expit(self.logits(near))
        trust = np.exp(-np.maximum(near.nearest / self.distance_limit - 1.0, 0.0))
        if near.latent is None:
            mean = self.base + trust * (mean - self.base)
            strength = FAR_STRENGTH + trust * (self.strength - FAR_STRENGTH)
        mean = np.clip(mean, 1e-3, 1 - 1e-3)
        if near.latent is not None:
            strength = strength_of(mean, DOUBT * near.latent[1])
        weights = near.same + trust[:, None] * self._neighbour_weights(near)
        failures, effective = weights @ near.failed, weights.sum(axis=1)
        return Posterior(
            strength * mean + failures, strength * (1.0 - mean) + effective - failures, effective
        )

    def _neighbour_weights(self, near: Neighbourhood) -> Floats:
        """(N, M) weights of the nearest known rollouts of other perturbations, 0 for the rest."""
        return self.weight * np.exp(-0.5 * (near.others / self.length) ** 2)


def strength_of(mean: Floats, variance: Floats) -> Floats:
    """Sum of alpha and beta where a Beta distribution of this mean is as wide as a logistic-normal one of this variance."""
    points, weights = special.roots_hermitenorm(15)
    centre = special.logit(mean) * np.sqrt(1.0 + np.pi * variance / 8.0)
    p = special.expit(centre[:, None] + np.sqrt(variance)[:, None] * points)
    share = weights / weights.sum()
    first = p @ share
    spread = np.maximum(np.square(p - first[:, None]) @ share, 1e-9)
    return np.clip(first * (1.0 - first) / spread - 1.0, FAR_STRENGTH, _MOST_STRENGTH)


def base_rate(failed: NDArray[np.bool_]) -> float:
    """Overall failure rate, add-half smoothed, kept in 0.1..0.9 so that "unknown" is never nearly certain."""
    return float(np.clip((failed.sum() + 0.5) / (len(failed) + 1.0), 0.1, 0.9))


def fit_calibration(
    start: Calibration, near: Neighbourhood, failed: NDArray[np.bool_], groups: NDArray[np.intp]
) -> Calibration:
    """Fit the numbers to held-out rollouts; the start is returned where they are too few or all alike.

    The mean is judged by the likelihood of each outcome, the strength by the beta-binomial likelihood of the failures
    in each group: outcomes of one group that scatter more than the means say want a weaker prior.

    Args:
        start: distance limit and base are kept.
        near: N held-out rollouts, asked without their own outcome.
        failed: (N,) their outcomes.
        groups: (N,) group number of each, see `group_alike`.
    """
    if len(failed) < MIN_FIT or failed.all() or not failed.any():
        return start
    slope, factors, offset = _fit_platt(start, near, failed)
    scaled = replace(start, slope=slope, factors=factors, offset=offset)
    best, best_score = scaled, -np.inf
    for candidate in _candidates(scaled, near):
        posterior = candidate.posterior(near)
        score = _log_likelihood(posterior, failed, groups)
        if score > best_score:
            best, best_score = candidate, score
    return best


def _candidates(scaled: Calibration, near: Neighbourhood) -> Iterator[Calibration]:
    """What is tried for the strength; nothing where the process on factor values says it."""
    if near.latent is not None:
        return
    for strength, weight, length in product(_STRENGTHS, _WEIGHTS, _LENGTHS):
        if weight == 0.0 and length != _LENGTHS[0]:
            continue  # without neighbours their length means nothing
        yield replace(
            scaled, strength=strength, weight=weight, length=length * scaled.distance_limit
        )


def group_alike(
    distances: Floats, perturbation_ids: tuple[str, ...], size: int = GROUP
) -> NDArray[np.intp]:
    """Group N rollouts that should fail alike: of one perturbation where `size` or more are, else near each other.

    Args:
        distances: (N, N) between their embeddings.
        perturbation_ids: N of them.
        size: rollouts a group of near ones.

    Returns:
        (N,) group numbers.
    """
    groups = np.full(len(perturbation_ids), -1)
    ids = np.array(perturbation_ids)
    number = 0
    for same in (ids == i for i in dict.fromkeys(perturbation_ids)):
        if same.sum() >= size:
            groups[same] = number
            number += 1
    while (groups < 0).any():
        left = np.flatnonzero(groups < 0)
        nearest = left[np.argsort(distances[left[0], left], kind="stable")[:size]]
        groups[nearest] = number
        number += 1
    return groups


def coverage(
    posterior: Posterior,
    failed: NDArray[np.bool_],
    groups: NDArray[np.intp],
    confidence: float = 0.90,
) -> float:
    """Share of groups whose number of failures lies in the central interval that their answers predict.

    A group shares one unknown P(failure), so its count is beta-binomial. Counts are whole numbers; a count at the edge
    of the interval is counted by the part of its probability inside, so that true answers give exactly `confidence`.
    """
    tail = (1 - confidence) / 2
    inside = []
    for alpha, beta, n, k in _pooled(posterior, failed, groups):
        mass = np.exp(_log_beta_binomial(np.arange(n + 1), n, alpha, beta))
        below = float(mass[:k].sum())
        above = below + float(mass[k])
        overlap = min(above, 1 - tail) - max(below, tail)
        inside.append(max(0.0, overlap) / max(above - below, 1e-12))
    return float(np.mean(inside)) if inside else float("nan")


def _fit_platt(
    start: Calibration, near: Neighbourhood, failed: NDArray[np.bool_]
) -> tuple[float, float, float]:
    """Slope, share of the factor values and offset of least held-out log loss, pulled to 1 (or to the shares) and 0."""
    if near.latent is None:
        signals, wanted = near.logits[:, None], np.array([1.0])
    else:
        signals = np.column_stack([near.logits, moderated(*near.latent)])
        wanted = np.array(_SHARES)

    def loss(x: Floats) -> float:
        z = signals @ x[:-1] + x[-1]
        away = np.square((x[:-1] - wanted) / (x[:-1] + wanted)).sum()
        return float(np.logaddexp(0.0, np.where(failed, -z, z)).sum() + _PULL * (away + x[-1] ** 2))

    bounds = [*((0.02, 5.0) for _ in wanted), (-10.0, 10.0)]
    found = optimize.minimize(loss, np.array([*wanted, 0.0]), bounds=bounds).x.tolist()
    return found[0], found[1] if len(wanted) > 1 else 0.0, found[-1]


def _log_likelihood(
    posterior: Posterior, failed: NDArray[np.bool_], groups: NDArray[np.intp]
) -> float:
    mean = posterior.mean
    each = np.log(np.where(failed, mean, 1.0 - mean)).sum()
    together = sum(
        float(_log_beta_binomial(k, n, alpha, beta))
        for alpha, beta, n, k in _pooled(posterior, failed, groups)
    )
    return float(each) + together


def _pooled(
    posterior: Posterior, failed: NDArray[np.bool_], groups: NDArray[np.intp]
) -> list[tuple[float, float, int, int]]:
    """(alpha, beta, rollouts, failures) of each group, alpha and beta from the mean answer and strength of its members."""
    pooled = []
    for group in np.unique(groups):
        members = groups == group
        mean = float(posterior.mean[members].mean())
        strength = float((posterior.alpha + posterior.beta)[members].mean())
        counts = int(members.sum()), int(failed[members].sum())
        pooled.append((strength * mean, strength * (1.0 - mean), *counts))
    return pooled


def _log_beta_binomial(k: NDArray | int, n: int, alpha: float, beta: float) -> NDArray:
    choose = special.gammaln(n + 1) - special.gammaln(np.add(k, 1)) - special.gammaln(n - k + 1)
    return choose + special.betaln(k + alpha, n - k + beta) - special.betaln(alpha, beta)
