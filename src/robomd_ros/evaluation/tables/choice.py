"""Next-experiment choice: how good the predictions get for the rollouts spent, by what chose them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.metrics import auc
from robomd_ros.evaluation import datasets
from robomd_ros.evaluation.cross_validation import failures
from robomd_ros.evaluation.datasets import Dataset
from robomd_ros.evaluation.markdown import table
from robomd_ros.evaluation.plan import Plan
from robomd_ros.evaluation.steps import Results, Step

if TYPE_CHECKING:
    from robomd_ros.evaluation.choosers import Risk
    from robomd_ros.search.replay import Pool

TITLE = "Next experiment: rollouts needed for an AUC, by what chose them"
VERSION = 4
REPLAYS_A_SEED = 2
EVERY = 10
SHOWN = (50, 100, 130, 160, 200)
WAYS = {
    "random": "random",
    "exploit": "the riskiest (a forest and a Gaussian process)",
    "uncertain": "p (1 − p) × novelty",
    "teach_all": "variance of P(failure) taken away from all",
    "teach": "**RoboMD: the same, every fourth at random**",
    "random_probe": "random, the model with the probe",
    "teach_probe": "**RoboMD, the model with the probe**",
}


def steps(plan: Plan) -> list[Step]:
    """One replay a step."""
    sizes, task = plan.sizes, plan.tasks[0]
    data = Dataset("continuous", plan.policy(task), task, plan.robot, conditions=sizes.continuous)
    arguments = {"budget": 2 * sizes.budget, "heldout": sizes.heldout}
    return [
        Step(f"choice/{seed}", f"{__name__}:replayed", arguments | {"seed": seed}, {"data": data}, VERSION, ("data",))
        for seed in range(1 if plan.quick else REPLAYS_A_SEED * len(sizes.seeds))
    ]  # fmt: skip


def replayed(studies: Path, data: Dataset, seed: int, budget: int, heldout: int) -> dict[str, Any]:
    """AUC on rollouts that no way of choosing could choose, after every few rollouts of each way."""
    from robomd_ros.core.variations import load_catalogue
    from robomd_ros.evaluation import choosers
    from robomd_ros.evaluation.choosers import TabularRisk

    records, catalogue = datasets.records(data, studies), load_catalogue(data.task)
    table_ = datasets.probes(studies, data)
    whole = choosers.pool_of(records, failures(records), catalogue, table_)
    order = np.random.default_rng(seed).permutation(len(whole))
    asked, part = order[:heldout], whole.subset(order[heldout:])
    most = min(budget, len(part))
    marks = list(range(2 * EVERY, most + 1, EVERY)) or [most]
    curves = {}
    chosen = choosers.lessons(catalogue, part, marks[-1], seed)
    for way, rows in (chosen | {"random_probe": chosen["random"]}).items():
        known = order[heldout:][rows]
        curves[way] = [
            round(
                _auc(TabularRisk(catalogue, probe=way.endswith("_probe")), whole, known[:n], asked),
                4,
            )
            for n in marks
        ]
    return {"marks": marks, "auc": curves}


def _auc(risk: Risk, whole: Pool, known: NDArray[np.intp], asked: NDArray[np.intp]) -> float:
    return auc(risk(whole, known, asked), whole.failed[asked])


def render(results: Results, plan: Plan) -> str:
    """AUC by rollouts, and the rollouts after which each way is as good as chance is at the end."""
    replays = list(results.under("choice/").values())
    if not replays:
        return "Nothing was replayed yet."
    marks = replays[0]["marks"]
    shown = [m for m in SHOWN if m in marks] or marks[-1:]
    rows = [
        [title, *(_at(replays, way, marks.index(m)) for m in shown), _reached(replays, way)]
        for way, title in WAYS.items()
    ]
    head = ["", *(f"AUC at {m}" for m in shown), f"rollouts to random's AUC at {marks[-1]}"]
    return (
        f"{len(replays)} replays, each with {plan.sizes.heldout} other held-out rollouts and a pool of the rest; AUC: mean ± standard error; the same model "
        "(mean logit of a forest and a Gaussian process on the factor values) is trained on whatever was chosen. All begin with the same random "
        "rollouts; 5 are chosen at a time. With the probe the model sees, too, what the policy answers under each condition ([probe.md](probe.md)). Last column: where the mean curve first reaches the last point of random choice with the same model, with the 95 % bootstrap over "
        "replays; > = not within the budget.\n\n" + table(head, rows)
    )


def _at(replays: Sequence[Mapping[str, Any]], way: str, mark: int) -> str:
    values = np.array([r["auc"][way][mark] for r in replays])
    return f"{values.mean():.3f} ± {values.std() / np.sqrt(len(values)):.3f}"


def _reached(replays: Sequence[Mapping[str, Any]], way: str) -> str:
    marks = replays[0]["marks"]
    chance = "random_probe" if way.endswith("_probe") else "random"
    ours, random = (np.array([r["auc"][w] for r in replays]) for w in (way, chance))
    draws = np.random.default_rng(0).integers(len(replays), size=(2000, len(replays)))
    found = [first_reached(marks, ours[d].mean(0), float(random[d, -1].mean())) for d in draws]
    low, high = np.quantile(found, (0.025, 0.975), method="nearest")
    middle = first_reached(marks, ours.mean(0), float(random[:, -1].mean()))
    return f"{_count(middle, marks)} [{_count(low, marks)}, {_count(high, marks)}]"


def first_reached(marks: Sequence[int], curve: NDArray[np.float64], wanted: float) -> float:
    """Rollouts at which a curve first reaches a value, between marks on a straight line; infinite = never."""
    for i, value in enumerate(curve):
        if value >= wanted:
            if not i or value == curve[i - 1]:
                return float(marks[i])
            share = (wanted - curve[i - 1]) / (value - curve[i - 1])
            return float(marks[i - 1] + share * (marks[i] - marks[i - 1]))
    return float("inf")


def _count(rollouts: float, marks: Sequence[int]) -> str:
    return f"{rollouts:.0f}" if np.isfinite(rollouts) else f"> {marks[-1]}"
