"""What the trained models say about a study, drawn from an `Asker` once, as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robomd_ros.core.answers import RiskMap
from robomd_ros.report.conditions import rate
from robomd_ros.report.data import EmbeddingFigures, EmbeddingMap, MapPoint, NextTry, ReliabilityBin

RELIABILITY_BINS = 10
PROPOSALS = 200
MAX_POINTS = 1500
"""Known rollouts drawn on the map at most: more make the file large and the picture a blot."""


@dataclass(frozen=True)
class HeldOut:
    """Predictions for rollouts that the predicting model had not seen.

    Attributes:
        ids: of the rollouts, N of them.
        p_failure: (N,) predictions.
        failed: (N,) outcomes.
    """

    ids: tuple[str, ...] = ()
    p_failure: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    failed: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))

    @property
    def by_id(self) -> dict[str, float]:
        """Prediction of each rollout."""
        return dict(zip(self.ids, map(float, self.p_failure), strict=True))


@dataclass(frozen=True)
class ModelView:
    """Everything the report takes from the models.

    Attributes:
        risk_map: the catalogue's answers, riskiest first.
        held_out: for the calibration plot and the surprising rollouts; empty = none kept.
        embedding_map: None = no embeddings known.
        next_tries: suggestions, best first.
        facts: (name, value) about the models, for the provenance table.
        embedding_figures: of the training of the embedding.
    """

    risk_map: RiskMap
    held_out: HeldOut = field(default_factory=HeldOut)
    embedding_map: EmbeddingMap | None = None
    next_tries: tuple[NextTry, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    embedding_figures: EmbeddingFigures = field(default_factory=EmbeddingFigures)


def project(
    embeddings: ArrayLike,
    failed: Sequence[bool] | NDArray[np.bool_],
    titles: Sequence[str],
    proposals: ArrayLike | None = None,
) -> EmbeddingMap | None:
    """Embeddings (M, D), and proposals (K, D), on the two leading principal components of the embeddings.

    None where fewer than three rollouts are known, or all of them coincide.
    """
    known = np.asarray(embeddings, np.float64)
    if known.ndim != 2 or len(known) < 3 or not np.isfinite(known).all():
        return None
    center = known.mean(axis=0)
    _, scale, axes = np.linalg.svd(known - center, full_matrices=False)
    variance = scale**2
    if not variance[0] > 0:
        return None
    plane = axes[:2].T
    points = (known - center) @ plane
    tips = () if proposals is None else (np.asarray(proposals, np.float64) - center) @ plane
    share = variance / variance.sum()
    drawn = range(0, len(known), math.ceil(len(known) / MAX_POINTS))
    return EmbeddingMap(
        tuple(
            MapPoint(float(points[i, 0]), float(points[i, 1]), bool(failed[i]), titles[i])
            for i in drawn
        ),
        tuple((float(x), float(y)) for x, y in tips),
        (float(share[0]), float(share[1])),
        known.shape[1],
        len(known),
    )


def reliability(held_out: HeldOut, bins: int = RELIABILITY_BINS) -> tuple[ReliabilityBin, ...]:
    """Bins of equal count, lowest predictions first: the bins that metrics.ece averages over."""
    order = np.argsort(held_out.p_failure, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return tuple(
        ReliabilityBin(
            float(held_out.p_failure[part].mean()),
            rate(int(held_out.failed[part].sum()), len(part)),
        )
        for part in parts
    )
