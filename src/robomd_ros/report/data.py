"""What the report says, as plain numbers: no drawing and no HTML in here."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.agreement import Agreement
from robomd_ros.core.answers import Quality


@dataclass(frozen=True)
class Rate:
    """Failures among rollouts, with the 90 % Wilson interval; NaN where nothing was run."""

    failures: int
    n: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """Share of failures, 0..1."""
        return self.failures / self.n if self.n else math.nan


class Verdict(StrEnum):
    """What the repeats of one condition allow to say."""

    FAILS = "fails"
    WORSE = "worse"
    WORKS = "works"
    OPEN = "open"
    UNTESTED = "untested"


@dataclass(frozen=True)
class Condition:
    """One set of variations: what was seen, and what the model expects.

    Attributes:
        id: of the perturbation.
        title: short words for it.
        swatches: CSS colours of its colour variations.
        rate: of the rollouts of exactly this set.
        certainty: probability that the failure rate is above one half, given `rate` and a uniform prior.
        p, p_low, p_high: calibrated P(failure) with its 90 % interval; NaN = nothing trained.
        density_ratio: of the search policy, 1 = the riskiest of the map; NaN = nothing trained.
        trusted: the embedding lies as near to known ones as those lie to each other; None = nothing trained.
        effective_rollouts: weight of the neighbouring evidence.
    """

    id: str
    title: str
    sentence: str
    swatches: tuple[str, ...]
    rate: Rate
    certainty: float
    verdict: Verdict
    in_catalogue: bool
    p: float = math.nan
    p_low: float = math.nan
    p_high: float = math.nan
    density_ratio: float = math.nan
    trusted: bool | None = None
    distance: float = math.nan
    distance_limit: float = math.nan
    effective_rollouts: float = math.nan


@dataclass(frozen=True)
class Tile:
    """A cell of a heat view: a value, or a bin of values, and how often the policy failed there."""

    label: str
    rate: Rate
    swatch: str = ""


@dataclass(frozen=True)
class TileRow:
    """One factor, or one component of it, over its values.

    Attributes:
        unchanged: rollouts of the same set in which this factor was left alone; None where that makes no sense.
    """

    factor: str
    tiles: tuple[Tile, ...]
    unchanged: Rate | None = None
    unit: str = ""


@dataclass(frozen=True)
class MapPoint:
    """A known rollout on the plane of the two leading principal components."""

    x: float
    y: float
    failed: bool
    title: str


@dataclass(frozen=True)
class EmbeddingMap:
    """The known embeddings in two dimensions, and what the search policy proposes.

    Attributes:
        proposals: (x, y) of samples of the search policy.
        explained: shares of the variance along x and y, 0..1.
        dim: of the embedding.
        known: rollouts known, of which `points` are drawn.
    """

    points: tuple[MapPoint, ...]
    proposals: tuple[tuple[float, float], ...]
    explained: tuple[float, float]
    dim: int
    known: int


@dataclass(frozen=True)
class ReliabilityBin:
    """Held-out rollouts with about the same prediction: what was said, and what came."""

    predicted: float
    rate: Rate


@dataclass(frozen=True)
class Scorer:
    """Ranking accuracy (AUC) of one way to score, on rollouts it had not seen; NaN = not measured."""

    name: str
    auc: float
    low: float = math.nan
    high: float = math.nan
    ours: bool = False
    note: str = ""


@dataclass(frozen=True)
class EmbeddingFigure:
    """One figure of the embedding; `better` is "lower", "higher" or "" (unknown); NaN = not measured."""

    name: str
    better: str
    known: float
    held_out: float


@dataclass(frozen=True)
class EmbeddingFigures:
    """All figures of one training, with the numbers of rollouts learnt from and held out."""

    known: int = 0
    held_out: int = 0
    rows: tuple[EmbeddingFigure, ...] = ()


@dataclass(frozen=True)
class Thumbnail:
    """A rollout worth looking at: its camera image before the policy moved."""

    rollout_id: str
    title: str
    failed: bool
    p: float
    seed: int
    image: NDArray[np.uint8]


@dataclass(frozen=True)
class Gallery:
    """Rollouts that tell the same kind of story; `risk` names what stands as `p` under each."""

    title: str
    caption: str
    risk: str
    thumbnails: tuple[Thumbnail, ...]


@dataclass(frozen=True)
class NextTry:
    """A rollout to run next, and why."""

    id: str
    title: str
    swatches: tuple[str, ...]
    changes: int
    p: float
    score: float
    reason: str


@dataclass(frozen=True)
class Demand:
    """Demonstrations to collect under one failing condition."""

    condition: Condition
    demonstrations: int
    confirm_first: bool


@dataclass(frozen=True)
class PurposeRow:
    """Why rollouts were run, and what came of them."""

    purpose: str
    rate: Rate
    failing_conditions: int


@dataclass(frozen=True)
class Tally:
    """What the rollouts of the study came to."""

    rollouts: int
    evidence: Rate
    invalid: int
    safety: int
    timeouts: int
    policy_errors: int
    unlabelled: int
    controls: int
    controls_succeeded: int
    without_frame: int

    @property
    def not_evidence(self) -> int:
        """Rollouts that say nothing about the policy, negative controls left out."""
        return self.rollouts - self.evidence.n - self.controls


@dataclass(frozen=True)
class Identity:
    """What was studied, where and when. Dates are seconds since the epoch; NaN = unknown."""

    study: str
    policies: tuple[str, ...]
    robots: tuple[str, ...]
    tasks: tuple[str, ...]
    first: float
    last: float


@dataclass(frozen=True)
class FailureDistribution:
    """The paper's three figures over the catalogue (Sec. 4.2)."""

    entropy: float
    entropy_max: float
    failure_modes: int
    severity_index: float
    from_model: bool


@dataclass(frozen=True)
class ReportData:
    """Everything the report shows."""

    identity: Identity
    tally: Tally
    nominal: Rate
    trained: bool
    ranking: tuple[Condition, ...]
    confirmed: tuple[Condition, ...]
    failed_once: int
    catalogue_tiles: tuple[TileRow, ...]
    value_tiles: tuple[TileRow, ...]
    value_rollouts: int
    distribution: FailureDistribution
    quality: Quality
    scorers: tuple[Scorer, ...]
    reliability: tuple[ReliabilityBin, ...]
    embedding_map: EmbeddingMap | None
    embedding_figures: EmbeddingFigures
    galleries: tuple[Gallery, ...]
    next_tries: tuple[NextTry, ...]
    demands: tuple[Demand, ...]
    purposes: tuple[PurposeRow, ...]
    agreement: Agreement | None = None
    answer: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    provenance: tuple[tuple[str, str], ...] = field(default=())
    commands: tuple[str, ...] = ()
