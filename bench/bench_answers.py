"""How well the answers rank rollouts that no model had seen, beside every simpler predictor, on the shipped study.

Five folds by the hash of the rollout id, as `fit.heldout_ids` cuts them: embedding, search and calibration are trained
anew in each. The AUC is that of one fold, averaged over the folds.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.bench_embedding_auc import _baselines
from robomd_ros.core.baselines import neighbour_rate
from robomd_ros.core.metrics import auc
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.study import Study, shipped_studies
from robomd_ros.core.variations import Catalogue
from robomd_ros.evaluation.fitting import fit_without, search_without
from robomd_ros.learning.inputs import TrainingSet
from robomd_ros.search.asking import Asker
from robomd_ros.search.fit import heldout_ids

STUDY = "lift_panda"
FOLDS = 5


def run() -> dict[str, Any]:
    """Mean AUC of the folds on all, named and continuous conditions; calibration error and coverage."""
    study = Study.open(shipped_studies()[STUDY])
    catalogue = study.catalogue()
    with study.store(read_only=True) as store:
        records = store.records(evidence_only=True)
    continuous = np.array(["=" in r.perturbation.id for r in records])
    subsets = {"all": np.ones_like(continuous), "named": ~continuous, "continuous": continuous}
    aucs: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    figures: dict[str, list[float]] = defaultdict(list)
    for fold in range(FOLDS):
        started = time.perf_counter()
        held = _fold(records, fold)
        asker = fit_fold(records, catalogue, held, fold)
        figures["train_s"].append(time.perf_counter() - started)
        quality = asker.quality
        figures["ece_over_floor"].append(
            quality.calibration_error - quality.calibration_error_floor
        )
        figures["coverage"].append(quality.coverage)
        for name, scores in _scores(asker, records, catalogue, held, fold).items():
            for subset, rows in subsets.items():
                aucs[subset][name].append(auc(scores[rows[held]], asker.known.failed[held & rows]))
    return {
        "title": f"mean held-out AUC of {FOLDS} folds of {STUDY}",
        "rollouts": len(records),
        "continuous": int(continuous.sum()),
        "auc": {s: {n: float(np.mean(v)) for n, v in named.items()} for s, named in aucs.items()},
        **{name: float(np.mean(v)) for name, v in figures.items()},
        "coverage_lowest": float(np.min(figures["coverage"])),
        "coverage_highest": float(np.max(figures["coverage"])),
    }


def fit_fold(
    records: Sequence[RolloutRecord], catalogue: Catalogue, held: NDArray[np.bool_], seed: int
) -> Asker:
    """As `fit.fit_study`, without a folder: nothing held out reaches embedding or search."""
    fitted = fit_without(records, catalogue, held, seed)
    search = search_without(fitted, held, seed)
    return Asker(fitted.embedding, records, catalogue, search, known=fitted.known)


def _fold(records: Sequence[RolloutRecord], fold: int) -> NDArray[np.bool_]:
    inside = heldout_ids(records, (fold + 1) / FOLDS) - heldout_ids(records, fold / FOLDS)
    return np.array([r.id in inside for r in records])


def _scores(
    asker: Asker,
    records: Sequence[RolloutRecord],
    catalogue: Catalogue,
    held: NDArray[np.bool_],
    seed: int,
) -> dict[str, NDArray[np.float64]]:
    """Each predictor's scores of the fold's rollouts, in their order."""
    heldout, known, search = asker.heldout, asker.known, asker.search
    if heldout is None or search is None:
        raise RuntimeError("the fold was too small to measure anything.")
    answered = dict(zip(heldout.ids, heldout.p_failure, strict=True))
    points = known.embeddings[held]
    near = known.subset(~held)
    distances = near.index.distances(points)
    data = TrainingSet.from_records(records, catalogue)
    return {
        "p_failure": np.array([answered[i] for i, h in zip(known.ids, held, strict=True) if h]),
        "head": asker.embedding.failure_logits(points),
        "nearest": neighbour_rate(distances, near.failed),
        "density": search.log_density(points),
        "density_untrained": search.log_density_untrained(points),
        **_baselines(data, [r.perturbation for r in records], held, seed),
    }
