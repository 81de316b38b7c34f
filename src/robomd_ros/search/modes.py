"""Calibration by what a question holds: with or without an image, with or without factor values.

An embedding that lacks an input is less sure and lies elsewhere; asked so, it gets numbers fitted to held-out rollouts
asked in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.answers import Quality
from robomd_ros.core.variations import Perturbation
from robomd_ros.learning.embedding import Embedding
from robomd_ros.learning.inputs import Inputs
from robomd_ros.search.calibration import (
    Calibration,
    Neighbourhood,
    base_rate,
    fit_calibration,
    group_alike,
)
from robomd_ros.search.known import KnownSet, NearestIndex
from robomd_ros.search.policy import SearchPolicy
from robomd_ros.search.probed import ProbedPrior
from robomd_ros.search.quality import HeldOut, measure

LIMIT_PERCENTILE = 95.0
_LIMIT_SAMPLE = 200  # rollouts asked anew in each mode to find its distance limit


class Mode(NamedTuple):
    """What a question holds besides its sentence; `probed`: the policy was asked what it would do."""

    image: bool
    factors: bool
    probed: bool = False


FULL = Mode(image=True, factors=True)
MODES = (FULL, Mode(image=False, factors=True), Mode(image=True, factors=False), Mode(False, False))
PROBED = (FULL._replace(probed=True), Mode(image=False, factors=True, probed=True))


@dataclass(frozen=True)
class Calibrations:
    """One calibration a mode, and how good the answers are with all that is known of a rollout."""

    by_mode: Mapping[Mode, Calibration]
    quality: Quality = field(default_factory=Quality)
    heldout: HeldOut | None = None

    def of(self, mode: Mode) -> Calibration:
        """The calibration of a mode."""
        return self.by_mode[mode]


def modes_of(inputs: Inputs) -> list[Mode]:
    """Mode of each question."""
    pairs = zip(inputs.image_mask.tolist(), inputs.factors_known.tolist(), strict=True)
    return [Mode(image, factors) for image, factors in pairs]


def fit_modes(
    embedding: Embedding,
    known: KnownSet,
    perturbations: Sequence[Perturbation],
    inputs: Inputs,
    held: NDArray[np.bool_],
    search: SearchPolicy | None,
    probed: ProbedPrior | None = None,
) -> Calibrations:
    """Fit every mode to the held-out rollouts and measure the full one.

    Args:
        embedding: frozen.
        known: M evidence rollouts.
        perturbations: what was applied in each.
        inputs: what the embedding read of each.
        held: (M,) True for those no model has seen.
        search: scored beside the answers.
        probed: learnt without the held-out rollouts, too; None = the policy was not asked.
    """
    trained = known.subset(~held)
    if not held.any() or not len(trained):
        return Calibrations({m: _start(embedding, known, inputs, m) for m in (*MODES, *PROBED)})
    out, held_set = known.subset(held), inputs[held]
    groups = group_alike(
        NearestIndex(out.embeddings).distances(out.embeddings), out.perturbation_ids
    )
    risk = None
    if embedding.risk is not None:
        x = inputs.factors[~held], inputs.factor_mask[~held]
        risk = embedding.risk.given(*x, trained.failed)
    by_mode, starts, nears = {}, {}, {}
    for mode in MODES:
        asked = out.embeddings if mode == FULL else embedding.embed(as_asked(held_set, mode))
        start = _start(embedding, known, inputs, mode)
        starts[mode] = replace(start, base=base_rate(trained.failed))
        nears[mode] = _against(embedding, asked, out, trained, mode)
        if mode.factors and risk is not None:
            x = held_set.factors, held_set.factor_mask
            latent = np.stack(risk.latent(*x, without=nears[mode].same))
            nears[mode] = replace(nears[mode], latent=latent)
        by_mode[mode] = fit_calibration(starts[mode], nears[mode], out.failed, groups)
    rows = np.flatnonzero(held), np.flatnonzero(~held)
    of_held, of_trained = ([perturbations[i] for i in part] for part in rows)
    best = FULL
    for mode in PROBED:
        plain = starts[mode._replace(probed=False)]
        start = Calibration.default(plain.distance_limit, trained.failed, factors=True)
        by_mode[mode] = replace(start, base=plain.base)
    if probed is not None and probed.knows(of_held).any():
        some, latent = _probed_latent(probed, of_held, of_trained, trained.failed, nears[FULL].same)
        for mode in PROBED:
            starts[mode] = by_mode[mode]
            near = nears[mode._replace(probed=False)][some]
            nears[mode] = replace(near, latent=latent)
            by_mode[mode] = fit_calibration(
                starts[mode], nears[mode], out.failed[some], groups[some]
            )
        best = PROBED[0] if len(some) == len(out) else FULL
    features = np.hstack([inputs.factors, inputs.factor_mask.astype(np.float32)])
    quality, heldout = measure(
        starts[best], nears[best], out, of_held, of_trained, search, features[held], features[~held]
    )
    return Calibrations(by_mode, quality, heldout)


def _probed_latent(
    probed: ProbedPrior,
    of_held: Sequence[Perturbation],
    of_trained: Sequence[Perturbation],
    failed: NDArray[np.bool_],
    same: NDArray[np.bool_],
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Which held-out rollouts have a probe, and what the trained ones that have one say of them, without those of `same`."""
    asked, known = (np.flatnonzero(probed.knows(part)) for part in (of_held, of_trained))
    risk = probed.given([of_trained[i] for i in known], failed[known])
    vectors = probed.vectors([of_held[i] for i in asked])
    return asked, np.stack(risk.latent(*vectors, without=same[np.ix_(asked, known)]))


def as_asked(inputs: Inputs, mode: Mode) -> Inputs:
    """Rollouts as questions of a mode; an image without factor values comes without a sentence, too."""
    text = mode.factors or not mode.image
    return inputs.only(image=mode.image, text=text, factors=mode.factors)


def _against(
    embedding: Embedding, asked: NDArray, held: KnownSet, trained: KnownSet, mode: Mode
) -> Neighbourhood:
    same = np.zeros((len(held), len(trained)), np.bool_)
    if mode.factors:  # otherwise nobody knows that it is the same perturbation
        same = np.array(held.perturbation_ids)[:, None] == np.array(trained.perturbation_ids)
    return Neighbourhood(
        embedding.failure_logits(asked).astype(np.float64),
        trained.index.distances(asked),
        same,
        trained.failed,
    )


def _start(embedding: Embedding, known: KnownSet, inputs: Inputs, mode: Mode) -> Calibration:
    """Distance limit: the 95th percentile of the distance from a known rollout, asked so, to the nearest other one."""
    if mode == FULL:
        nearest = known.leave_one_out_distances()
    else:
        step = max(1, len(known) // _LIMIT_SAMPLE)
        rows = np.arange(0, len(known), step)
        distances = known.index.distances(embedding.embed(as_asked(inputs[rows], mode)))
        distances[np.arange(len(rows)), rows] = np.inf
        nearest = distances.min(axis=1)
    finite = nearest[np.isfinite(nearest)]
    limit = float(np.percentile(finite, LIMIT_PERCENTILE)) if len(finite) else 1.0
    factors = mode.factors and embedding.risk is not None
    return Calibration.default(limit, known.failed, factors=factors)
