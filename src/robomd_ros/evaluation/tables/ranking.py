"""Ranking accuracy per task: does a failure get the higher failure likelihood than a success? (paper, Sec. 4.2)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.baselines import SuccessTable, neighbour_rate
from robomd_ros.core.metrics import ranking_accuracy
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.variations import Catalogue, load_catalogue
from robomd_ros.evaluation import datasets, image_networks
from robomd_ros.evaluation.baselines import make_forest
from robomd_ros.evaluation.cross_validation import (
    auc_difference,
    by_method,
    by_scene,
    failures,
    kept,
    mean_auc,
)
from robomd_ros.evaluation.datasets import Dataset
from robomd_ros.evaluation.markdown import table, with_interval
from robomd_ros.evaluation.plan import Plan
from robomd_ros.evaluation.steps import Results, Step
from robomd_ros.evaluation.vlm_row import judge_cell, judge_note

TITLE = "Ranking accuracy on the finite catalogue, seen variations"
VERSION = 1
PAIRS = 500
SHOTS = (0, 5)
IMAGE_EPOCHS = {"cnn": 1.0, "resnet": 0.2}
"""Part of the paper's 200 epochs: the ResNet does not get better after a fifth of them, and the CPU is slow."""

ROWS = {
    "p_failure": "**RoboMD, P(failure)**",
    "ppo": "RoboMD, density of PPO",
    "a2c": "density of A2C",
    "sac": "density of SAC",
    "discrete_ppo": "mass of discrete PPO",
    "untrained": "density of PPO before training (control)",
    "head": "classifier head of the embedding",
    "nearest": "10 nearest in the embedding",
    "table": "success table",
    "logistic": "logistic regression on the variations",
    "forest": "random forest on the factor values",
    "cnn": "CNN, image only",
    "resnet": "half ResNet-18, image only",
    "vlm_0": "VLM judge, 0 shots",
    "vlm_5": "VLM judge, 5 shots",
    "random": "random",
    "ceiling": "*true rate of the condition, leave-one-out (ceiling)*",
}


def steps(plan: Plan) -> list[Step]:
    """Models, plain predictors and image networks of each task and fold."""
    here, sizes = __name__, plan.sizes
    made = []
    for task in plan.tasks:
        data = {
            "data": Dataset(
                "catalogue", plan.policy(task), task, plan.robot, repeats=plan.repeats(task)
            )
        }
        for fold in range(sizes.folds):
            common = {"fold": fold, "folds": sizes.folds}
            name = f"ranking/{task}/{fold}"
            searched = common | {"search_steps": sizes.search_steps}
            made.append(Step(f"{name}/models", f"{here}:models", searched, data, VERSION))
            made.append(Step(f"{name}/plain", f"{here}:plain", common, data, VERSION))
            for network, part in IMAGE_EPOCHS.items():
                epochs = max(1, round(sizes.image_epochs * part))
                arguments = common | {"network": network, "epochs": epochs}
                made.append(
                    Step(f"{name}/{network}", f"{here}:image_network", arguments, data, VERSION)
                )
        made += _judge_steps(plan, task, data)
    return made


def _judge_steps(plan: Plan, task: str, data: Mapping[str, Dataset]) -> list[Step]:
    """The VLM judge, where an endpoint is given."""
    if not os.environ.get("ROBOMD_VLM_URL"):
        return []
    call, model = (
        "robomd_ros.evaluation.vlm_row:judge_dataset",
        os.environ.get("ROBOMD_VLM_MODEL", ""),
    )
    return [
        Step(
            f"ranking/{task}/vlm_{shots}",
            call,
            {"shots": shots, "pairs": 20 if plan.quick else PAIRS, "model": model},
            data,
            VERSION,
        )
        for shots in SHOTS
    ]


def render(results: Results, plan: Plan) -> str:
    """A row a method, a column a task; then what the intervals of the differences to the success table say."""
    aucs = {task: by_method(results.under(f"ranking/{task}/").values()) for task in plan.tasks}
    rows = []
    for method, title in ROWS.items():
        cells = [
            judge_cell(results.value(f"ranking/{task}/{method}"))
            if method.startswith("vlm_")
            else _cell(aucs[task].get(method))
            for task in plan.tasks
        ]
        if any(cell != "–" for cell in cells):
            rows.append([title, *cells])
    sizes = plan.sizes
    scenes = ", ".join(f"{plan.repeats(task)} ({task})" for task in plan.tasks)
    notes = [
        f"AUC [95 % interval], mean of {sizes.folds} folds over scenes, {scenes} scenes a condition; in brackets behind it what {PAIRS} "
        "random pairs give, the paper's ranking accuracy.",
        *(_against_table(task, aucs[task]) for task in plan.tasks),
        judge_note([results.value(f"ranking/{t}/vlm_{n}") for t in plan.tasks for n in SHOTS]),
    ]
    return "\n\n".join([table(["method", *plan.tasks], rows), *filter(None, notes)])


Parts = list[tuple[list[float], list[int]]]


def _cell(parts: Parts | None) -> str:
    if not parts:
        return "–"
    rng = np.random.default_rng(0)
    pairs = [ranking_accuracy(s, f, rng, PAIRS) for s, f in parts]
    return f"{with_interval(*mean_auc(parts))} ({100 * np.nanmean(pairs):.1f} %)"


def _against_table(task: str, found: dict[str, Parts]) -> str:
    if "p_failure" not in found or len(found["p_failure"]) != len(found.get("table", [])):
        return ""
    pairs = zip(found["p_failure"], found["table"], strict=True)
    shown = with_interval(*auc_difference([(a, b, f) for (a, f), (b, _) in pairs]))
    return f"{task}: P(failure) minus success table, paired: {shown}."


def _split(
    data: Dataset, studies: Path, fold: int, of: int
) -> tuple[tuple[RolloutRecord, ...], Catalogue, NDArray[np.bool_]]:
    records = datasets.records(data, studies)
    return records, load_catalogue(data.task), by_scene(records, of) == fold


def models(
    studies: Path, data: Dataset, fold: int, folds: int, search_steps: int
) -> dict[str, Any]:
    """Embedding, calibration and each search, trained without the fold; scores of its rollouts."""
    from robomd_ros.evaluation.fitting import fit_without, search_scores

    records, catalogue, held = _split(data, studies, fold, folds)
    fitted = fit_without(records, catalogue, held, fold)
    points, near = fitted.known.embeddings[held], fitted.known.subset(~held)
    scores = {
        "head": fitted.embedding.failure_logits(points),
        "nearest": neighbour_rate(near.index.distances(points), near.failed),
        **search_scores(fitted, held, fold, search_steps),
    }
    scores["p_failure"] = fitted.answers(held)
    return _kept(scores, records, held)


def plain(studies: Path, data: Dataset, fold: int, folds: int) -> dict[str, Any]:
    """Predictors that know what was applied and nothing else."""
    from sklearn.linear_model import LogisticRegression

    records, catalogue, held = _split(data, studies, fold, folds)
    failed = failures(records)
    perturbations = [r.perturbation for r in records]
    x = np.stack([np.concatenate(catalogue.vector(p)) for p in perturbations])
    names = sorted({p.id for p in perturbations})
    one_hot = np.array([[p.id == name for name in names] for p in perturbations], float)
    trained, asked = [_part(perturbations, ~held), _part(perturbations, held)]
    rng = np.random.default_rng(fold)
    scores = {
        "table": SuccessTable(trained, failed[~held]).predict(asked),
        "logistic": LogisticRegression(max_iter=1000)
        .fit(one_hot[~held], failed[~held])
        .decision_function(one_hot[held]),
        "forest": make_forest(fold).fit(x[~held], failed[~held]).predict_proba(x[held])[:, 1],
        "random": rng.random(int(held.sum())),
        "ceiling": _leave_one_out_rate([p.id for p in perturbations], failed)[held],
    }
    return _kept(scores, records, held)


def image_network(
    studies: Path, data: Dataset, fold: int, folds: int, network: str, epochs: int
) -> dict[str, Any]:
    """One of the image-only detectors."""
    records, _, held = _split(data, studies, fold, folds)
    images = np.stack([r.first_frame for r in records if r.first_frame is not None])
    failed = failures(records)
    scores = image_networks.scores(
        network, images[~held], failed[~held], images[held], epochs, fold
    )
    return _kept({network: scores}, records, held)


def _kept(
    scores: dict[str, Any], records: Sequence[RolloutRecord], held: NDArray[np.bool_]
) -> dict[str, Any]:
    return kept(scores, failures(records)[held])


def _part(items: Sequence[Any], rows: NDArray[np.bool_]) -> list[Any]:
    return [item for item, wanted in zip(items, rows, strict=True) if wanted]


def _leave_one_out_rate(names: Sequence[str], failed: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N,) failure rate of the rollout's condition over all its other rollouts, add-half smoothed."""
    _, inverse = np.unique(np.array(names), return_inverse=True)
    n = np.bincount(inverse)[inverse] - 1
    k = np.bincount(inverse, failed.astype(float))[inverse] - failed
    return np.asarray((k + 0.5) / (n + 1))
