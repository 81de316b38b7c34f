"""Quality of the embedding: the paper's four-way ablation, the light sweep, and nearest neighbours over k (Sec. 4.5)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from robomd_ros.core.variations import load_catalogue
from robomd_ros.evaluation import datasets
from robomd_ros.evaluation.cross_validation import by_scene
from robomd_ros.evaluation.datasets import Dataset
from robomd_ros.evaluation.markdown import table
from robomd_ros.evaluation.plan import Plan
from robomd_ros.evaluation.steps import Results, Step

TITLE = "Quality of the embedding"
VERSION = 1
WAYS = {
    "image": ("image", {"image": True}),
    "image_text": ("image + text", {"image": True, "text": True}),
    "all": ("image + text + factor values", {"image": True, "text": True, "factors": True}),
}
LOSSES = {"bce": ("BCE", 0.0), "both": ("BCE + Eq. (1)", 0.3)}
FIGURES = {
    "auc_shown": ("AUC", ".3f"),
    "silhouette_heldout": ("silhouette", ".3f"),
    "davies_bouldin_heldout": ("Davies–Bouldin", ".2f"),
    "separation_heldout": ("separation", ".2f"),
    "similarity_mse": ("similarity MSE", ".3f"),
    "similarity_frobenius": ("Frobenius", ".2f"),
}
SWEEP = {
    "light_text_kendall_from_start": "τ, text",
    "light_text_pearson": "r, text",
    "light_factors_kendall_from_start": "τ, factors",
    "light_factors_pearson": "r, factors",
}


def steps(plan: Plan) -> list[Step]:
    """One training for each ablation and seed, on the finite catalogue of the first task."""
    task, sizes = plan.tasks[0], plan.sizes
    data = {
        "data": Dataset("catalogue", plan.policy(task), task, plan.robot, repeats=sizes.repeats)
    }
    return [
        Step(
            f"embedding/{way}/{loss}/{seed}",
            f"{__name__}:quality",
            {"way": way, "loss": loss, "seed": seed, "folds": sizes.folds},
            data,
            VERSION,
        )
        for way in WAYS
        for loss in LOSSES
        for seed in sizes.seeds
    ]


def quality(
    studies: Path, data: Dataset, way: str, loss: str, seed: int, folds: int
) -> dict[str, Any]:
    """Figures of an embedding on the scenes that it did not see."""
    from robomd_ros.core.metrics import auc
    from robomd_ros.learning.config import EmbeddingConfig
    from robomd_ros.learning.inputs import TrainingSet
    from robomd_ros.learning.train import train_embedding

    records, catalogue = datasets.records(data, studies), load_catalogue(data.task)
    held = by_scene(records, folds) == seed % folds
    whole = TrainingSet.from_records(records, catalogue)
    shown = replace(whole, inputs=whole.inputs.only(**WAYS[way][1]))
    config = EmbeddingConfig(contrastive_weight=LOSSES[loss][1])
    embedding = train_embedding(
        shown, config, seed=seed, catalogue=catalogue, heldout_ids=frozenset(shown[held].ids)
    )
    logits = embedding.failure_logits(embedding.embed(shown[held].inputs))
    figures = {name: float(value) for name, value in embedding.quality.items()}
    return figures | {"auc_shown": auc(logits, shown.failed[held])}


def render(results: Results, plan: Plan) -> str:
    """Mean and range over the seeds; nearest neighbours and the light sweep of the full one."""
    rows = []
    for way, (title, _) in WAYS.items():
        for loss, (losses, _) in LOSSES.items():
            found = list(results.under(f"embedding/{way}/{loss}/").values())
            if found:
                rows.append(
                    [
                        title,
                        losses,
                        *(_cell(found, name, form) for name, (_, form) in FIGURES.items()),
                    ]
                )
    whole = list(results.under("embedding/all/both/").values())
    ks = [k for k in (1, 3, 5, 10, 20) if any(f"knn_accuracy_{k}_heldout" in v for v in whole)]
    neighbours = [f"k = {k}: {_cell(whole, f'knn_accuracy_{k}_heldout', '.3f')}" for k in ks]
    sweep = [f"{title} {_cell(whole, name, '.3f')}" for name, title in SWEEP.items()]
    return "\n\n".join(
        [
            table(["trained on", "losses", *(title for title, _ in FIGURES.values())], rows),
            f"Scenes that the embedding did not see; mean (least to largest) of {len(plan.sizes.seeds)} seeds. "
            "The similarity of conditions is compared with the identity, as in the paper, on the rollouts that it learnt from.",
            f"Accuracy of the majority of the k nearest: {'; '.join(neighbours)}.",
            f"Light sweep, Kendall's τ from the start and Pearson's r: {'; '.join(sweep)}.",
        ]
    )


def _cell(found: list[Any], name: str, form: str) -> str:
    values = [v[name] for v in found if name in v and np.isfinite(v[name])]
    if not values:
        return "–"
    mean = f"{np.mean(values):{form}}"
    return f"{mean} ({min(values):{form}} to {max(values):{form}})" if len(values) > 1 else mean
