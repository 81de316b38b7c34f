"""What a policy's answers tell before any rollout, on the finite catalogues: per task, and per policy on the first one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from robomd_ros.core.metrics import ranking_accuracy
from robomd_ros.evaluation import datasets
from robomd_ros.evaluation.cross_validation import failures, mean_auc
from robomd_ros.evaluation.datasets import Dataset
from robomd_ros.evaluation.markdown import table, with_interval
from robomd_ros.evaluation.plan import SHIPPED, Plan
from robomd_ros.evaluation.steps import Results, Step
from robomd_ros.evaluation.tables import policies

TITLE = "The probe: what a policy's answers tell before any rollout"
VERSION = 1
SCENES = 6
"""A condition of the other tasks: they are there to judge the probe, which knows none of them."""


def steps(plan: Plan) -> list[Step]:
    """One a task with the shipped policy, one a policy on the first task."""
    shipped = {
        f"{task}, shipped": Dataset(
            "catalogue", plan.policy(task), task, plan.robot, repeats=_scenes(plan, task)
        )
        for task in plan.tasks
    }
    others = {
        f"{plan.tasks[0]}, {title}": data
        for title, data in policies.studies_of(plan).items()
        if title != SHIPPED
    }
    return [
        Step(f"probe/{name}", f"{__name__}:measured", {}, {"data": data}, VERSION, ("data",))
        for name, data in (shipped | others).items()
    ]


def _scenes(plan: Plan, task: str) -> int:
    return plan.repeats(task) if task == plan.tasks[0] else min(SCENES, plan.repeats(task))


def measured(studies: Path, data: Dataset) -> dict[str, Any]:
    """The mean change of a policy's answers under each condition, held against how its rollouts ended."""
    records = datasets.records(data, studies)
    failed = failures(records)
    numbers = datasets.probes(studies, data).of([r.perturbation for r in records]).mean(axis=1)
    ids, condition = np.unique([r.perturbation.id for r in records], return_inverse=True)
    rates = np.bincount(condition, failed) / np.bincount(condition)
    of_condition = np.bincount(condition, numbers) / np.bincount(condition)
    worst = rates > 0.5
    first = np.argsort(-of_condition, kind="stable")[: int(worst.sum())]
    return {
        "rollouts": len(records),
        "conditions": len(ids),
        "failing": float(failed.mean()),
        "auc": list(mean_auc([(numbers, failed)])),
        "accuracy": ranking_accuracy(numbers, failed, np.random.default_rng(0)),
        "tau": float(stats.kendalltau(of_condition, rates).statistic),
        "worst": int(worst.sum()),
        "worst_found": int(worst[first].sum()),
    }


def render(results: Results, plan: Plan) -> str:
    """A row a task and policy."""
    found = results.under("probe/")
    rows = [_row(name, f) for name, f in found.items()]
    head = ["task, policy", "rollouts", "failed", "AUC", "500 pairs", "Kendall's τ over conditions", "of those that fail more often than not, ranked first"]  # fmt: skip
    return (
        "The policy is asked under each condition, at three moments of four nominal rollouts, how it would act; the mean change against its answers to the "
        "unchanged scene ranks the conditions. No rollout under a variation and no outcome is used: the rollouts only judge it ([probe.md](probe.md)).\n\n"
        + table(head, rows)
        + "\n\nAUC over all rollouts, nominal ones too, with a 95 % bootstrap over rollouts. Last column: of the k conditions with a failure rate above one half, how "
        "many are among the first k."
    )


def _row(name: str, f: Mapping[str, Any]) -> list[str]:
    return [
        name, str(f["rollouts"]), f"{100 * f['failing']:.0f} %", with_interval(*f["auc"]), f"{100 * f['accuracy']:.1f} %",
        f"{f['tau']:.2f}", f"{f['worst_found']} of {f['worst']}",
    ]  # fmt: skip
