"""Policies beside each other on the same variations and scenes: how they fail, and how well that is ranked (Sec. 4.3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from robomd_ros.core.baselines import SuccessTable
from robomd_ros.core.metrics import entropy, fsi, nfm
from robomd_ros.core.statistics import wilson
from robomd_ros.core.variations import NOMINAL, load_catalogue
from robomd_ros.evaluation import datasets
from robomd_ros.evaluation.cross_validation import by_method, by_scene, failures, kept, mean_auc
from robomd_ros.evaluation.datasets import Dataset
from robomd_ros.evaluation.markdown import table, with_interval
from robomd_ros.evaluation.plan import SHIPPED, Plan
from robomd_ros.evaluation.steps import Results, Step

TITLE = "Policies beside each other"
VERSION = 1


def studies_of(plan: Plan) -> dict[str, Dataset]:
    """The study of each policy on the first task, by its title."""
    task, repeats = plan.tasks[0], plan.sizes.policy_repeats
    return {
        title: Dataset(
            "catalogue", spec, task, plan.robot, repeats=repeats,
            name=f"{task}_catalogue" if title == SHIPPED else f"{task}_catalogue_{title}",
        )
        for title, spec in plan.policies.items()
    }  # fmt: skip


def steps(plan: Plan) -> list[Step]:
    """Failure rates of each policy, and the ranking of each fold."""
    made = []
    for title, dataset in studies_of(plan).items():
        data = {"data": dataset}
        made.append(Step(f"policies/{title}/rates", f"{__name__}:rates", {}, data, VERSION))
        for fold in range(plan.sizes.folds):
            arguments = {"fold": fold, "folds": plan.sizes.folds}
            step = Step(
                f"policies/{title}/ranking/{fold}", f"{__name__}:ranking", arguments, data, VERSION
            )
            made.append(step)
    return made


def rates(studies: Path, data: Dataset) -> dict[str, Any]:
    """Failures and rollouts of each condition, and the paper's figures over the named variations."""
    records = datasets.records(data, studies)
    counts: dict[str, list[int]] = {}
    for record, failed in zip(records, failures(records), strict=True):
        count = counts.setdefault(record.perturbation.id, [0, 0])
        count[0] += int(failed)
        count[1] += 1
    named = {name: kn for name, kn in counts.items() if name != NOMINAL}
    p = np.array([k / n for k, n in named.values()])
    low = np.array([wilson(k, n, 0.90)[0] for k, n in named.values()])
    return {
        "counts": counts,
        "entropy": entropy(p) if p.any() else None,
        "nfm": nfm(low),
        "fsi": fsi(p),
    }


def ranking(studies: Path, data: Dataset, fold: int, folds: int) -> dict[str, Any]:
    """Scores of one fold: P(failure), density of the search and its control, success table."""
    from robomd_ros.evaluation.fitting import fit_without, search_scores

    records, catalogue = datasets.records(data, studies), load_catalogue(data.task)
    held, failed = by_scene(records, folds) == fold, failures(records)
    fitted = fit_without(records, catalogue, held, fold)
    known = [r.perturbation for r, out in zip(records, held, strict=True) if not out]
    asked = [r.perturbation for r, out in zip(records, held, strict=True) if out]
    searched = search_scores(fitted, held, fold, algorithms=("ppo",))
    scores = {
        "p_failure": fitted.answers(held),
        "table": SuccessTable(known, failed[~held]).predict(asked),
    }
    return kept(scores | searched, failed[held])


def render(results: Results, plan: Plan) -> str:
    """A row a policy."""
    head = ["policy", "nominal failures", "failures, all variations", "entropy", "NFM", "FSI", "AUC P(failure)", "AUC PPO", "AUC untrained", "AUC success table"]  # fmt: skip
    kept = [
        name.removesuffix("/rates")
        for name in results.under("policies/")
        if name.endswith("/rates")
    ]
    # A checkpoint that lies elsewhere by now keeps its row.
    titles = dict.fromkeys([*plan.policies, *kept])
    rows = [row for title in titles if (row := _row(results, title))]
    task = plan.tasks[0]
    return (
        table(head, rows)
        + f"\n\n{task}, nominal and {len(load_catalogue(task).variations)} variations × {plan.sizes.policy_repeats} scenes, the same ones for every policy. "
        "NFM: variations whose failure rate is above 0.5 at the low end of its 90 % interval. AUC: mean of the folds."
    )


def _row(results: Results, title: str) -> list[str]:
    found = results.value(f"policies/{title}/rates")
    if found is None:
        return []
    k, n = (
        sum(x)
        for x in zip(*(c for name, c in found["counts"].items() if name != NOMINAL), strict=True)
    )
    shown = found["entropy"]
    parts = by_method(results.under(f"policies/{title}/ranking/").values())
    aucs = [
        with_interval(*mean_auc(parts[m])) if m in parts else "–"
        for m in ("p_failure", "ppo", "untrained", "table")
    ]
    return [
        title, _rate(*found["counts"][NOMINAL]), _rate(k, n), "–" if shown is None else f"{shown:.2f}",
        str(found["nfm"]), f"{found['fsi']:.2f}", *aucs,
    ]  # fmt: skip


def _rate(k: int, n: int) -> str:
    low, high = wilson(k, n)
    return f"{k}/{n} [{low:.2f}, {high:.2f}]"
