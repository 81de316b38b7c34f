"""What was left out of the training entirely: values of a known factor, factors, pairs of known variations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from robomd_ros.core.baselines import SuccessTable
from robomd_ros.core.metrics import brier, pair_wins
from robomd_ros.core.probes import DIM, ProbeTable
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
from robomd_ros.search.probed import vectors as vectors_with_probes

TITLE = "Unseen values, factors and pairs: left out of the training entirely"
VERSION = 2
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
        Step(
            f"unseen/{task}/{kind}",
            f"{__name__}:left_out",
            {"kind": kind},
            data,
            VERSION,
            tuple(data),
        )
        for kind in KINDS
    ]


def render(results: Results, plan: Plan) -> str:
    """A row a kind; then what each left-out part gave."""
    found = results.under(f"unseen/{plan.tasks[0]}/")
    head = ["left out", "n", "P(failure), AUC", "success table, AUC", "difference", "agreement, ties = 0: ours", "table's", "Brier", "coverage", "width"]  # fmt: skip
    head_probed = [
        "left out",
        "with the probe: AUC",
        "minus without it",
        "Brier",
        "coverage",
        "width",
    ]
    rows = [_row(title, found[kind]) for kind, title in KINDS.items() if kind in found]
    probed = [_row_probed(title, found[kind]) for kind, title in KINDS.items() if kind in found]
    notes = [
        "P(failure) from the factor values (the process of [embedding.md](embedding.md) without the embedding's tenth of the logit, which is not trained "
        "anew for each of these). AUC is the mean over the left-out parts, weighed alike, where each is one set of rollouts, or of all of "
        "them together where a part is a single condition. Agreement: share of (failure, success) pairs that are ranked right, a tie counted as wrong; two rollouts of "
        "one condition always tie. Coverage and width are of the 90 % interval, coverage over conditions of two rollouts and more.",
    ]
    parts = [
        f"{KINDS[kind]}{said}: "
        + "; ".join(f"{name} {with_interval(*auc)}" for name, auc in found[kind][key].items())
        + "."
        for kind in ("bands", "factors")
        for key, said in (("parts", ""), ("parts_probed", ", with the probe"))
        if kind in found and found[kind][key]
    ]
    asked = "The same answers where the policy was asked, too, under the left-out conditions as under the known ones ([probe.md](probe.md)):"
    return "\n\n".join([table(head, rows), *notes, asked, table(head_probed, probed), *parts])


def _row(title: str, f: Mapping[str, Any]) -> list[str]:
    figures = ("agreement", "table_agreement", "brier", "coverage", "width")
    return [
        title, str(f["n"]), *(with_interval(*f[name]) for name in ("auc", "table", "minus_table")),
        *(_shown(f[name]) for name in figures),
    ]  # fmt: skip


def _row_probed(title: str, f: Mapping[str, Any]) -> list[str]:
    figures = ("brier_probed", "coverage_probed", "width_probed")
    aucs = (with_interval(*f[name]) for name in ("probed", "probed_minus_auc"))
    return [title, *aucs, *(_shown(f[name]) for name in figures)]


def _shown(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"


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
    table_ = datasets.probes(studies, catalogue, continuous, ceiling, pairs)
    made = [_asked(task, table_, *part) for part in _PARTS[kind](task, read)]
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
    task: Catalogue, probes: ProbeTable, name: str, known: Records, asked: Records, repeated: Records
) -> dict[str, Any]:  # fmt: skip
    """Scores of one left-out part, from the factor values alone and with the probe."""
    failed = failures(known)
    table_ = SuccessTable([r.perturbation for r in known], failed)
    conditions = len({r.perturbation.id for r in repeated})
    made: dict[str, Any] = {
        "name": name, "failed": failures(asked), "conditions": conditions,
        "table": table_.predict([r.perturbation for r in asked]),
    }  # fmt: skip
    for suffix, seen in (("", _vectors), ("_probed", partial(_probed_vectors, probes))):
        layout = Layout.of(task, probe=DIM if suffix else 0)
        vectors = seen(task, known)
        risk = RiskPrior.learn(layout, *vectors, failed).given(*vectors, failed)
        posterior = _posterior(*risk.latent(*seen(task, asked)))
        low, high = posterior.interval()
        covered = float("nan")
        if repeated:
            _, groups = np.unique([r.perturbation.id for r in repeated], return_inverse=True)
            answers = _posterior(*risk.latent(*seen(task, repeated)))
            covered = coverage(answers, failures(repeated), groups)
        made |= {
            "scores" + suffix: posterior.mean,
            "width" + suffix: high - low,
            "coverage" + suffix: covered,
        }
    return made


def _probed_vectors(
    probes: ProbeTable, task: Catalogue, records: Records
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    return vectors_with_probes(probes, task, [r.perturbation for r in records])


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
    names = ("scores", "scores_probed", "table", "failed")
    joined = {name: np.concatenate([m[name] for m in made]) for name in names}
    parts = [joined] if together else made
    failed = joined["failed"]

    def pairs(score: str) -> list[tuple[NDArray, NDArray]]:
        return [(part[score], part["failed"]) for part in parts]

    def differences(one: str, other: str) -> list[float]:
        return list(auc_difference([(part[one], part[other], part["failed"]) for part in parts]))

    return {
        "n": len(failed),
        "auc": list(mean_auc(pairs("scores"))),
        "table": list(mean_auc(pairs("table"))),
        "minus_table": differences("scores", "table"),
        "probed": list(mean_auc(pairs("scores_probed"))),
        "probed_minus_auc": differences("scores_probed", "scores"),
        "agreement": _agreement(pairs("scores")),
        "table_agreement": _agreement(pairs("table")),
        "brier": brier(joined["scores"], failed),
        "brier_probed": brier(joined["scores_probed"], failed),
        "coverage": _covered(made, "coverage"),
        "coverage_probed": _covered(made, "coverage_probed"),
        "width": float(np.mean(np.concatenate([m["width"] for m in made]))),
        "width_probed": float(np.mean(np.concatenate([m["width_probed"] for m in made]))),
        "parts": {} if together else {m["name"]: list(mean_auc([(m["scores"], m["failed"])])) for m in made},
        "parts_probed": {} if together else {m["name"]: list(mean_auc([(m["scores_probed"], m["failed"])])) for m in made},
    }  # fmt: skip


def _agreement(pairs: Sequence[tuple[NDArray, NDArray]]) -> float:
    """Share of (failure, success) pairs that are ranked right, a tie counted as wrong; mean over the parts."""
    return float(np.mean([(pair_wins(s, f) == 1).mean() for s, f in pairs if 0 < f.sum() < len(f)]))


def _covered(made: Sequence[Mapping[str, Any]], name: str) -> float:
    seen = [m for m in made if m["conditions"]]
    weights = [m["conditions"] for m in seen]
    return float(np.average([m[name] for m in seen], weights=weights)) if seen else float("nan")
