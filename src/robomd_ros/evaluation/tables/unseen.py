"""What was left out of the training entirely: values of a known factor, factors, pairs of known variations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from robomd_ros.core.baselines import SuccessTable
from robomd_ros.core.metrics import brier, pair_wins
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.variations import Catalogue, color_name, load_catalogue
from robomd_ros.evaluation import datasets
from robomd_ros.evaluation.cross_validation import auc_difference, failures, mean_auc
from robomd_ros.evaluation.datasets import Dataset
from robomd_ros.evaluation.markdown import table, with_interval
from robomd_ros.evaluation.plan import Plan
from robomd_ros.evaluation.steps import Results, Step
from robomd_ros.learning.risk import Layout, RiskPrior, moderated
from robomd_ros.search.calibration import DOUBT, Posterior, coverage, strength_of

TITLE = "Unseen values, factors and pairs: left out of the training entirely"
VERSION = 1
PAIR_FOLDS = 10
QUICK_PAIRS = 20
LEAST = 10
"""Rollouts of a left-out band below which it is not asked about."""
KINDS = {
    "bands": "continuous: a band of hue or of light left out",
    "variations": "catalogue: one named variation left out, continuous rollouts known",
    "variations_alone": "catalogue: one named variation left out, nothing else known",
    "factors": "continuous: a factor left out, all conditions that change it",
    "pairs_singles": "pairs, known: the single variations alone",
    "pairs": "pairs, known: single variations and nine tenths of the other pairs",
}
Records = Sequence[RolloutRecord]


def steps(plan: Plan) -> list[Step]:
    """One step a kind of what is left out."""
    sizes, task = plan.sizes, plan.tasks[0]
    about = (plan.policy(task), task, plan.robot)
    conditions, scenes = sizes.ceiling
    data = {
        "catalogue": Dataset("catalogue", *about, repeats=sizes.repeats),
        "continuous": Dataset("continuous", *about, conditions=sizes.continuous),
        "ceiling": Dataset("ceiling", *about, conditions=conditions, repeats=scenes),
        "pairs": Dataset(
            "pairs", *about, conditions=QUICK_PAIRS if plan.quick else 0, repeats=sizes.pair_repeats
        ),
    }
    return [
        Step(f"unseen/{task}/{kind}", f"{__name__}:left_out", {"kind": kind}, data, VERSION)
        for kind in KINDS
    ]


def render(results: Results, plan: Plan) -> str:
    """A row a kind; then what each left-out part gave."""
    found = results.under(f"unseen/{plan.tasks[0]}/")
    head = ["left out", "n", "P(failure), AUC", "success table, AUC", "difference", "agreement, ties = 0: ours", "table's", "Brier", "coverage", "width"]  # fmt: skip
    rows = [_row(title, found[kind]) for kind, title in KINDS.items() if kind in found]
    notes = [
        "P(failure) from the factor values (the process of [embedding.md](embedding.md) without the embedding's tenth of the logit, which is not trained "
        "anew for each of these). AUC is the mean over the left-out parts, weighed alike, where each is one set of rollouts, or of all of "
        "them together where a part is a single condition. Agreement: share of (failure, success) pairs that are ranked right, a tie counted as wrong; two rollouts of "
        "one condition always tie. Coverage and width are of the 90 % interval, coverage over conditions of two rollouts and more.",
    ]
    parts = [
        f"{KINDS[kind]}: "
        + "; ".join(f"{name} {with_interval(*auc)}" for name, auc in found[kind]["parts"].items())
        + "."
        for kind in ("bands", "factors")
        if kind in found and found[kind]["parts"]
    ]
    return "\n\n".join([table(head, rows), *notes, *parts])


def _row(title: str, f: Mapping[str, Any]) -> list[str]:
    def shown(value: float) -> str:
        return "–" if np.isnan(value) else f"{value:.3f}"

    return [
        title, str(f["n"]), with_interval(*f["auc"]), with_interval(*f["table"]), with_interval(*f["minus_table"]),
        shown(f["agreement"]), shown(f["table_agreement"]), shown(f["brier"]), shown(f["coverage"]), shown(f["width"]),
    ]  # fmt: skip


def left_out(
    studies: Path, catalogue: Dataset, continuous: Dataset, ceiling: Dataset, pairs: Dataset, kind: str
) -> dict[str, Any]:  # fmt: skip
    """Learn without each part, ask about it."""
    task = load_catalogue(catalogue.task)
    read = {
        name: datasets.records(data, studies)
        for name, data in (
            ("catalogue", catalogue), ("continuous", continuous), ("ceiling", ceiling), ("pairs", pairs),
        )
    }  # fmt: skip
    made = [_asked(task, *part) for part in _PARTS[kind](task, read)]
    return _summary(made, together=kind.startswith(("variations", "pairs")))


Part = tuple[str, Records, Records, Records]
"""Name; rollouts learnt from; rollouts asked about; others asked about, of repeated conditions, for the coverage."""


def _bands(task: Catalogue, read: Mapping[str, Records]) -> list[Part]:
    """Each hue of each coloured thing, and three bands of the light."""
    records = read["continuous"]
    found: list[Part] = []
    bands: dict[str, list[RolloutRecord]] = {}
    for record in records:
        for v in record.perturbation.variations:
            factor = task.factors[v.factor]
            if factor.kind == "color" and not factor.nominal:
                hue = color_name([round(c) for c in v.value]).split()[-1]
                bands.setdefault(f"{v.factor} {hue}", []).append(record)
            elif v.factor == "light_intensity":
                third = int(3 * (v.value[0] - factor.low[0]) / (factor.high[0] - factor.low[0]))
                band = ("dark", "middle", "bright")[min(third, 2)]
                bands.setdefault(f"light {band}", []).append(record)
    for name, inside in sorted(bands.items()):
        ids = {r.id for r in inside}
        if len(inside) >= LEAST:
            found.append((name, [r for r in records if r.id not in ids], inside, ()))
    return found


def _variations(task: Catalogue, read: Mapping[str, Records], *, alone: bool) -> list[Part]:
    records = read["catalogue"]
    others = () if alone else read["continuous"]
    found: list[Part] = []
    for single in task.singles:
        inside = [r for r in records if r.perturbation.id == single.id]
        known = [r for r in (*records, *others) if single.id not in r.perturbation.ids]
        if inside:
            found.append((single.id, known, inside, inside))
    return found


def _factors(task: Catalogue, read: Mapping[str, Records]) -> list[Part]:
    found: list[Part] = []
    for factor in task.factors:

        def changes(record: RolloutRecord, factor: str = factor) -> bool:
            return any(v.factor == factor for v in record.perturbation.variations)

        inside = [r for r in read["continuous"] if changes(r)]
        repeated = [r for r in (*read["ceiling"], *read["catalogue"]) if changes(r)]
        known = [r for r in (*read["continuous"], *read["catalogue"]) if not changes(r)]
        if inside:
            found.append((factor, known, inside, repeated))
    return found


def _pairs_from_singles(_: Catalogue, read: Mapping[str, Records]) -> list[Part]:
    return [("pairs", read["catalogue"], read["pairs"], read["pairs"])]


def _pairs(_: Catalogue, read: Mapping[str, Records]) -> list[Part]:
    """A tenth of the pairs at a time, all rollouts of each."""
    names = sorted({r.perturbation.id for r in read["pairs"]})
    order = np.random.default_rng(0).permutation(len(names))
    found: list[Part] = []
    for part in np.array_split(order, PAIR_FOLDS):
        out = {names[i] for i in part}
        inside = [r for r in read["pairs"] if r.perturbation.id in out]
        known = [*read["catalogue"], *(r for r in read["pairs"] if r.perturbation.id not in out)]
        if inside:
            found.append((f"fold {len(found)}", known, inside, inside))
    return found


_PARTS: Mapping[str, Callable[[Catalogue, Mapping[str, Records]], list[Part]]] = {
    "bands": _bands,
    "variations": lambda task, read: _variations(task, read, alone=False),
    "variations_alone": lambda task, read: _variations(task, read, alone=True),
    "factors": _factors,
    "pairs_singles": _pairs_from_singles,
    "pairs": _pairs,
}


def _asked(
    task: Catalogue, name: str, known: Records, asked: Records, repeated: Records
) -> dict[str, Any]:
    """Scores of one left-out part."""
    layout, failed = Layout.of(task), failures(known)
    vectors = _vectors(task, known)
    risk = RiskPrior.learn(layout, *vectors, failed).given(*vectors, failed)
    mean, variance = risk.latent(*_vectors(task, asked))
    posterior = _posterior(mean, variance)
    low, high = posterior.interval()
    covered, conditions = float("nan"), 0
    if repeated:
        ids, groups = np.unique([r.perturbation.id for r in repeated], return_inverse=True)
        answers = _posterior(*risk.latent(*_vectors(task, repeated)))
        covered, conditions = coverage(answers, failures(repeated), groups), len(ids)
    table_ = SuccessTable([r.perturbation for r in known], failed)
    return {
        "name": name, "scores": posterior.mean, "failed": failures(asked), "width": high - low,
        "table": table_.predict([r.perturbation for r in asked]), "coverage": covered, "conditions": conditions,
    }  # fmt: skip


def _posterior(mean: NDArray[np.float64], variance: NDArray[np.float64]) -> Posterior:
    """As the answers are made before anything is held out to calibrate them."""
    p = np.clip(special.expit(moderated(mean, variance)), 1e-3, 1 - 1e-3)
    strength = strength_of(p, DOUBT * variance)
    return Posterior(strength * p, strength * (1 - p), np.zeros(len(p)))


def _vectors(task: Catalogue, records: Records) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    pairs = [task.vector(r.perturbation) for r in records]
    return np.stack([v for v, _ in pairs]), np.stack([m for _, m in pairs])


def _summary(made: Sequence[Mapping[str, Any]], *, together: bool) -> dict[str, Any]:
    """Figures over all parts; `together`: their rollouts are ranked as one list."""
    joined = [np.concatenate([m[key] for m in made]) for key in ("scores", "table", "failed")]
    parts = (
        [(joined[0], joined[1], joined[2])]
        if together
        else [(m["scores"], m["table"], m["failed"]) for m in made]
    )
    seen = [m for m in made if m["conditions"]]
    covered = float("nan")
    if seen:
        weights = [m["conditions"] for m in seen]
        covered = float(np.average([m["coverage"] for m in seen], weights=weights))
    scores, _, failed = joined
    return {
        "n": len(failed),
        "auc": list(mean_auc([(s, f) for s, _, f in parts])),
        "table": list(mean_auc([(t, f) for _, t, f in parts])),
        "minus_table": list(auc_difference(parts)),
        "agreement": float(np.mean([(pair_wins(s, f) == 1).mean() for s, _, f in parts if 0 < f.sum() < len(f)])),
        "table_agreement": float(np.mean([(pair_wins(t, f) == 1).mean() for _, t, f in parts if 0 < f.sum() < len(f)])),
        "brier": brier(scores, failed),
        "coverage": covered,
        "width": float(np.mean(np.concatenate([m["width"] for m in made]))),
        "parts": {} if together else {m["name"]: list(mean_auc([(m["scores"], m["failed"])])) for m in made},
    }  # fmt: skip
