"""How far two people, or one person twice, judge the same rollout alike: blind second looks and Cohen's kappa."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.outcome import Control, Label, Outcome
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.statistics import wilson

SHARE = 0.1
"""Part of the labelled rollouts that is looked at twice."""

JUDGEABLE = (Outcome.SUCCESS, Outcome.FAILURE, Outcome.INVALID)
"""What a person can tell from the pictures; safety stops, time-outs and policy errors are the cell's own account."""

_PRIOR = 0.5
_DRAWS = 4000
_SEED = 0


@dataclass(frozen=True)
class Look:
    """One rollout judged twice.

    Attributes:
        rollout_id, perturbation_id: of the rollout.
        first: the label that was in force when the second look was given.
        second: the newest second look.
    """

    rollout_id: str
    perturbation_id: str
    first: Label
    second: Label

    @property
    def agrees(self) -> bool:
        """Both say the same outcome."""
        return self.first.outcome is self.second.outcome

    @property
    def same_person(self) -> bool:
        """One person looked twice: that tells how steady a judgement is, not whether others share it."""
        return self.first.labeler == self.second.labeler


@dataclass(frozen=True)
class Agreement:
    """Of all second looks of a study.

    Attributes:
        looks: rollouts judged twice.
        agreed: of them judged alike.
        same_person: of them judged twice by one person.
        share_low, share_high: 90 % Wilson interval of agreed / looks.
        kappa: Cohen's kappa, -1..1; NaN = not defined, see `cohen_kappa`.
        kappa_low, kappa_high: its 90 % interval; NaN with it.
        outcomes: that were said, in the order of their values.
        table: (K, K) counts, rows = first look, columns = second look, over `outcomes`.
        disagreements: rollouts judged differently, oldest second look first.
    """

    looks: int
    agreed: int
    same_person: int
    share_low: float
    share_high: float
    kappa: float
    kappa_low: float
    kappa_high: float
    outcomes: tuple[Outcome, ...]
    table: tuple[tuple[int, ...], ...]
    disagreements: tuple[Look, ...]


def cohen_kappa(table: NDArray[np.generic]) -> float:
    """Cohen's kappa of a (K, K) table of counts or probabilities (Cohen 1960).

    (p_o - p_e) / (1 - p_e), p_o the share judged alike and p_e the share that two judges with these habits would judge
    alike by chance.

    Returns:
        NaN below two pairs, and where both judges always said one and the same: chance alone would do that.
    """
    return float(_kappas(_counts(table)[None])[0]) if _pairs(table) >= 2 else math.nan


def kappa_interval(
    table: NDArray[np.generic], rng: np.random.Generator, confidence: float = 0.90
) -> tuple[float, float]:
    """Equal-tailed interval of kappa under a Dirichlet(1/2) prior of the cells, widened to hold the estimate.

    The large-sample error (Fleiss, Cohen and Everitt 1969) and the bootstrap are both 0 when all pairs agree; a handful
    of second looks proves no such thing, and a handful is what there is. For many pairs all three are the same.

    Args:
        table: (K, K) counts.
        rng: of the draws.
        confidence: of the interval.

    Returns:
        (NaN, NaN) where kappa is NaN.
    """
    kappa = cohen_kappa(table)
    if math.isnan(kappa):
        return math.nan, math.nan
    counts = _counts(table)
    draws = rng.dirichlet(counts.ravel() + _PRIOR, _DRAWS).reshape(-1, *counts.shape)
    tail = (1 - confidence) / 2
    low, high = np.quantile(_kappas(draws), (tail, 1 - tail))
    return min(float(low), kappa), max(float(high), kappa)


def agreement(looks: Iterable[Look]) -> Agreement:
    """What the second looks say about the first ones; the same looks always give the same numbers."""
    found = list(looks)
    said = {x.first.outcome for x in found} | {x.second.outcome for x in found}
    outcomes = tuple(sorted(said))
    table = np.zeros((len(outcomes), len(outcomes)), np.int64)
    for look in found:
        table[outcomes.index(look.first.outcome), outcomes.index(look.second.outcome)] += 1
    agreed = int(np.trace(table))
    low, high = wilson(agreed, len(found), 0.90)
    kappa_low, kappa_high = kappa_interval(table, np.random.default_rng(_SEED))
    return Agreement(
        looks=len(found),
        agreed=agreed,
        same_person=sum(x.same_person for x in found),
        share_low=low,
        share_high=high,
        kappa=cohen_kappa(table),
        kappa_low=kappa_low,
        kappa_high=kappa_high,
        outcomes=outcomes,
        table=tuple(tuple(int(n) for n in row) for row in table),
        disagreements=tuple(x for x in found if not x.agrees),
    )


def in_words(found: Agreement) -> str:
    """The agreement in one or two sentences."""
    if not found.looks:
        return "No rollout was judged twice yet."
    if math.isnan(found.kappa):
        kappa = "Cohen's kappa is not defined for so few or so equal judgements"
    else:
        low, high = found.kappa_low, found.kappa_high
        kappa = f"Cohen's kappa {found.kappa:.2f}, 90 % interval {low:.2f} to {high:.2f}"
    whose = f" {found.same_person} of them twice by one person." if found.same_person else ""
    return (
        f"{found.looks} {'rollout was' if found.looks == 1 else 'rollouts were'} judged twice, "
        f"{found.agreed} of them alike ({100 * found.agreed / found.looks:.0f} %, 90 % interval "
        f"{100 * found.share_low:.0f} to {100 * found.share_high:.0f} %); {kappa}.{whose}"
    )


def due(
    records: Sequence[RolloutRecord], labeler: str = "", share: float = SHARE, seed: int = 0
) -> list[str]:
    """Rollouts that still want a second look, the next one first.

    A share of what was judged is drawn by a hash of its id and the seed: whoever asks gets the same ones, however the
    study grew, and the order says nothing about the session's. Somebody else's judgements come before one's own, which
    are offered all the same: a lab with one operator still learns how steady that operator is.

    Args:
        records: of the study, in the order of arrival.
        labeler: who is going to look.
        share: of the judged rollouts, 0..1, rounded up.
        seed: another seed, other rollouts.
    """
    if not 0 <= share <= 1:
        raise InvalidArgumentError(f"share {share}: want a number from 0 to 1.")
    judged = [r for r in records if r.outcome in JUDGEABLE and r.control is Control.NONE]
    ordered = sorted(judged, key=lambda r: _lot(seed, r.id))
    left = math.ceil(share * len(judged)) - sum(bool(r.second_looks) for r in judged)
    open_ones = [r for r in ordered if not r.second_looks]
    chosen = open_ones[: max(0, left)]
    return [r.id for r in sorted(chosen, key=lambda r: r.labels[-1].labeler == labeler)]


def _lot(seed: int, rollout_id: str) -> bytes:
    return hashlib.sha256(f"{seed}:{rollout_id}".encode()).digest()


def _kappas(tables: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of (B, K, K) tables."""
    p = tables / tables.sum(axis=(1, 2), keepdims=True)
    observed = np.trace(p, axis1=1, axis2=2)
    chance = np.einsum("bi,bi->b", p.sum(axis=2), p.sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        kappas: NDArray[np.float64] = np.where(
            np.isclose(chance, 1.0), np.nan, (observed - chance) / (1 - chance)
        )
    return kappas


def _pairs(table: NDArray[np.generic]) -> float:
    return float(_counts(table).sum())


def _counts(table: NDArray[np.generic]) -> NDArray[np.float64]:
    counts = np.asarray(table, np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or np.any(counts < 0):
        raise InvalidArgumentError(
            f"a table of two judges is square and counts, got shape {counts.shape}."
        )
    return counts
