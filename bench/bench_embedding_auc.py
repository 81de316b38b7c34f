"""How well the head of the compact embedding ranks rollouts it never saw, against trivial predictors, on the shipped study.

Five folds, each with its own seed: every rollout is held out once, 80 % are learnt from. Both trainings of a fold see the
same rollouts and the same outcome-free renders.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from robomd_ros.core.baselines import SuccessTable
from robomd_ros.core.metrics import auc
from robomd_ros.core.statistics import bootstrap_auc_interval
from robomd_ros.core.study import Study, shipped_studies
from robomd_ros.core.variations import Catalogue
from robomd_ros.evaluation.baselines import make_forest
from robomd_ros.learning.config import EmbeddingConfig
from robomd_ros.learning.inputs import Renders, TrainingSet
from robomd_ros.learning.quality import INPUTS
from robomd_ros.learning.train import train_embedding

STUDY = "lift_panda"
FOLDS = 5
RENDERS = int(os.environ.get("RENDERS", "1000"))
WEIGHTS = {"": EmbeddingConfig().contrastive_weight, "no_contrast_": 0.0}
FIGURES = ("silhouette_heldout", "davies_bouldin_heldout", "separation_heldout", "similarity_mse",
           "knn_accuracy_10_heldout", "light_factors_kendall_from_start", "light_factors_pearson",
           "light_text_kendall_from_start", "light_text_pearson")  # fmt: skip


def run() -> dict[str, Any]:
    """AUC with a 95 % bootstrap interval for each way to ask, with and without Eq. (1), and of the baselines."""
    study = Study.open(shipped_studies()[STUDY])
    catalogue = study.catalogue()
    records = [r for r in study.store(read_only=True).records() if r.is_evidence]
    data = TrainingSet.from_records(records, catalogue)
    renders = _renders(catalogue, study) if RENDERS else None
    perturbations = [r.perturbation for r in records]
    folds = np.random.default_rng(0).permutation(len(data)) % FOLDS
    scores: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.full(len(data), np.nan))
    figures: dict[str, list[float]] = defaultdict(list)
    for fold in range(FOLDS):
        held = folds == fold
        for name, p in _baselines(data, perturbations, held, fold).items():
            scores[name][held] = p
        for prefix, weight in WEIGHTS.items():
            started = time.perf_counter()
            embedding = train_embedding(
                data,
                EmbeddingConfig(contrastive_weight=weight),
                seed=fold,
                catalogue=catalogue,
                renders=renders,
                heldout_ids=frozenset(data[held].ids),
            )
            figures[f"{prefix}train_s"].append(time.perf_counter() - started)
            for figure in FIGURES:
                figures[prefix + figure].append(embedding.quality[figure])
            for way, shown in INPUTS.items():
                points = embedding.embed(data[held].inputs.only(**shown))
                scores[prefix + way][held] = embedding.failure_logits(points)
    continuous = np.array(["=" in i for i in data.perturbation_ids])
    return {
        "title": f"held-out AUC of the compact embedding's head, {FOLDS} folds of {STUDY}",
        "rollouts": len(data),
        "continuous": int(continuous.sum()),
        "failures": int(data.failed.sum()),
        "renders": RENDERS,
        "auc": {k: _with_interval(s, data.failed) for k, s in scores.items()},
        "auc_continuous": {
            k: _with_interval(s[continuous], data.failed[continuous]) for k, s in scores.items()
        },
        "all_minus_forest": _difference(scores["all"], scores["forest"], data.failed, folds),
        "figures": {k: float(np.mean(v)) for k, v in figures.items()},
    }


def _renders(catalogue: Catalogue, study: Study) -> Renders:
    from sim_bridge.collect import CellSpec, build_cell

    cell = build_cell(CellSpec("", study.meta.task, study.meta.robot))
    try:
        return Renders(*cell.render_pool(RENDERS, np.random.default_rng(0), catalogue))
    finally:
        cell.close()


def _baselines(data: TrainingSet, perturbations: list, held: NDArray, seed: int) -> dict[str, Any]:
    x = np.concatenate([data.inputs.factors, data.inputs.factor_mask], 1)
    logistic = LogisticRegression(max_iter=1000)
    known = data.failed[~held]
    table = SuccessTable([p for p, h in zip(perturbations, held, strict=True) if not h], known)
    return {
        "forest": _logit(make_forest(seed).fit(x[~held], known).predict_proba(x[held])[:, 1]),
        "logistic": logistic.fit(x[~held], known).decision_function(x[held]),
        "table": _logit(table.predict([p for p, h in zip(perturbations, held, strict=True) if h])),
    }


def _logit(p: NDArray) -> NDArray:
    p = np.clip(p, 1e-3, 1 - 1e-3)
    return np.log(p / (1 - p))


def _with_interval(scores: NDArray, failed: NDArray) -> dict[str, float]:
    low, high = bootstrap_auc_interval(scores, failed, np.random.default_rng(0))
    return {"auc": auc(scores, failed), "low": low, "high": high}


def _difference(a: NDArray, b: NDArray, failed: NDArray, folds: NDArray) -> dict[str, float]:
    """Difference of the mean AUC of the folds, with a paired bootstrap over rollouts."""
    rng = np.random.default_rng(0)

    def difference(rows: NDArray) -> float:
        parts = [rows[folds[rows] == k] for k in range(FOLDS)]
        return float(np.mean([auc(a[r], failed[r]) - auc(b[r], failed[r]) for r in parts]))

    drawn = [difference(rng.integers(len(failed), size=len(failed))) for _ in range(500)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"mean": difference(np.arange(len(failed))), "low": float(low), "high": float(high)}
