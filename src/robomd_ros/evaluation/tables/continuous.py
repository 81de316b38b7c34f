"""Continuous variations: every rollout its own condition, held-out AUC and calibration by the number of rollouts."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from robomd_ros.core import metrics
from robomd_ros.core.answers import Question
from robomd_ros.core.probes import ProbeTable
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.variations import Catalogue, load_catalogue
from robomd_ros.evaluation import datasets
from robomd_ros.evaluation.baselines import make_forest
from robomd_ros.evaluation.cross_validation import auc_difference, failures, mean_auc
from robomd_ros.evaluation.datasets import Dataset
from robomd_ros.evaluation.markdown import table, with_interval
from robomd_ros.evaluation.plan import Plan
from robomd_ros.evaluation.steps import Results, Step
from robomd_ros.search.asking import Asker
from robomd_ros.search.calibration import coverage

TITLE = "Continuous variations: every rollout its own condition"
VERSION = 3
LEARNT_GP = 300
"""Rollouts from which the plain Gaussian process takes its length-scale."""

ROWS = {
    "count": "number of active factors",
    "active": "logistic regression on which factors are active",
    "logistic": "logistic regression on the parameters",
    "forest": "random forest on the parameters",
    "gp": "Gaussian process on the parameters, one length-scale",
    "ensemble": "mean of forest, Gaussian process and boosting",
    "head": "head of the embedding, all inputs",
    "probe": "the probe alone: mean change of the policy's answers, no rollout",
    "probe_logistic": "logistic regression on the probe",
    "p_probe": "**P(failure), parameters and probe**",
    "p_failure": "**P(failure), parameters**",
    "p_all": "**P(failure), parameters and image**",
    "p_said": "**P(failure), sentence and image**",
    "p_words": "P(failure), sentence without its numbers, and image",
    "p_image": "P(failure), image alone",
}
_CLIP = 1e-3
_NUMBERS = re.compile(r" ?\([^)]*\)| ?\S*\d\S*(?: metres| percent)?")


def steps(plan: Plan) -> list[Step]:
    """One fit a number of rollouts and seed, and the ceiling."""
    sizes, made = plan.sizes, []
    for task in plan.tasks[:1]:
        about = (plan.policy(task), task, plan.robot)
        data = {"data": Dataset("continuous", *about, conditions=sizes.continuous)}
        conditions, scenes = sizes.ceiling
        ceiling = Dataset("ceiling", *about, conditions=conditions, repeats=scenes)
        for seed in sizes.seeds:
            for rollouts in sizes.curve:
                arguments = {"rollouts": rollouts, "heldout": sizes.heldout, "seed": seed, "renders": sizes.renders}  # fmt: skip
                made.append(
                    Step(f"continuous/{task}/{rollouts}/{seed}", f"{__name__}:fitted", arguments, data | {"repeated": ceiling}, VERSION, ("data", "repeated"))
                )  # fmt: skip
        made.append(
            Step(
                f"continuous/{task}/ceiling", f"{__name__}:ceiling", {}, {"data": ceiling}, VERSION
            )
        )
    return made


def render(results: Results, plan: Plan) -> str:
    """AUC by the number of rollouts; then the calibration of the answers."""
    sizes, task = plan.sizes, plan.tasks[0]
    by_size = {n: list(results.under(f"continuous/{task}/{n}/").values()) for n in sizes.curve}
    rows = [
        [title, *(_mean_of(found, method) for found in by_size.values())]
        for method, title in ROWS.items()
    ]
    parts = [
        table(["AUC", *map(str, sizes.curve)], rows),
        f"Mean over {len(sizes.seeds)} seeds; each draws as many rollouts to learn from as the column says, a fifth of which calibrates, and is "
        f"asked about the same {sizes.heldout} others. In brackets the mean of the seeds' 95 % bootstrap intervals over these. "
        f"The sentence is the automatic one, read back exactly; without its numbers the embedding reads it. The embedding saw {sizes.renders} pictures of other "
        "random scenes besides, in which no policy ran (`robomd train embedding --renders`): they have no outcome, the process on the factor values labels them.",
        _ceiling_line(results.value(f"continuous/{task}/ceiling")),
        "P(failure) from parameters minus the best of the plain predictors (chosen here, in its favour), paired:",
        table(["", *map(str, sizes.curve)], [["difference of AUC", *map(_best_other, by_size.values())]]),
        "Adding the image to the parameters changes the AUC by:",
        table(["", *map(str, sizes.curve)], [["difference of AUC", *(_mean_of(f, "all_minus_parameters", 3) for f in by_size.values())]]),
        "What the probe adds to the parameters, and what our answer makes of the probe beyond a logistic regression on it:",
        table(
            ["difference of AUC", *map(str, sizes.curve)],
            [["with the probe minus parameters alone", *(_mean_of(f, "probe_minus_parameters", 3) for f in by_size.values())],
             ["minus logistic regression on the probe", *(_mean_of(f, "probe_minus_logistic", 3) for f in by_size.values())]],
        ),
        "The probe: the policy is asked under each condition, at three moments of four nominal rollouts, and its actions are held against those to the "
        "unchanged scene; nothing moves, and no outcome is used ([probe.md](probe.md)).",
        table(["P(failure), parameters", *map(str, sizes.curve)], _calibration_rows(by_size)),
        table(
            ["P(failure), parameters and probe", *map(str, sizes.curve)],
            _calibration_rows({n: [f["probed"] for f in found] for n, found in by_size.items()}),
        ),
        "ECE over 10 bins of equal count; its floor is what a perfect predictor of the same probabilities shows. Coverage: share of the repeated "
        f"conditions ({sizes.ceiling[0]}, {sizes.ceiling[1]} scenes each) whose number of failures lies in the central 90 % that their answers predict.",
    ]  # fmt: skip
    return "\n\n".join(parts)


def _mean_of(found: Sequence[Mapping[str, Any]], method: str, count: int = 3) -> str:
    values = [f["auc"][method] for f in found if method in f["auc"]]
    return with_interval(*np.nanmean(np.array(values)[:, :count], axis=0)) if values else "–"


def _best_other(found: Sequence[Mapping[str, Any]]) -> str:
    if not found:
        return "–"
    plain = [m for m in found[0]["auc"] if m.startswith("minus_")]
    means = {m: np.nanmean([f["auc"][m] for f in found], axis=0) for m in plain}
    worst = min(means, key=lambda m: means[m][0])
    return f"{with_interval(*means[worst])} ({worst.removeprefix('minus_')})"


def _calibration_rows(by_size: Mapping[int, Sequence[Mapping[str, Any]]]) -> list[list[str]]:
    names = {"brier": "Brier", "ece": "ECE", "ece_floor": "floor of the ECE",
             "ece_floor_95": "its 95th percentile", "coverage": "coverage of the 90 % interval"}  # fmt: skip
    return [
        [title, *(f"{np.mean([f[n] for f in found]):.3f}" if found else "–" for found in by_size.values())]
        for n, title in names.items()
    ]  # fmt: skip


def _ceiling_line(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    shown = with_interval(found["auc"], found["low"], found["high"])
    return (
        f"Ceiling, the AUC of the true rate of each condition: {shown}, from a Beta distribution fitted to {found['conditions']} conditions "
        f"of {found['scenes']} scenes; {100 * found['within']:.0f} % of the outcome's variance is within a condition."
    )


def fitted(
    studies: Path, data: Dataset, repeated: Dataset, rollouts: int, heldout: int, seed: int, renders: int
) -> dict[str, Any]:  # fmt: skip
    """Everything learnt from some rollouts (and renders), asked about others."""
    from robomd_ros.evaluation.fitting import fit_without
    from robomd_ros.search.fit import heldout_ids

    catalogue, records = load_catalogue(data.task), datasets.records(data, studies)
    pool, asked = records[:-heldout], records[-heldout:]
    order = np.random.default_rng(seed).permutation(len(pool))
    learnt = [pool[i] for i in order[:rollouts]]
    kept = heldout_ids(learnt)
    held = np.array([r.id in kept for r in learnt])
    drawn = datasets.renders(data, studies, renders)
    fit = fit_without(learnt, catalogue, held, seed, renders=drawn)
    failed = failures(asked)
    table_ = datasets.probes(studies, data, repeated)
    probed = Asker(fit.embedding, fit.records, catalogue, known=fit.known, probes=table_)
    scores = plain_scores(learnt, asked, catalogue, seed) | _answers(fit.asker, asked)
    scores |= _probe_scores(table_, learnt, asked)
    scores["p_probe"] = probed.posterior([Question(r.perturbation) for r in asked]).mean
    p = scores["p_failure"]
    aucs = {name: mean_auc([(s, failed)]) for name, s in scores.items()}
    for name in ("count", "active", "logistic", "forest", "gp", "ensemble"):
        aucs[f"minus_{name}"] = auc_difference([(p, scores[name], failed)])
    aucs["all_minus_parameters"] = auc_difference([(scores["p_all"], p, failed)])
    aucs["probe_minus_parameters"] = auc_difference([(scores["p_probe"], p, failed)])
    aucs["probe_minus_logistic"] = auc_difference(
        [(scores["p_probe"], scores["probe_logistic"], failed)]
    )
    conditions = datasets.records(repeated, studies)
    return {
        "auc": {name: list(values) for name, values in aucs.items()},
        **_calibrated(p, failed, _coverage(fit.asker, conditions)),
        "probed": _calibrated(scores["p_probe"], failed, _coverage(probed, conditions)),
    }


def _calibrated(
    p: NDArray[np.float64], failed: NDArray[np.bool_], covered: float
) -> dict[str, float]:
    floor, floor_95 = metrics.ece_floor(p, np.random.default_rng(0))
    return {
        "brier": metrics.brier(p, failed),
        "ece": metrics.ece(p, failed),
        "ece_floor": floor,
        "ece_floor_95": floor_95,
        "coverage": covered,
    }


def _probe_scores(
    table_: ProbeTable, learnt: Sequence[RolloutRecord], asked: Sequence[RolloutRecord]
) -> dict[str, NDArray[np.float64]]:
    """What anybody would make of the probe: its mean, and a logistic regression."""
    from sklearn.linear_model import LogisticRegression

    known, numbers = (table_.of([r.perturbation for r in part]) for part in (learnt, asked))
    regression = LogisticRegression().fit(known, failures(learnt))
    return {
        "probe": numbers.mean(axis=1).astype(np.float64),
        "probe_logistic": regression.decision_function(numbers),
    }


def plain_scores(
    learnt: Sequence[RolloutRecord],
    asked: Sequence[RolloutRecord],
    catalogue: Catalogue,
    seed: int,
) -> dict[str, NDArray[np.float64]]:
    """What anybody would try first on the parameters."""
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
    from sklearn.linear_model import LogisticRegression

    failed = failures(learnt)
    (x, active), (x_asked, active_asked) = (_features(r, catalogue) for r in (learnt, asked))
    logistic = LogisticRegression(max_iter=1000)
    kernel = ConstantKernel() * RBF(2.0) + ConstantKernel() + WhiteKernel()
    target = 2.0 * failed - 1.0
    few = slice(0, LEARNT_GP)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a hyperparameter at its bound is an answer, too
        found = GaussianProcessRegressor(kernel).fit(x[few], target[few])
    process = GaussianProcessRegressor(found.kernel_, optimizer=None).fit(x, target)
    boosting = GradientBoostingClassifier(
        n_estimators=100, learning_rate=0.05, subsample=0.7, random_state=seed
    )
    forest = make_forest(seed).fit(x, failed).predict_proba(x_asked)[:, 1]
    regressed = process.predict(x_asked)
    boosted = boosting.fit(x, failed).predict_proba(x_asked)[:, 1]
    together = special.logit(
        np.clip([forest, 0.5 * (regressed + 1), boosted], _CLIP, 1 - _CLIP)
    ).mean(axis=0)
    return {
        "count": active_asked.sum(axis=1).astype(np.float64),
        "active": logistic.fit(active, failed).decision_function(active_asked),
        "logistic": logistic.fit(x, failed).decision_function(x_asked),
        "forest": forest,
        "gp": regressed,
        "ensemble": together,
    }


def _features(
    records: Sequence[RolloutRecord], catalogue: Catalogue
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Values and masks, and which factors are active."""
    x = np.stack([np.concatenate(catalogue.vector(r.perturbation)) for r in records])
    active = [[f in {v.factor for v in r.perturbation.variations} for f in catalogue.factors] for r in records]  # fmt: skip
    return x.astype(np.float64), np.array(active, np.bool_)


def without_numbers(sentence: str) -> str:
    """The sentence with nothing but its words: a colour's name stays."""
    return " ".join(_NUMBERS.sub("", sentence).split())


def _answers(asker: Asker, asked: Sequence[RolloutRecord]) -> dict[str, NDArray[np.float64]]:
    from robomd_ros.learning.inputs import Inputs

    def p(questions: list[Question]) -> NDArray[np.float64]:
        return asker.posterior(questions).mean

    texts = [r.perturbation.sentence for r in asked]
    images = [r.first_frame for r in asked]
    points = asker.embedding.embed(Inputs.from_records(asked, asker.catalogue))
    return {
        "head": asker.embedding.failure_logits(points).astype(np.float64),
        "p_failure": p([Question(r.perturbation) for r in asked]),
        "p_all": p([Question(r.perturbation, image=r.first_frame) for r in asked]),
        "p_said": p([Question(text=t, image=i) for t, i in zip(texts, images, strict=True)]),
        "p_words": p(
            [Question(text=without_numbers(t), image=i) for t, i in zip(texts, images, strict=True)]
        ),
        "p_image": p([Question(image=i) for i in images]),
    }


def _coverage(asker: Asker, repeated: Sequence[RolloutRecord]) -> float:
    _, groups = np.unique([r.perturbation.id for r in repeated], return_inverse=True)
    posterior = asker.posterior([Question(r.perturbation) for r in repeated])
    return coverage(posterior, failures(repeated), groups)


def ceiling(studies: Path, data: Dataset) -> dict[str, Any]:
    """AUC that the true rates of the conditions would have, with a bootstrap over conditions."""
    records = datasets.records(data, studies)
    _, condition = np.unique([r.perturbation.id for r in records], return_inverse=True)
    n = np.bincount(condition)
    k = np.bincount(condition, failures(records).astype(float))
    value, within = _auc_of_true_rates(k, n)
    rng = np.random.default_rng(0)
    drawn = [_auc_of_true_rates(k[i], n[i])[0] for i in rng.integers(len(n), size=(200, len(n)))]
    low, high = np.nanquantile(drawn, (0.025, 0.975))
    return {"auc": value, "low": float(low), "high": float(high), "within": within,
            "conditions": len(n), "scenes": int(n.max())}  # fmt: skip


def _auc_of_true_rates(k: NDArray, n: NDArray) -> tuple[float, float]:
    """Rates are taken to be Beta distributed; of likelihood k of n. Also the part of the variance within a condition."""

    def loss(x: NDArray) -> float:
        a, b = np.exp(x)
        return -float(np.sum(special.betaln(k + a, n - k + b) - special.betaln(a, b)))

    a, b = np.exp(optimize.minimize(loss, [0.0, 0.0], bounds=[(-5, 5)] * 2).x)
    p = special.betaincinv(a, b, (np.arange(2000) + 0.5) / 2000)
    below = np.cumsum(1 - p) - 0.5 * (1 - p)
    share = p.sum() * (1 - p).sum()
    return float((p * below).sum() / share), float(
        np.mean(p * (1 - p)) / (p.mean() * (1 - p.mean()))
    )
